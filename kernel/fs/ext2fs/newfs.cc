// newfs: an empty ext2 with the shape that mke2fs(8) would give it: sparse_super, filetype,
// dir_index, large_file, ext_attr, and blocks kept for growing (resize_inode).
//
//     group: [superblock, descriptors, reserved descriptors,] block bitmap, inode bitmap, inode
//     table
#include "kernel/fs/ext2fs/bitmap.h"
#include "kernel/fs/ext2fs/dirblock.h"
#include "kernel/fs/ext2fs/ext2fs.h"
#include "kernel/fs/ext2fs/inode.h"
#include "kernel/kern/kernel.h"
#include "kernel/sys/rounding.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <vector>

namespace rump::ext2 {

namespace {

constexpr uint32_t lost_found_inode = 11;
constexpr uint32_t lost_found_bytes = 16384;
constexpr uint32_t growth = 1024;              // the descriptors may grow this many times
constexpr uint32_t spare_blocks = 50;          // a last group with fewer is left out
constexpr uint32_t mount_defaults = 0x4 | 0x8; // user_xattr, acl
constexpr uint16_t no_mount_limit = 0xffff;

constexpr OptionSpec specs[] = {
    {"block_size", OptionSpec::Kind::size, "BYTES", "1024 to 65536 (default: by size)"},
    {"inode_size", OptionSpec::Kind::size, "BYTES", "128 or more, a power of two (default 256)"},
    {"inodes", OptionSpec::Kind::number, "N", "at least this many inodes"},
    {"bytes_per_inode", OptionSpec::Kind::size, "BYTES", "an inode for each (default: by size)"},
    {"label", OptionSpec::Kind::text, "NAME", "up to 16 bytes"},
    {"uuid", OptionSpec::Kind::text, "UUID", "(default: random)"},
    {"reserved", OptionSpec::Kind::number, "PERCENT", "kept for the superuser (default 5)"},
};

Failure bad(std::string text) { return {Errno::inval, std::move(text)}; }

/// "8-4-4-4-12" hexadecimal digits.
bool parse_uuid(std::string_view text, uint8_t (&out)[16]) {
    size_t digits = 0;
    for (char c : text) {
        if (c == '-') continue;
        const int v = c >= '0' && c <= '9'   ? c - '0'
                      : c >= 'a' && c <= 'f' ? c - 'a' + 10
                      : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                             : -1;
        if (v < 0 || digits == 32) return false;
        out[digits / 2] = static_cast<uint8_t>(out[digits / 2] << 4 | v);
        ++digits;
    }
    return digits == 32;
}

/// What mke2fs.conf says for sizes: floppies and small disks have small blocks and more inodes.
struct Defaults {
    uint32_t block_size;
    uint32_t bytes_per_inode;
};
Defaults defaults_for(uint64_t size) {
    if (size < 3u << 20) return {1024, 8192};
    if (size < 512u << 20) return {1024, 4096};
    if (size < uint64_t{4} << 40) return {4096, 16384};
    if (size < uint64_t{16} << 40) return {4096, 32768};
    return {4096, 65536};
}

FailureOr<void> set_identity(disk::Superblock& sb, Kernel& kernel, const OptionSet& options) {
    const std::string label = options.text("label");
    if (label.size() > sizeof sb.volume_name)
        return bad(fmt::format("label \"{}\" is longer than 16 bytes", label));
    std::memcpy(sb.volume_name, label.data(), label.size());
    kernel.random().fill(std::as_writable_bytes(std::span(sb.uuid)));
    sb.uuid[6] = static_cast<uint8_t>((sb.uuid[6] & 0x0f) | 0x40); // RFC 4122, version 4
    sb.uuid[8] = static_cast<uint8_t>((sb.uuid[8] & 0x3f) | 0x80);
    if (options.has("uuid") && !parse_uuid(options.text("uuid"), sb.uuid))
        return bad(fmt::format("\"{}\" is no UUID", options.text("uuid")));
    for (le32& word : sb.hash_seed) word = kernel.random().next32();
    return {};
}

void set_constants(disk::Superblock& sb, Kernel& kernel) {
    const uint32_t now = PackedTime::from(kernel.now(), false).seconds;
    sb.magic = disk::superblock_magic;
    sb.state = disk::state_valid;
    sb.errors = 1;
    sb.max_mount_count = no_mount_limit;
    sb.write_time = now;
    sb.last_check = now;
    sb.mkfs_time = now;
    sb.creator_os = disk::os_linux;
    sb.revision = disk::revision_dynamic;
    sb.first_inode = disk::revision_0_first_inode;
    sb.feature_compat =
        disk::compat::ext_attr | disk::compat::resize_inode | disk::compat::dir_index;
    sb.feature_incompat = disk::incompat::filetype;
    sb.feature_ro_compat = disk::ro_compat::sparse_super | disk::ro_compat::large_file;
    sb.default_hash = disk::hash_half_md4;
    sb.flags = disk::flag_signed_hash;
    sb.default_mount_options = mount_defaults;
}

/// Sizes and counts. The geometry is then taken from the superblock by the same validation that
/// mounting uses.
FailureOr<disk::Superblock> plan(Kernel& kernel, uint64_t size, const OptionSet& options) {
    disk::Superblock sb{};
    set_constants(sb, kernel);
    TRY(set_identity(sb, kernel, options));
    const Defaults defaults = defaults_for(size);
    const uint64_t block = options.number("block_size", defaults.block_size);
    if (block < disk::min_block_size || block > disk::max_block_size || !std::has_single_bit(block))
        return bad(fmt::format("block size {}: 1024 to 65536, a power of two", block));
    const auto bs = static_cast<uint32_t>(block);
    const uint64_t inode_size = options.number("inode_size", 256);
    if (inode_size < 128 || inode_size > bs || !std::has_single_bit(inode_size))
        return bad(fmt::format("inode size {}: 128 to the block size, a power of two", inode_size));
    const uint64_t reserved = options.number("reserved", 5);
    if (reserved > 50) return bad(fmt::format("{} percent reserved: at most 50", reserved));
    const uint64_t ratio = options.number("bytes_per_inode", defaults.bytes_per_inode);
    if (ratio < 1024) return bad(fmt::format("an inode for each {} bytes: at least 1024", ratio));

    const uint32_t first = bs == 1024 ? 1 : 0;
    const uint32_t per_group = std::min(bs * 8, 65528u);
    uint64_t blocks = std::min<uint64_t>(size / bs, UINT32_MAX);
    if (blocks < 64 + first) return Failure{Errno::nospc, "too small for an ext2 file system"};
    sb.log_block_size = static_cast<uint32_t>(std::countr_zero(bs)) - 10;
    sb.log_cluster_size = sb.log_block_size;
    sb.first_data_block = first;
    sb.blocks_per_group = per_group;
    sb.clusters_per_group = per_group;
    sb.inode_size = static_cast<uint16_t>(inode_size);
    if (inode_size > 128) sb.min_extra_isize = sb.want_extra_isize = sizeof(disk::InodeExtra);

    for (;;) {
        const uint64_t groups = howmany(blocks - first, per_group);
        const uint64_t inodes =
            std::max<uint64_t>(options.number("inodes", blocks * bs / ratio), 16);
        // Whole blocks of inodes, and whole bytes of the bitmap.
        const uint64_t step = std::max<uint64_t>(8, bs / inode_size);
        const uint64_t each = round_up(howmany(inodes, groups), step);
        if (each > std::min(bs * 8, 65528u))
            return bad(fmt::format("{} inodes are too many", inodes));
        if (each * groups > UINT32_MAX) return bad(fmt::format("{} inodes are too many", inodes));
        const uint64_t per_block = bs / sizeof(disk::GroupDescriptor);
        const uint64_t descriptors = howmany(groups, per_block);
        const uint64_t most = std::min<uint64_t>(blocks * growth, UINT32_MAX);
        const uint64_t grown = howmany(howmany(most - first, per_group), per_block);
        const uint64_t kept = std::min<uint64_t>(grown - std::min(grown, descriptors), bs / 4);
        const uint64_t head = 1 + descriptors + kept;
        const uint64_t overhead = head + 2 + each * inode_size / bs;
        const uint64_t in_last = blocks - first - (groups - 1) * per_group;
        if (groups > 1 && in_last < overhead + spare_blocks) {
            blocks = first + (groups - 1) * per_group;
            continue;
        }
        if (in_last < overhead + spare_blocks / 2)
            return Failure{Errno::nospc, fmt::format("too small: {} of {} blocks would be metadata",
                                                     overhead, in_last)};
        sb.block_count = static_cast<uint32_t>(blocks);
        sb.inodes_per_group = static_cast<uint32_t>(each);
        sb.inode_count = static_cast<uint32_t>(each * groups);
        sb.reserved_gdt_blocks = static_cast<uint16_t>(kept);
        sb.reserved_blocks = static_cast<uint32_t>(blocks * reserved / 100);
        return sb;
    }
}

class Maker {
public:
    Maker(host::BlockDevice& device, const disk::Superblock& sb, const Geometry& g, uint32_t now)
        : device_(device), sb_(sb), g_(g), now_(now), descriptors_(g.group_count) {}

