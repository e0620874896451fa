// Validation of the superblock: every field and every relation that later code relies on.
#include "kernel/fs/ext2fs/geometry.h"
#include "kernel/sys/missing_end.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <span>

namespace rump::ext2 {

std::string feature_phrase(std::string_view names) {
    return fmt::format("feature{} \"{}\"", names.find('"') == names.npos ? "" : "s", names);
}

namespace {

struct FeatureName {
    uint32_t bit;
    const char* name;
};

constexpr FeatureName compat_names[] = {
    {0x1, "dir_prealloc"},    {0x2, "imagic_inodes"},  {0x4, "has_journal"},
    {0x8, "ext_attr"},        {0x10, "resize_inode"},  {0x20, "dir_index"},
    {0x40, "lazy_bg"},        {0x80, "exclude_inode"}, {0x100, "exclude_bitmap"},
    {0x200, "sparse_super2"}, {0x400, "fast_commit"},  {0x800, "stable_inodes"},
    {0x1000, "orphan_file"},
};
constexpr FeatureName incompat_names[] = {
    {0x1, "compression"},  {0x2, "filetype"},       {0x4, "needs_recovery"},
    {0x8, "journal_dev"},  {0x10, "meta_bg"},       {0x40, "extent"},
    {0x80, "64bit"},       {0x100, "mmp"},          {0x200, "flex_bg"},
    {0x400, "ea_inode"},   {0x1000, "dirdata"},     {0x2000, "metadata_csum_seed"},
    {0x4000, "large_dir"}, {0x8000, "inline_data"}, {0x10000, "encrypt"},
    {0x20000, "casefold"},
};
constexpr FeatureName ro_compat_names[] = {
    {0x1, "sparse_super"}, {0x2, "large_file"},         {0x4, "btree_dir"},
    {0x8, "huge_file"},    {0x10, "uninit_bg"},         {0x20, "dir_nlink"},
    {0x40, "extra_isize"}, {0x80, "snapshot"},          {0x100, "quota"},
    {0x200, "bigalloc"},   {0x400, "metadata_csum"},    {0x800, "replica"},
    {0x1000, "read-only"}, {0x2000, "project"},         {0x4000, "shared_blocks"},
    {0x8000, "verity"},    {0x10000, "orphan_present"},
};

constexpr uint32_t known_incompat = disk::incompat::filetype;
constexpr uint32_t known_ro_compat =
    disk::ro_compat::sparse_super | disk::ro_compat::large_file | disk::ro_compat::extra_isize;
/// What makes an image ext4's rather than ext2's or ext3's.
constexpr uint32_t ext4_incompat =
    disk::incompat::extents | disk::incompat::bits64 | disk::incompat::mmp |
    disk::incompat::flex_bg | disk::incompat::meta_bg | disk::incompat::ea_inode |
    disk::incompat::csum_seed | disk::incompat::largedir | disk::incompat::inline_data;
constexpr uint32_t ext4_ro_compat =
    disk::ro_compat::gdt_csum | disk::ro_compat::bigalloc | disk::ro_compat::metadata_csum;

std::string names_of(uint32_t bits, std::span<const FeatureName> table, const char* group,
                     const char* separator) {
    std::string out;
    for (uint32_t bit = 1; bit; bit <<= 1) {
        if (!(bits & bit)) continue;
        if (!out.empty()) out += separator;
        const auto it = std::find_if(table.begin(), table.end(),
                                     [&](const FeatureName& f) { return f.bit == bit; });
        out += it != table.end() ? std::string(it->name) : fmt::format("{}_0x{:x}", group, bit);
    }
    return out;
}

Failure wrong(std::string text) { return {Errno::uclean, "superblock: " + std::move(text)}; }

/// A kind of image that has names for `features`.
Failure later_kind(std::string_view kind, std::string_view features) {
    return {Errno::opnotsupp,
            fmt::format("this is an {} image, by its {}; ext3 and ext4 are not supported yet", kind,
                        feature_phrase(features))};
}

FailureOr<void> check_features(const Geometry& g) {
    const uint32_t incompat = g.feature_incompat & ext4_incompat;
    const uint32_t ro_compat = g.feature_ro_compat & ext4_ro_compat;
    if (incompat || ro_compat) {
        const std::string names = incompat
                                      ? names_of(incompat, incompat_names, "incompat", "\", \"")
                                      : names_of(ro_compat, ro_compat_names, "ro_compat", "\", \"");
        return later_kind("ext4", names);
    }
    if (g.feature_compat & disk::compat::has_journal) return later_kind("ext3", "has_journal");
    if (g.feature_incompat & disk::incompat::recover) return later_kind("ext3", "needs_recovery");
    if (g.feature_incompat & disk::incompat::journal_dev)
        return Failure{Errno::opnotsupp,
                       "this is the journal of an ext3 or ext4 image, without files"};
    if (const uint32_t unknown = g.feature_incompat & ~known_incompat)
        return Failure{
            Errno::opnotsupp,
            fmt::format("uses the {}, which this driver cannot read",
                        feature_phrase(names_of(unknown, incompat_names, "incompat", "\", \"")))};
    return {};
}

/// Indirect blocks of a file of so many blocks of data.
uint64_t indirect_blocks(uint64_t data, uint64_t n) {
    const auto up = [&](uint64_t x) { return (x + n - 1) / n; };
    if (data <= disk::direct_blocks) return 0;
    if (data <= disk::direct_blocks + n) return 1;
    const uint64_t beyond = data - disk::direct_blocks - n;
    if (beyond <= n * n) return 2 + up(beyond);
    return 3 + n + up(beyond - n * n) + up(up(beyond - n * n));
}

/// Files end where the indirect blocks do, or where the count of 512-byte sectors (32 bits) does;
/// for this Linux takes off as many indirect blocks as if data were all that is counted.
uint64_t largest_file(const Geometry& g) {
    const uint64_t n = g.pointers();
    const uint64_t addressable = disk::direct_blocks + n + n * n + n * n * n;
    const uint64_t counted = UINT32_MAX >> (g.block_shift - 9); // data and indirect
    const bool all = addressable + indirect_blocks(addressable, n) <= counted;
    uint64_t size = (all ? addressable : counted - indirect_blocks(counted, n)) << g.block_shift;
    if (g.revision == disk::revision_0) size = std::min<uint64_t>(size, 0x7fffffff);
    return size;
}

FailureOr<void> read_revision(Geometry& g, const disk::Superblock& sb) {
    g.revision = sb.revision;
    if (g.revision > disk::revision_dynamic)
        return Failure{Errno::opnotsupp, fmt::format("ext2 revision {} is not known", g.revision)};
    g.inode_size = disk::revision_0_inode_size;
    g.first_inode = disk::revision_0_first_inode;
    // Revision 0 has no features, but Linux sets (and then uses) some on such file systems, too.
    g.feature_compat = sb.feature_compat;
    g.feature_incompat = sb.feature_incompat;
    g.feature_ro_compat = sb.feature_ro_compat;
    TRY(check_features(g));
    if (g.revision == disk::revision_0) return {};
    g.inode_size = sb.inode_size;
    if (g.inode_size < 128 || !std::has_single_bit(g.inode_size) || g.inode_size > g.block_size)
        return wrong(fmt::format("inode size {}", g.inode_size));
    g.first_inode = sb.first_inode;
    if (g.first_inode < disk::revision_0_first_inode)
        return wrong(fmt::format("first inode {}", g.first_inode));
    if (g.inode_size > 128) {
        const uint32_t want = std::max<uint32_t>(sb.want_extra_isize, sb.min_extra_isize);
        g.new_extra_size = static_cast<uint32_t>(sizeof(disk::InodeExtra));
        if (want > g.new_extra_size && want % 4 == 0 && want <= g.inode_size - 128)
            g.new_extra_size = want;
        g.new_extra_size = std::min(g.new_extra_size, g.inode_size - 128);
    }
    if (g.feature_compat & disk::compat::resize_inode)
        g.reserved_gdt_blocks = sb.reserved_gdt_blocks;
    if (g.feature_compat & disk::compat::dir_prealloc) g.dir_prealloc = sb.preallocate_dir_blocks;
    g.backup_groups[0] = sb.backup_groups[0];
    g.backup_groups[1] = sb.backup_groups[1];
    return {};
}

FailureOr<void> read_groups(Geometry& g, const disk::Superblock& sb) {
    g.blocks_per_group = sb.blocks_per_group;
    g.inodes_per_group = sb.inodes_per_group;
    g.inode_count = sb.inode_count;
    // One bitmap block a group; and a descriptor counts free ones in 16 bits.
    const uint32_t bits = std::min<uint32_t>(g.block_size * 8, 65528);
    if (g.blocks_per_group < 8 || g.blocks_per_group > bits || g.blocks_per_group % 8 != 0)
        return wrong(fmt::format("{} blocks per group", g.blocks_per_group));
    if (g.inodes_per_group == 0 || g.inodes_per_group > bits)
        return wrong(fmt::format("{} inodes per group", g.inodes_per_group));
    const uint64_t data_blocks = g.block_count - g.first_data_block;
    const uint64_t groups = (data_blocks + g.blocks_per_group - 1) / g.blocks_per_group;
    if (groups * g.inodes_per_group != g.inode_count)
        return wrong(fmt::format("{} inodes, but {} groups of {}", g.inode_count, groups,
                                 g.inodes_per_group));
    if (g.first_inode > g.inode_count)
        return wrong(fmt::format("first inode {} of {}", g.first_inode, g.inode_count));
    g.group_count = static_cast<uint32_t>(groups);
    const uint32_t per_block = g.block_size / g.inode_size;
    g.inode_table_blocks = (g.inodes_per_group + per_block - 1) / per_block;
    g.descriptor_blocks =
        (g.group_count + g.descriptors_per_block() - 1) / g.descriptors_per_block();
    if (g.reserved_gdt_blocks > g.block_size / 4)
        return wrong(fmt::format("{} reserved descriptor blocks", g.reserved_gdt_blocks));
    const uint64_t overhead =
        uint64_t{1} + g.descriptor_blocks + g.reserved_gdt_blocks + 2 + g.inode_table_blocks;
    if (overhead > g.blocks_in(GroupNumber(0)))
        return wrong(fmt::format("{} blocks of metadata in a group of {}", overhead,
                                 g.blocks_in(GroupNumber(0))));
    return {};
}

} // namespace

FailureOr<Geometry> Geometry::validate(const disk::Superblock& sb, uint64_t device_size) {
    if (sb.magic != disk::superblock_magic)
        return Failure{Errno::inval, "no ext2 superblock at byte 1024"};
    Geometry g;
    if (sb.log_block_size > 6)
        return wrong(fmt::format("log block size {}", sb.log_block_size.get()));
    g.block_shift = 10 + sb.log_block_size;
    g.block_size = 1u << g.block_shift;
    g.block_count = sb.block_count;
    g.first_data_block = sb.first_data_block;
    TRY(read_revision(g, sb));
    if (sb.log_cluster_size != sb.log_block_size || sb.clusters_per_group != sb.blocks_per_group) {
        // Fragments were never implemented; without bigalloc these two repeat the ones for blocks.
        if (sb.clusters_per_group != sb.blocks_per_group)
            return wrong(fmt::format("{} fragments per group, {} blocks",
                                     sb.clusters_per_group.get(), sb.blocks_per_group.get()));
        return wrong(fmt::format("log fragment size {}, log block size {}",
                                 sb.log_cluster_size.get(), sb.log_block_size.get()));
    }
    if (g.first_data_block != (g.block_size == 1024 ? 1u : 0u))
        return wrong(fmt::format("first data block {}", g.first_data_block));
    if (g.block_count <= g.first_data_block) return wrong(fmt::format("{} blocks", g.block_count));
    if (g.block_count > device_size >> g.block_shift)
        return wrong(fmt::format("{} blocks of {} bytes, but the image has {} bytes{}",
                                 g.block_count, g.block_size, device_size,
                                 how_to_read_the_rest(g.block_count, g.block_size)));
    TRY(read_groups(g, sb));
    if (sb.reserved_blocks > g.block_count)
        return wrong(fmt::format("{} reserved blocks", sb.reserved_blocks.get()));
    g.max_file_size = largest_file(g);
    return g;
}

std::string Geometry::unknown_ro_features() const {
    return names_of(feature_ro_compat & ~known_ro_compat, ro_compat_names, "ro_compat", "\", \"");
}

std::string Geometry::feature_names() const {
    std::string out = names_of(feature_compat, compat_names, "compat", " ");
    for (const std::string& more : {names_of(feature_incompat, incompat_names, "incompat", " "),
                                    names_of(feature_ro_compat, ro_compat_names, "ro_compat", " ")})
        if (!more.empty()) out += (out.empty() ? "" : " ") + more;
    return out;
}

bool Geometry::has_superblock(GroupNumber group) const {
    const uint32_t n = group.value();
    if (n == 0) return true;
    if (feature_compat & disk::compat::sparse_super2)
        return n == backup_groups[0] || n == backup_groups[1];
    if (n == 1 || !(feature_ro_compat & disk::ro_compat::sparse_super)) return true;
    const auto power_of = [n](uint32_t base) {
        uint64_t power = base;
        while (power < n) power *= base;
        return power == n;
    };
    return power_of(3) || power_of(5) || power_of(7);
}

} // namespace rump::ext2
