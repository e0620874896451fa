// The run of a check, and its first part: inodes, and the blocks that they claim. See check.h.
#include "kernel/fs/ext2fs/check.h"

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

bool Checker::add(Finding::Severity severity, std::string code, std::string place,
                  std::string message, bool fixable) {
    const bool fix = fixable && repair_;
    if (fix) changed_ = true;
    if (!fix && severity != Finding::Severity::note) unrepaired_ = true;
    if (report_.findings.size() > findings_max) return fix;
    if (report_.findings.size() == findings_max) {
        code = "too-many";
        place = "file system";
        message = "more findings are left out";
    }
    report_.findings.push_back(
        {severity, std::move(code), std::move(place), std::move(message), fix});
    return fix;
}

Result<Checker::Block> Checker::read(uint64_t block) {
    Block bytes(g_.block_size);
    TRY(device_.read(block << g_.block_shift, bytes));
    return bytes;
}

Result<void> Checker::write(uint64_t block, std::span<const std::byte> bytes) {
    return device_.write(block << g_.block_shift, bytes);
}

Result<void> Checker::change_inode(uint32_t number, FunctionRef<void(disk::Inode&)> change) {
    const InodePlace place = inode_place(g_, InodeNumber(number));
    const uint32_t group = g_.group_of(InodeNumber(number)).value();
    const uint64_t at = (uint64_t{descriptors_[group].inode_table} + place.table_block)
                        << g_.block_shift;
    disk::Inode raw;
    const auto bytes = std::as_writable_bytes(std::span(&raw, 1));
    TRY(device_.read(at + place.offset, bytes));
    change(raw);
    return device_.write(at + place.offset, bytes);
}

Result<void> Checker::run() {
    TRY(read_descriptors());
    claim_metadata();
    TRY(check_orphans());
    TRY(scan_inodes());
    TRY(check_attribute_blocks());
    TRY(check_directories());
    TRY(check_links());
    TRY(check_bitmaps());
    report_.blocks_total = g_.block_count;
    report_.blocks_used = static_cast<uint64_t>(std::count(claimed_.begin(), claimed_.end(), true));
    if (repair_) TRY(store_superblock());
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
        if (in.mode != 0 && in.dtime == 0 && in.links == 0 && !inodes_[number].orphan &&
            mend("deleted-without-time", inode_place_text(number),
                 "no links and no time of removal"))
            TRY(change_inode(number, [&](disk::Inode& raw) { raw.dtime = now(); }));
        return {};
    }
    inodes_[number].mode = in.mode;
    inodes_[number].links = in.links;
    if (!parsed.problem.empty()) wrong("inode", inode_place_text(number), "{}", parsed.problem);
    if (in.dtime != 0 && !inodes_[number].orphan &&
        mend("removal-time", inode_place_text(number), "in use, with a time of removal"))
        TRY(change_inode(number, [](disk::Inode& raw) { raw.dtime = 0; }));
    inodes_[number].orphan = false;
    ++(in.is_dir() ? report_.directories : report_.files);
    return claim_blocks(in);
}

Result<void> Checker::claim_blocks(const Inode& in) {
    const bool reserved = in.number < g_.first_inode && in.number != disk::inode_root;
    const bool sized = !reserved && (in.type() == FileType::reg || in.is_dir());
    Claims claims{in, UINT64_MAX};
    if (sized) claims.limit = (in.size + g_.block_size - 1) >> g_.block_shift;
    TRY(claim_xattrs(in, claims.count));
    if (reserved || in.has_blocks(g_)) {
        if (in.is_dir())
            directories_.push_back(
                {in.number, (in.flags & disk::inode_flag::index) && g_.has_dir_index(), {}});
        bool keep[disk::block_pointers];
        uint64_t first = 0;
        for (uint32_t i = 0; i < disk::direct_blocks; ++i)
            keep[i] = TRY(claim_tree(claims, in.block[i], 0, first++));
        for (unsigned depth = 1; depth <= 3; ++depth) {
            const uint32_t i = disk::direct_blocks + depth - 1;
            keep[i] = TRY(claim_tree(claims, in.block[i], depth, first));
            uint64_t span = 1;
            for (unsigned level = 0; level < depth; ++level) span *= g_.pointers();
            first += span;
        }
        if (claims.cut)
            TRY(change_inode(in.number, [&](disk::Inode& raw) {
                for (uint32_t i = 0; i < disk::block_pointers; ++i)
                    if (!keep[i]) raw.block[i] = 0;
            }));
    }
    if (reserved && in.number != disk::inode_resize) return {};
    const uint64_t sectors = claims.count * (g_.block_size / 512);
    if (sectors != in.sectors && mend("sectors", inode_place_text(in.number),
                                      "{} sectors counted, {} are", in.sectors, sectors))
        TRY(change_inode(in.number,
                         [&](disk::Inode& raw) { raw.sectors = static_cast<uint32_t>(sectors); }));
    if (sized && claims.last > claims.limit)
        wrong("blocks-behind-end", inode_place_text(in.number), "size {}, but block {} exists",
              in.size, claims.last - 1);
    return {};
}