    Result<void> make() {
        for (uint32_t n = 0; n < g_.group_count; ++n) place(GroupNumber(n));
        next_ = first_free(GroupNumber(0));
        TRY(make_table());
        TRY(make_directories());
        TRY(make_resize_inode());
        uint32_t free_blocks = 0, free_inodes = 0;
        for (uint32_t n = 0; n < g_.group_count; ++n) {
            TRY(write_bitmaps(GroupNumber(n)));
            free_blocks += descriptors_[n].free_blocks;
            free_inodes += descriptors_[n].free_inodes;
        }
        sb_.free_blocks = free_blocks;
        sb_.free_inodes = free_inodes;
        for (uint32_t n = g_.group_count; n-- > 0;)
            if (g_.has_superblock(GroupNumber(n))) TRY(write_head(GroupNumber(n)));
        return device_.flush();
    }

private:
    void place(GroupNumber group) {
        disk::GroupDescriptor& d = descriptors_[group.value()];
        const auto at =
            static_cast<uint32_t>(g_.first_block(group).value()) + g_.head_blocks(group);
        d.block_bitmap = at;
        d.inode_bitmap = at + 1;
        d.inode_table = at + 2;
    }
    uint32_t first_free(GroupNumber group) const {
        return descriptors_[group.value()].inode_table + g_.inode_table_blocks;
    }
    uint64_t byte(uint64_t block) const { return block << g_.block_shift; }

