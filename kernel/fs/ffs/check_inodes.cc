// Phase 1, blocks and sizes: every inode, every address, each fragment with one
// owner; and phase 4, reference counts.
#include "kernel/fs/ffs/check.h"

#include "kernel/fs/ffs/inode.h"

#include <fmt/format.h>

#include <algorithm>

namespace rump::ffs {

namespace {

std::string inode_place(uint64_t number) { return fmt::format("inode {}", number); }

uint64_t pointer_at(const Geometry& geo, const std::byte* p) {
    if (geo.ufs2) {
        raw64 v;
        std::memcpy(&v, p, sizeof v);
        return geo.order.get(v);
    }
    raw32 v;
    std::memcpy(&v, p, sizeof v);
    return geo.order.get(v);
}

} // namespace

bool Checker::claim(uint64_t number, uint64_t address, uint32_t frags) {
    if (!geo_.is_data(address, frags)) {
        found("block-out-of-range", inode_place(number),
              fmt::format("address {} of {} fragments is no data block", address, frags), false);
        return false;
    }
    bool twice = false;
    for (uint64_t f = address; f < address + frags; ++f) {
        twice = twice || used(f);
        used_[f / 8] |= static_cast<uint8_t>(1u << f % 8);
    }
    if (twice)
        found("block-claimed-twice", inode_place(number),
              fmt::format("block {} belongs to another inode, too", address), false);
    claimed_ += frags;
    return !twice;
}

Result<bool> Checker::claim_indirect(uint64_t number, uint64_t address, unsigned level,
                                     uint64_t blocks, uint64_t& sectors) {
    if (!claim(number, address, geo_.frag)) return false;
    sectors += geo_.bsize / 512;
    uint64_t reach = 1;
    for (unsigned i = 0; i < level; ++i) reach *= geo_.nindir;
    std::vector<std::byte> block(geo_.bsize);
    TRY(read(address, block));
    bool good = true;
    // The first entry that the size does not reach. A cut between an indirect block
    // and its inode leaves addresses there, of blocks that nothing else names.
    const uint64_t entries = std::min<uint64_t>((blocks + reach - 1) / reach, geo_.nindir);
    const auto behind = std::span(block).subspan(entries * geo_.pointer_size);
    if (std::any_of(behind.begin(), behind.end(), [](std::byte b) { return b != std::byte{0}; })) {
        if (!found("block-beyond-size", inode_place(number),
                   fmt::format("indirect block {} has addresses behind the end", address), true))
            return false;
        std::fill(behind.begin(), behind.end(), std::byte{0});
        TRY(write(address, block));
    }
    for (uint32_t i = 0; i < entries; ++i) {
        const uint64_t child = pointer_at(geo_, block.data() + size_t{i} * geo_.pointer_size);
        if (child == 0) continue;
        // A block that is claimed already is not walked again, so loops end.
        if (level > 0) {
            good =
                TRY(claim_indirect(number, child, level - 1, blocks - reach * i, sectors)) && good;
        } else if (claim(number, child, geo_.frag)) {
            sectors += geo_.bsize / 512;
        } else {
            good = false;
        }
    }
    return good;
}

Result<bool> Checker::claim_file(uint64_t number, std::span<const std::byte> raw,
                                 uint64_t& sectors) {
    const InodeState s = decode_inode(geo_, raw);
    const auto pointer = [&](unsigned i) {
        return pointer_at(geo_, s.area.data() + size_t{i} * geo_.pointer_size);
    };
    bool good = true;
    uint32_t ext_left = s.extsize;
    for (uint64_t address : s.extb) {
        if (address == 0 && ext_left == 0) continue;
        const uint32_t frags = geo_.frags(std::clamp<uint32_t>(ext_left, 1, geo_.bsize));
        if (ext_left == 0 || !claim(number, address, frags)) {
            found("attribute-block", inode_place(number), "attribute blocks and size disagree",
                  false);
            good = false;
        } else {
            sectors += (uint64_t{frags} << geo_.fshift) / 512;
        }
        ext_left -= std::min(ext_left, geo_.bsize);
    }
    const bool short_link = s.is_symlink() && (s.size < geo_.maxsymlinklen ||
                                               (geo_.maxsymlinklen == 0 && s.blocks == 0));
    if (s.is_device() || short_link) return good;
    const bool snapshot = (s.flags & disk::sf_snapshot) != 0;
    uint64_t blocks = (s.size + geo_.bsize - 1) >> geo_.bshift;
    for (unsigned i = 0; i < disk::direct_count; ++i) {
        const uint64_t address = pointer(i);
        if (address == 0 || (snapshot && address <= disk::snapshot_snap)) {
            if (i < blocks && s.is_dir()) {
                found("directory-hole", inode_place(number), fmt::format("block {} is missing", i),
                      false);
                good = false;
            }
            continue;
        }
        if (i >= blocks) {
            found("block-beyond-size", inode_place(number),
                  fmt::format("direct block {} is behind the end", i), false);
            return false;
        }
        const uint32_t frags = geo_.block_size(s.size, i) >> geo_.fshift;
        if (claim(number, address, frags))
            sectors += (uint64_t{frags} << geo_.fshift) / 512;
        else
            good = false;
    }
    blocks -= std::min<uint64_t>(blocks, disk::direct_count);
    uint64_t reach = geo_.nindir;
    for (unsigned level = 0; level < disk::indirect_count; ++level, reach *= geo_.nindir) {
        const uint64_t address = pointer(disk::direct_count + level);
        if (address != 0 && blocks == 0) {
            found("block-beyond-size", inode_place(number),
                  fmt::format("indirect block of level {} is behind the end", level + 1), false);
            return false;
        }
        if (address != 0 && !snapshot)
            good = TRY(claim_indirect(number, address, level, blocks, sectors)) && good;
        blocks -= std::min(blocks, reach);
    }
    return good;
}

/// An inode that is free has neither size nor addresses: other systems trust that.
Result<void> Checker::partial_inode(uint64_t number, const InodeState& s) {
    const auto map = std::span(s.area).first(size_t{pointer_count} * geo_.pointer_size);
    const bool empty =
        s.size == 0 && s.extsize == 0 &&
        std::all_of(map.begin(), map.end(), [](std::byte b) { return b == std::byte{0}; });
    if (empty ||
        !found("inode-partial", inode_place(number), "is free, and has a size or blocks", true))
        return {};
    InodeState cleared;
    cleared.gen = s.gen;
    return store(number, cleared);
}

Result<void> Checker::inode(uint64_t number, std::span<const std::byte> raw) {
    const InodeState s = decode_inode(geo_, raw);
    CheckedInode& info = inodes_[number];
    if (s.mode == 0) return partial_inode(number, s);
    info.state = CheckedInode::State::bad;
    info.nlink = s.nlink;
    const FileType type = mode_to_type(s.mode);
    info.type = static_cast<uint8_t>(type);
    const auto bad = [&](std::string code, std::string message) {
        found(std::move(code), inode_place(number), std::move(message), false);
        return Result<void>();
    };
    if (!inode_hash_ok(geo_, raw)) return bad("inode-check-hash", "check hash is wrong");
    if (type == FileType::unknown || type == FileType::wht)
        return bad("inode-mode", fmt::format("mode is {:o}", s.mode));
    if (s.size > geo_.max_file_size) return bad("inode-size", fmt::format("size is {}", s.size));
    if (s.is_dir() && !is_unlinked(number) &&
        (s.size == 0 || s.size % geo_.dirblk != 0 || s.size > UINT32_MAX))
        return bad("directory-size", fmt::format("size is {}", s.size));
    if (s.extsize > disk::ext_count * geo_.bsize)
        return bad("attribute-size", fmt::format("attributes of {} bytes", s.extsize));
    uint64_t sectors = 0;
    const bool good = TRY(claim_file(number, raw, sectors));
    if (good && sectors != s.blocks &&
        found("inode-blocks", inode_place(number),
              fmt::format("counts {} blocks, has {}", s.blocks, sectors), true)) {
        std::vector<std::byte> block(geo_.bsize);
        TRY(read(geo_.inode_block(number).value(), block));
        InodeState fixed = s;
        fixed.blocks = sectors;
        encode_inode(geo_, fixed, s.nlink,
                     std::span(block).subspan(geo_.inode_offset(number), geo_.inode_size));
        TRY(write(geo_.inode_block(number).value(), block));
    }
    info.state = s.is_dir() ? CheckedInode::State::dir : CheckedInode::State::file;
    ++(s.is_dir() ? report_.directories : report_.files);
    return {};
}

Result<void> Checker::group_inodes(uint32_t cg, uint32_t count) {
    std::vector<std::byte> block(geo_.bsize);
    for (uint32_t i = 0; i < count; i += geo_.inopb) {
        const uint64_t first = uint64_t{cg} * geo_.ipg + i;
        TRY(read(geo_.inode_block(first).value(), block));
        for (uint32_t k = 0; k < geo_.inopb; ++k) {
            const uint64_t number = first + k;
            if (number < disk::root_inode) continue;
            TRY(inode(number,
                      std::span(block).subspan(size_t{k} * geo_.inode_size, geo_.inode_size)));
        }
    }
    return {};
}

Result<void> Checker::blocks_and_sizes() {
    const auto take = [&](uint64_t from, uint64_t count) {
        for (uint64_t f = from; f < from + count && f < geo_.size; ++f)
            used_[f / 8] |= static_cast<uint8_t>(1u << f % 8);
    };
    for (uint32_t cg = 0; cg < geo_.ncg; ++cg) {
        // In the first group everything before the data is taken, elsewhere from
        // the superblock on.
        const uint64_t from = cg == 0 ? 0 : geo_.cg_super(cg).value();
        take(from, geo_.cg_data(cg).value() - from);
    }
    take(geo_.csaddr.value(), geo_.frags(geo_.cssize));
    for (uint32_t cg = 0; cg < geo_.ncg; ++cg) {
        uint32_t count = geo_.ipg;
        if (geo_.ufs2) {
            std::vector<std::byte> block(geo_.bsize);
            TRY(read(geo_.cg_block(cg).value(),
                     std::span(block).first(geo_.frag_round(geo_.cgsize))));
            const auto& h = *reinterpret_cast<const disk::CylinderGroup*>(block.data());
            const uint32_t inited = geo_.order.get(h.initediblk);
            if (geo_.order.get(h.magic) == disk::cg_magic && inited <= geo_.ipg) count = inited;
        }
        written_inodes_.push_back(count);
        TRY(group_inodes(cg, count));
    }
    if (inodes_[disk::root_inode].state != CheckedInode::State::dir)
        found("root", "inode 2", "the root is no directory", false, Severity::fatal);
    return {};
}

Result<void> Checker::clear_inode(uint64_t number) {
    std::vector<std::byte> block(geo_.bsize);
    TRY(read(geo_.inode_block(number).value(), block));
    auto raw = std::span(block).subspan(geo_.inode_offset(number), geo_.inode_size);
    const InodeState old = decode_inode(geo_, raw);
    // Its blocks are free in the maps that phase 5 builds.
    std::vector<uint8_t> kept = used_;
    std::fill(used_.begin(), used_.end(), uint8_t{0});
    uint64_t sectors = 0;
    const auto findings = report_.findings.size();
    const bool unrepaired = unrepaired_;
    (void)TRY(claim_file(number, raw, sectors));
    report_.findings.resize(findings);
    unrepaired_ = unrepaired;
    for (size_t i = 0; i < kept.size(); ++i) kept[i] &= static_cast<uint8_t>(~used_[i]);
    used_ = std::move(kept);
    InodeState cleared;
    cleared.gen = old.gen;
    encode_inode(geo_, cleared, 0, raw);
    TRY(write(geo_.inode_block(number).value(), block));
    inodes_[number].state = CheckedInode::State::free;
    inodes_[number].cleared = true;
    return {};
}

Result<void> Checker::set_links(uint64_t number, uint16_t nlink) {
    std::vector<std::byte> block(geo_.bsize);
    TRY(read(geo_.inode_block(number).value(), block));
    auto raw = std::span(block).subspan(geo_.inode_offset(number), geo_.inode_size);
    encode_inode(geo_, decode_inode(geo_, raw), nlink, raw);
    return write(geo_.inode_block(number).value(), block);
}

/// What has no name: it goes when it was removed or never written to, else it
/// gets a name.
Result<void> Checker::nameless(uint64_t number) {
    CheckedInode& i = inodes_[number];
    if (is_unlinked(number)) {
        if (found("unlinked-in-use", inode_place(number), "was in use without a name; it is freed",
                  true, Severity::note))
            return clear_inode(number);
        return {};
    }
    if (!found("unreferenced", inode_place(number), "has no name", true)) return {};
    const InodeState s = TRY(load(number));
    // A log that the superblock does not name holds nobody's data.
    const bool worthless = i.nlink == 0 || s.size == 0 || (s.flags & disk::sf_log) != 0;
    if (worthless) return clear_inode(number);
    if (!TRY(reconnect(number))) unrepaired_ = true;
    return {};
}

Result<void> Checker::reference_counts() {
    const uint64_t log_inode = geo_.log ? geo_.log->inode : 0;
    const auto counts = [&](uint64_t n) {
        const auto state = inodes_[n].state;
        return (state == CheckedInode::State::file || state == CheckedInode::State::dir) &&
               n != log_inode; // which has a count and no name
    };
    // First all that gets a name: that changes counts of directories.
    for (uint64_t n = disk::root_inode; n < inodes_.size(); ++n)
        if (counts(n) && inodes_[n].refs == 0) TRY(nameless(n));
    for (uint64_t n = disk::root_inode; n < inodes_.size(); ++n) {
        const CheckedInode& i = inodes_[n];
        if (!counts(n) || i.refs == 0 || i.refs == i.nlink) continue;
        if (found("link-count", inode_place(n),
                  fmt::format("link count is {}, should be {}", i.nlink, i.refs),
                  i.refs <= INT16_MAX))
            TRY(set_links(n, static_cast<uint16_t>(i.refs)));
    }
    return {};
}

} // namespace rump::ffs