Result<bool> Checker::claim_tree(Claims& claims, uint32_t raw, unsigned depth, uint64_t first) {
    const Inode& in = claims.inode;
    if (raw == 0) return true;
    if (!g_.block_in_range(raw)) {
        wrong("block-outside", inode_place_text(in.number), "points to block {}", raw);
        return true;
    }
    // What a crash cut off in the middle of growing or shrinking. After an orderly unmount it would
    // be the size that lies.
    if (first >= claims.limit && !(sb_.state & disk::state_valid) &&
        (claims.cut || mend("blocks-behind-end", inode_place_text(in.number),
                            "size {}, but block {} exists", in.size, first))) {
        claims.cut = true;
        return false;
    }
    if (++claims.count > g_.block_count)
        return true; // in a circle; the blocks are reported as claimed twice
    const bool again = claimed_[raw];
    claim(raw, inode_place_text(in.number));
    if (depth == 0) {
        claims.last = std::max(claims.last, first + 1);
        if (in.is_dir() && !again && first < g_.block_count) {
            std::vector<uint32_t>& blocks = directories_.back().blocks;
            if (blocks.size() <= first) blocks.resize(first + 1);
            blocks[first] = raw;
        }
        return true;
    }
    if (again) return true;
    Block block = TRY(read(raw));
    uint64_t span = 1;
    for (unsigned i = 1; i < depth; ++i) span *= g_.pointers();
    bool changed = false;
    for (uint32_t i = 0; i < g_.pointers(); ++i) {
        auto& pointer = *reinterpret_cast<le32*>(block.data() + size_t{i} * 4);
        if (TRY(claim_tree(claims, pointer, depth - 1, first + i * span))) continue;
        pointer = 0;
        changed = true;
    }
    if (changed) TRY(write(raw, block));
    return true;
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

Result<void> Checker::check_attribute_blocks() {
    for (const auto& [block, users] : xattr_blocks_) {
        Block bytes = TRY(read(block));
        auto& header = *reinterpret_cast<disk::XattrBlockHeader*>(bytes.data());
        if (header.references == users ||
            !mend("xattr-references", fmt::format("block {}", block), "{} references, {} users",
                  header.references.get(), users))
            continue;
        header.references = users;
        TRY(write(block, bytes));
    }
    return {};
}

/// Inodes on the orphan list were removed, or made shorter, while they were open. They are in use
/// until the next mount, or a repair.
Result<void> Checker::check_orphans() {
    std::unordered_set<uint32_t> seen;
    for (uint32_t number = sb_.last_orphan; number != 0;) {
        const bool possible = number >= g_.first_inode && number <= g_.inode_count &&
                              !bad_group_[g_.group_of(InodeNumber(number)).value()];
        if (!possible || !seen.insert(number).second) {
            // The list ends here. What is behind is found by its links and its lack of a name.
            if (mend("orphan-list", inode_place_text(number), "cannot be on the orphan list"))
                break;
            return {};
        }
        number = TRY(check_orphan(number));
    }
    sb_.last_orphan = repair_ ? 0 : sb_.last_orphan.get();
    return {};
}

/// Returns the next one's number.
Result<uint32_t> Checker::check_orphan(uint32_t number) {
    const uint32_t group = g_.group_of(InodeNumber(number)).value();
    const InodePlace place = inode_place(g_, InodeNumber(number));
    const Block block = TRY(read(uint64_t{descriptors_[group].inode_table} + place.table_block));
    const Inode in =
        parse_inode(g_, InodeNumber(number), std::span(block).subspan(place.offset, g_.inode_size))
            .inode;
    inodes_[number].orphan = true;
    if (repair_) {
        (void)add(Finding::Severity::note, "orphan", inode_place_text(number),
                  in.links == 0 ? "was removed while it was open" : "was open", true);
        TRY(change_inode(number, [&](disk::Inode& raw) {
            raw.dtime = 0;
            if (in.links > 0) return;
            raw.dtime = now();
            raw.size = 0;
            raw.sectors = 0;
            raw.file_acl = 0;
            std::fill(std::begin(raw.block), std::end(raw.block), le32{});
        }));
    } else if (in.links == 0) {
        inodes_[number].mode = in.mode;
        TRY(claim_blocks(in));
        if (in.is_dir() && in.has_blocks(g_)) directories_.pop_back(); // nobody reads it any more
    }
    return in.dtime;
}

// --- the whole ----------------------------------------------------------------------------------

FailureOr<CheckReport> check_filesystem(host::BlockDevice& device, const CheckOptions& options,
                                        host::Log& log) {
    (void)log;
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
        report.findings.push_back({Finding::Severity::note, "not-clean", "superblock",
                                   "was not unmounted cleanly", options.repair});
    if (sb.state & disk::state_error)
        report.findings.push_back({Finding::Severity::wrong, "marked-wrong", "superblock",
                                   "is marked as having errors", options.repair});
    Checker checker(device, sb, *geometry, options, report);
    if (auto done = checker.run(); !done) return Failure{done.error(), "the image cannot be read"};
    return report;
}

} // namespace rump::ext2