    Result<void> make_table() {
        TRY(device_.write_zeros(0, disk::superblock_offset));
        for (const disk::GroupDescriptor& d : descriptors_)
            TRY(device_.write_zeros(byte(d.inode_table),
                                    uint64_t{g_.inode_table_blocks} << g_.block_shift));
        return {};
    }

    Result<void> write_inode(const Inode& inode) {
        std::vector<std::byte> raw(g_.inode_size);
        store_inode(g_, inode, raw);
        const InodePlace p = inode_place(g_, InodeNumber(inode.number));
        const auto group = g_.group_of(InodeNumber(inode.number)).value();
        return device_.write(byte(descriptors_[group].inode_table + p.table_block) + p.offset, raw);
    }

    Inode new_inode(uint32_t number, uint32_t mode, uint32_t links, uint64_t size) const {
        Inode in;
        in.number = number;
        in.mode = static_cast<uint16_t>(mode);
        in.links = static_cast<uint16_t>(links);
        in.size = size;
        in.extra_size = static_cast<uint16_t>(g_.new_extra_size);
        in.atime.seconds = in.mtime.seconds = in.ctime.seconds = in.crtime.seconds = now_;
        return in;
    }

    Result<void> make_directory(Inode& in, uint32_t blocks, uint32_t parent, std::string_view child,
                                uint32_t child_inode) {
        in.sectors = blocks * (g_.block_size / 512);
        in.size = uint64_t{blocks} << g_.block_shift;
        const uint8_t code = file_type_code(FileType::dir);
        for (uint32_t i = 0; i < blocks; ++i) {
            std::vector<std::byte> bytes(g_.block_size);
            if (i > 0) {
                put_entry(bytes, 0, g_.block_size, 0, 0, {});
            } else {
                put_entry(bytes, 0, 12, in.number, code, ".");
                const uint32_t rest = g_.block_size - 12;
                put_entry(bytes, 12, child.empty() ? rest : 12, parent, code, "..");
                if (!child.empty()) put_entry(bytes, 24, rest - 12, child_inode, code, child);
            }
            in.block[i] = next_;
            TRY(device_.write(byte(next_++), bytes));
        }
        return write_inode(in);
    }

    Result<void> make_directories() {
        Inode root = new_inode(disk::inode_root, type_to_mode(FileType::dir) | 0755, 3, 0);
        TRY(make_directory(root, 1, disk::inode_root, "lost+found", lost_found_inode));
        // Room for what a checker finds, so that it need not allocate on a damaged file system.
        const uint32_t blocks =
            std::clamp(lost_found_bytes >> g_.block_shift, 2u, disk::direct_blocks);
        Inode lost = new_inode(lost_found_inode, type_to_mode(FileType::dir) | 0700, 2, 0);
        return make_directory(lost, blocks, disk::inode_root, {}, 0);
    }

