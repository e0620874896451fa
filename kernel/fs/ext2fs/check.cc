// check: an independent look at an image. Shares the format's structures and their validation with
// the file system, and none of what walks or changes it. Repairs nothing.
#include "kernel/fs/ext2fs/check.h"

#include "kernel/fs/ext2fs/bitmap.h"
#include "kernel/fs/ext2fs/ext2fs.h"
#include "kernel/fs/ext2fs/xattr.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <unordered_set>

namespace rump::ext2 {

namespace {
constexpr size_t findings_max = 2000; // an image of noise has no end of them
}

void Checker::add(Finding::Severity severity, std::string code, std::string place,
                  std::string message) {
    if (report_.findings.size() > findings_max) return;
    if (report_.findings.size() == findings_max) {
        code = "too-many";
        place = "file system";
        message = "more findings are left out";
    }
    report_.findings.push_back({severity, std::move(code), std::move(place), std::move(message)});
}

Result<Checker::Block> Checker::read(uint64_t block) {
    Block bytes(g_.block_size);
    TRY(device_.read(block << g_.block_shift, bytes));
    return bytes;
}

Result<void> Checker::run() {
    TRY(read_descriptors());
    claim_metadata();
    TRY(scan_inodes());
    TRY(check_orphans());
    TRY(check_directories());
    check_links();
    TRY(check_bitmaps());
    report_.blocks_total = g_.block_count;
    report_.blocks_used = static_cast<uint64_t>(std::count(claimed_.begin(), claimed_.end(), true));
    return {};
}

// --- groups -------------------------------------------------------------------------------------

Result<void> Checker::read_descriptors() {
    descriptors_.resize(g_.group_count);
    bad_group_.resize(g_.group_count);
    for (uint32_t n = 0; n < g_.group_count; ++n) {
        const uint32_t per = g_.descriptors_per_block();
        const Block block = TRY(read(g_.descriptor_block(GroupNumber(0), n / per).value()));
        std::memcpy(&descriptors_[n], block.data() + n % per * sizeof(disk::GroupDescriptor),
                    sizeof(disk::GroupDescriptor));
        const uint64_t low = g_.first_block(GroupNumber(n)).value();
        const uint64_t high = low + g_.blocks_in(GroupNumber(n));
        const disk::GroupDescriptor& d = descriptors_[n];
        const auto inside = [&](uint64_t block_number, uint64_t count) {
            return block_number >= low && block_number < high && count <= high - block_number;
        };
        if (inside(d.block_bitmap, 1) && inside(d.inode_bitmap, 1) &&
            inside(d.inode_table, g_.inode_table_blocks))
            continue;
        bad_group_[n] = true;
        wrong("descriptor-outside-group", group_text(n),
              "bitmaps at {} and {}, inode table at {}: not all within the group",
              d.block_bitmap.get(), d.inode_bitmap.get(), d.inode_table.get());
    }
    return {};
}

void Checker::claim(uint64_t block, std::string_view whose, bool shared) {
    if (claimed_[block] && !shared)
        wrong("block-claimed-twice", fmt::format("block {}", block), "also claimed by {}", whose);
    claimed_[block] = true;
}

void Checker::claim_metadata() {
    for (uint32_t n = 0; n < g_.group_count; ++n) {
        const GroupNumber group(n);
        const uint64_t start = g_.first_block(group).value();
        const uint32_t head = g_.has_superblock(group) ? 1 + g_.descriptor_blocks : 0;
        for (uint32_t i = 0; i < std::min(head, g_.blocks_in(group)); ++i)
            claim(start + i, "superblock or descriptors");
        if (bad_group_[n]) continue;
        claim(descriptors_[n].block_bitmap, "block bitmap");
        claim(descriptors_[n].inode_bitmap, "inode bitmap");
        for (uint32_t i = 0; i < g_.inode_table_blocks; ++i)
            claim(uint64_t{descriptors_[n].inode_table} + i, "inode table");
    }
}

// --- inodes -------------------------------------------------------------------------------------

Result<void> Checker::scan_inodes() {
    for (uint32_t n = 0; n < g_.group_count; ++n) {
        if (bad_group_[n]) continue;
        uint32_t number = n * g_.inodes_per_group + 1;
        const uint32_t end = number + g_.inodes_per_group;
        for (uint32_t b = 0; b < g_.inode_table_blocks && number < end; ++b) {
            const Block block = TRY(read(uint64_t{descriptors_[n].inode_table} + b));
            for (size_t at = 0; at < block.size() && number < end; at += g_.inode_size, ++number)
                TRY(scan_inode(number, std::span(block).subspan(at, g_.inode_size)));
        }
    }
    for (const auto& [block, users] : xattr_blocks_) {
        const Block bytes = TRY(read(block));
        disk::XattrBlockHeader header;
        std::memcpy(&header, bytes.data(), sizeof header);
        if (header.references != users)
            wrong("xattr-references", fmt::format("block {}", block), "{} references, {} users",
                  header.references.get(), users);
    }
    return {};
}

Result<void> Checker::scan_inode(uint32_t number, std::span<const std::byte> raw) {
    const ParsedInode parsed = parse_inode(g_, InodeNumber(number), raw);
    const Inode& in = parsed.inode;
    const bool reserved = number < g_.first_inode && number != disk::inode_root;
    if (reserved) { // bad blocks and the like have a mode or none
        if (in.links > 0 || in.block[0] != 0u || in.block[disk::direct_blocks + 1] != 0u)
            return claim_blocks(in);
        return {};
    }
    if (in.links == 0 || in.mode == 0) {
        if (in.mode != 0 && in.dtime == 0 && in.links == 0)
            wrong("deleted-without-time", inode_place_text(number),
                  "no links and no time of removal");
        return {};
    }
    inodes_[number].mode = in.mode;
    inodes_[number].links = in.links;
    if (!parsed.problem.empty()) wrong("inode", inode_place_text(number), "{}", parsed.problem);
    if (in.dtime != 0)
        wrong("removal-time", inode_place_text(number), "in use, with a time of removal");
    ++(in.is_dir() ? report_.directories : report_.files);
    return claim_blocks(in);
}

Result<void> Checker::claim_blocks(const Inode& in) {
    uint64_t count = 0;
    uint64_t last = 0;
    TRY(claim_xattrs(in, count));
    const bool reserved = in.number < g_.first_inode && in.number != disk::inode_root;
    if (reserved || in.has_blocks(g_)) {
        if (in.is_dir()) directory_blocks_.push_back({in.number, {}});
        uint64_t first = 0;
        for (uint32_t i = 0; i < disk::direct_blocks; ++i)
            TRY(claim_tree(in, in.block[i], 0, count, first++, last));
        for (unsigned depth = 1; depth <= 3; ++depth) {
            TRY(claim_tree(in, in.block[disk::direct_blocks + depth - 1], depth, count, first,
                           last));
            uint64_t span = 1;
            for (unsigned i = 0; i < depth; ++i) span *= g_.pointers();
            first += span;
        }
    }
    if (reserved && in.number != disk::inode_resize) return {};
    if (count * (g_.block_size / 512) != in.sectors)
        wrong("sectors", inode_place_text(in.number), "{} sectors counted, {} are", in.sectors,
              count * (g_.block_size / 512));
    if (!reserved && (in.type() == FileType::reg || in.is_dir()) &&
        last > (in.size + g_.block_size - 1) >> g_.block_shift)
        wrong("blocks-behind-end", inode_place_text(in.number), "size {}, but block {} exists",
              in.size, last - 1);
    return {};
}

Result<void> Checker::claim_tree(const Inode& in, uint32_t raw, unsigned depth, uint64_t& count,
                                 uint64_t first, uint64_t& last_block) {
    if (raw == 0) return {};
    if (!g_.block_in_range(raw)) {
        wrong("block-outside", inode_place_text(in.number), "points to block {}", raw);
        return {};
    }
    if (++count > g_.block_count)
        return {}; // in a circle; the blocks are reported as claimed twice
    const bool again = claimed_[raw];
    claim(raw, inode_place_text(in.number));
    if (depth == 0) {
        last_block = std::max(last_block, first + 1);
        if (in.is_dir() && !again) directory_blocks_.back().second.push_back(raw);
        return {};
    }
    if (again) return {};
    const Block block = TRY(read(raw));
    uint64_t span = 1;
    for (unsigned i = 1; i < depth; ++i) span *= g_.pointers();
    for (uint32_t i = 0; i < g_.pointers(); ++i) {
        le32 pointer;
        std::memcpy(&pointer, block.data() + size_t{i} * 4, sizeof pointer);
        TRY(claim_tree(in, pointer, depth - 1, count, first + i * span, last_block));
    }
    return {};
}

Result<void> Checker::claim_xattrs(const Inode& in, uint64_t& count) {
    if (in.file_acl == 0) return {};
    if (!g_.block_in_range(in.file_acl)) {
        wrong("block-outside", inode_place_text(in.number), "attribute block {}", in.file_acl);
        return {};
    }
    ++count;
    const auto it = std::find_if(xattr_blocks_.begin(), xattr_blocks_.end(),
                                 [&](const auto& x) { return x.first == in.file_acl; });
    if (it != xattr_blocks_.end()) {
        ++it->second;
        return {};
    }
    claim(in.file_acl, inode_place_text(in.number));
    const Block bytes = TRY(read(in.file_acl));
    disk::XattrBlockHeader header;
    std::memcpy(&header, bytes.data(), sizeof header);
    if (header.magic != disk::xattr_magic || header.blocks != 1u) {
        wrong("xattr-header", fmt::format("block {}", in.file_acl), "no attribute block");
        return {};
    }
    xattr_blocks_.emplace_back(in.file_acl, 1);
    if (auto parsed = parse_xattrs(bytes, sizeof header, 0); !parsed.problem.empty())
        wrong("xattr-entry", fmt::format("block {}", in.file_acl), "{}", parsed.problem);
    return {};
}

/// Inodes on the orphan list have no names and are in use until the next mount.
Result<void> Checker::check_orphans() {
    std::unordered_set<uint32_t> seen;
    for (uint32_t number = sb_.last_orphan; number != 0;) {
        if (number < g_.first_inode || number > g_.inode_count || !seen.insert(number).second) {
            wrong("orphan-list", inode_place_text(number), "cannot be on the orphan list");
            return {};
        }
        const uint32_t group = g_.group_of(InodeNumber(number)).value();
        if (bad_group_[group]) return {};
        const InodePlace place = inode_place(g_, InodeNumber(number));
        const Block block =
            TRY(read(uint64_t{descriptors_[group].inode_table} + place.table_block));
        const Inode in = parse_inode(g_, InodeNumber(number),
                                     std::span(block).subspan(place.offset, g_.inode_size))
                             .inode;
        if (in.links == 0) {
            inodes_[number].orphan = true;
            inodes_[number].mode = in.mode;
            const size_t before = directory_blocks_.size();
            TRY(claim_blocks(in));
            directory_blocks_.resize(before); // nobody reads it any more
        }
        number = in.dtime;
    }
    return {};
}

// --- bitmaps and counts -------------------------------------------------------------------------

Result<void> Checker::check_bitmaps() {
    uint64_t free_blocks = 0, free_inodes = 0;
    for (uint32_t n = 0; n < g_.group_count; ++n)
        if (!bad_group_[n]) TRY(check_group(n, free_blocks, free_inodes));
    if (std::count(bad_group_.begin(), bad_group_.end(), true)) return {};
    if (sb_.free_blocks != free_blocks)
        wrong("free-blocks", "superblock", "{} free blocks counted, {} are", sb_.free_blocks.get(),
              free_blocks);
    if (sb_.free_inodes != free_inodes)
        wrong("free-inodes", "superblock", "{} free inodes counted, {} are", sb_.free_inodes.get(),
              free_inodes);
    return {};
}

Result<void> Checker::check_group(uint32_t n, uint64_t& free_blocks, uint64_t& free_inodes) {
    const disk::GroupDescriptor& d = descriptors_[n];
    const GroupNumber group(n);
    const uint64_t start = g_.first_block(group).value();
    const Block blocks = TRY(read(d.block_bitmap));
    uint32_t free = 0, lost = 0;
    for (uint32_t bit = 0; bit < g_.blocks_in(group); ++bit) {
        const bool used = test_bit(blocks, bit);
        free += !used;
        if (!used && claimed_[start + bit])
            wrong("block-marked-free", fmt::format("block {}", start + bit),
                  "in use and marked free");
        lost += used && !claimed_[start + bit];
    }
    if (lost) wrong("blocks-lost", group_text(n), "{} blocks are marked used and nobody's", lost);
    if (d.free_blocks != free)
        wrong("free-blocks", group_text(n), "{} free blocks counted, {} are", d.free_blocks.get(),
              free);
    free_blocks += free;

    const Block map = TRY(read(d.inode_bitmap));
    free = lost = 0;
    uint32_t directories = 0;
    for (uint32_t bit = 0; bit < g_.inodes_per_group; ++bit) {
        const uint32_t number = n * g_.inodes_per_group + bit + 1;
        const bool used = test_bit(map, bit);
        const Found& found = inodes_[number];
        const bool in_use = found.mode != 0 || number < g_.first_inode;
        free += !used;
        if (!used && in_use)
            wrong("inode-marked-free", inode_place_text(number), "in use and marked free");
        lost += used && !in_use;
        directories += mode_to_type(found.mode) == FileType::dir;
    }
    if (lost) wrong("inodes-lost", group_text(n), "{} inodes are marked used and are not", lost);
    if (d.free_inodes != free)
        wrong("free-inodes", group_text(n), "{} free inodes counted, {} are", d.free_inodes.get(),
              free);
    if (d.used_directories != directories)
        wrong("directories", group_text(n), "{} directories counted, {} are",
              d.used_directories.get(), directories);
    free_inodes += free;
    return {};
}

// --- the whole ----------------------------------------------------------------------------------

FailureOr<CheckReport> check_filesystem(host::BlockDevice& device, const CheckOptions& options,
                                        host::Log& log) {
    (void)log;
    if (options.repair)
        return Failure{Errno::opnotsupp, "this checker repairs nothing; use e2fsck -y"};
    disk::Superblock sb;
    std::array<std::byte, sizeof sb> bytes;
    if (device.size() < disk::superblock_offset + sizeof sb)
        return Failure{Errno::inval, "too short for an ext2 superblock"};
    if (!device.read(disk::superblock_offset, bytes))
        return Failure{Errno::io, "cannot read the superblock"};
    std::memcpy(&sb, bytes.data(), sizeof sb);
    CheckReport report;
    auto geometry = Geometry::validate(sb, device.size());
    if (!geometry) {
        if (geometry.error().code != Errno::uclean) return geometry.release_error();
        report.findings.push_back(
            {Finding::Severity::fatal, "superblock", "superblock", geometry.error().text});
        return report;
    }
    if (const std::string unknown = geometry->unknown_ro_features(); !unknown.empty())
        return Failure{
            Errno::opnotsupp,
            fmt::format("uses the feature \"{}\", which this checker does not know", unknown)};
    if (sb.state == disk::state_valid && sb.last_orphan == 0u && !options.force) {
        report.skipped_clean = true;
        return report;
    }
    if (!(sb.state & disk::state_valid))
        report.findings.push_back(
            {Finding::Severity::note, "not-clean", "superblock", "was not unmounted cleanly"});
    if (sb.state & disk::state_error)
        report.findings.push_back(
            {Finding::Severity::wrong, "marked-wrong", "superblock", "is marked as having errors"});
    Checker checker(device, sb, *geometry, report);
    if (auto done = checker.run(); !done) return Failure{done.error(), "the image cannot be read"};
    return report;
}

} // namespace rump::ext2