    /// The blocks kept for descriptors belong to inode 7: a doubly indirect block points to each of
    /// the first group's, which in turn lists the copies in the other groups.
    Result<void> make_resize_inode() {
        if (g_.reserved_gdt_blocks == 0) return {};
        const uint64_t n = g_.pointers();
        Inode in = new_inode(disk::inode_resize, type_to_mode(FileType::reg) | 0600, 1,
                             (n * n + n + disk::direct_blocks) << g_.block_shift);
        std::vector<le32> doubly(n);
        const uint32_t top = next_++;
        uint32_t blocks = 1;
        for (uint32_t i = 0; i < g_.reserved_gdt_blocks; ++i) {
            std::vector<le32> copies(n);
            uint32_t count = 0;
            for (uint32_t group = 1; group < g_.group_count; ++group)
                if (g_.has_superblock(GroupNumber(group)) && count < n)
                    copies[count++] = reserved_block(GroupNumber(group), i);
            const uint32_t own = reserved_block(GroupNumber(0), i);
            doubly[(g_.descriptor_blocks + i) % n] = own;
            TRY(device_.write(byte(own), std::as_bytes(std::span(copies))));
            blocks += 1 + count;
        }
        TRY(device_.write(byte(top), std::as_bytes(std::span(doubly))));
        in.block[disk::direct_blocks + 1] = top;
        in.sectors = blocks * (g_.block_size / 512);
        return write_inode(in);
    }
    uint32_t reserved_block(GroupNumber group, uint32_t i) const {
        return static_cast<uint32_t>(g_.descriptor_block(group, g_.descriptor_blocks + i).value());
    }

    Result<void> write_bitmaps(GroupNumber group) {
        disk::GroupDescriptor& d = descriptors_[group.value()];
        const auto start = static_cast<uint32_t>(g_.first_block(group).value());
        const uint32_t used = std::max(group.value() == 0 ? next_ : 0u, first_free(group)) - start;
        d.free_blocks = static_cast<uint16_t>(g_.blocks_in(group) - used);
        TRY(write_map(d.block_bitmap, used, g_.blocks_in(group)));
        const uint32_t inodes = group.value() == 0 ? lost_found_inode : 0;
        d.free_inodes = static_cast<uint16_t>(g_.inodes_per_group - inodes);
        d.used_directories = static_cast<uint16_t>(group.value() == 0 ? 2 : 0);
        return write_map(d.inode_bitmap, inodes, g_.inodes_per_group);
    }

    /// Bits [0, used) set, and those from `limit` on, which stand for nothing.
    Result<void> write_map(uint32_t block, uint32_t used, uint32_t limit) {
        std::vector<std::byte> map(g_.block_size);
        for (uint32_t bit = 0; bit < used; ++bit) set_bit(map.data(), bit);
        for (uint32_t bit = limit; bit < g_.block_size * 8; ++bit) set_bit(map.data(), bit);
        return device_.write(byte(block), map);
    }

    Result<void> write_head(GroupNumber group) {
        std::vector<std::byte> table(size_t{g_.descriptor_blocks} << g_.block_shift);
        std::memcpy(table.data(), descriptors_.data(),
                    descriptors_.size() * sizeof(disk::GroupDescriptor));
        TRY(device_.write(byte(g_.descriptor_block(group, 0).value()), table));
        disk::Superblock copy = sb_;
        copy.block_group = static_cast<uint16_t>(group.value());
        const uint64_t at =
            group.value() == 0 ? disk::superblock_offset : byte(g_.first_block(group).value());
        return device_.write(at, std::as_bytes(std::span(&copy, 1)));
    }

    host::BlockDevice& device_;
    disk::Superblock sb_;
    const Geometry& g_;
    const uint32_t now_;
    std::vector<disk::GroupDescriptor> descriptors_;
    uint32_t next_ = 0; // first block of group 0 that is free
};

} // namespace

std::span<const OptionSpec> newfs_option_specs() { return specs; }

FailureOr<void> make_filesystem(Kernel& kernel, host::BlockDevice& device,
                                const OptionSet& options) {
    if (device.read_only()) return Failure{Errno::rofs, "the image cannot be written"};
    const disk::Superblock sb = TRY(plan(kernel, device.size(), options));
    const Geometry geometry = TRY(Geometry::validate(sb, device.size()));
    (void)device.discard(0, device.size()).ok(); // only saves space
    Maker maker(device, sb, geometry, sb.mkfs_time);
    if (auto made = maker.make(); !made)
        return Failure{made.error(), "cannot write the file system"};
    return {};
}

} // namespace rump::ext2
