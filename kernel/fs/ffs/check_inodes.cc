// Phase 1, blocks and sizes: every inode, every address, each fragment with one
// owner; and phase 4, reference counts.
#include "kernel/fs/ffs/check.h"

#include "kernel/fs/ffs/dir.h"
#include "kernel/fs/ffs/group.h"

#include <fmt/format.h>

#include <algorithm>

namespace rump::ffs {

namespace {

/// An inode with more blocks outside of the data, or of others, is not looked at further.
constexpr unsigned bad_blocks_looked_at = 10;

std::string inode_place(uint64_t number) { return fmt::format("inode {}", number); }

bool all_zero(std::span<const std::byte> bytes) {
    return std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b == std::byte{0}; });
}

std::span<const std::byte> map_of(const Geometry& geo, const InodeState& s) {
    return std::span(s.area).first(size_t{pointer_count} * geo.pointer_size);
}

/// Its area holds no addresses.
bool without_blocks(const Geometry& geo, const InodeState& s) {
    return s.is_device() || (s.is_symlink() && (s.size < geo.maxsymlinklen ||
                                                (geo.maxsymlinklen == 0 && s.blocks == 0)));
}

bool is_snapshot(const InodeState& s) { return (s.flags & disk::sf_snapshot) != 0; }

} // namespace

// --- fragments and their owners
// ---------------------------------------------------------------------

bool Checker::Claim::stopped() const {
    return outside > bad_blocks_looked_at || twice > bad_blocks_looked_at;
}

void Checker::use(uint64_t fragment, uint64_t count) {
    for (uint64_t f = fragment; f < fragment + count && f < geo_.size; ++f)
        used_[f / 8] |= static_cast<uint8_t>(1u << f % 8);
}

bool Checker::claim(Claim& c, uint64_t address, uint32_t frags) {
    if (c.stopped()) return false;
    const auto bad = [&](unsigned& count, std::string code, std::string message) {
        ++count;
        if (pass_ == Pass::claim) {
            found(std::move(code), inode_place(c.number), std::move(message), true);
            if (c.stopped())
                found("blocks-excessive", inode_place(c.number),
                      "has more such blocks than are looked at", true);
        }
        return false;
    };
    if (!geo_.is_data(address, frags))
        return bad(c.outside, "block-out-of-range",
                   fmt::format("address {} of {} fragments is no data block", address, frags));
    bool twice = false;
    for (uint64_t f = address; f < address + frags; ++f) {
        if (pass_ == Pass::owners) c.twice += twice_.contains(f) ? 1 : 0;
        if (pass_ != Pass::claim || !used(f)) continue;
        twice_.insert(f);
        twice = true;
    }
    if (pass_ == Pass::owners) return true;
    use(address, frags);
    if (twice)
        return bad(c.twice, "block-claimed-twice",
                   fmt::format("block {} belongs to another inode, too", address));
    c.sectors += (uint64_t{frags} << geo_.fshift) / 512;
    return true;
}

/// `lbn`: the first block that it maps. `blocks`: those of the file from there on.
Result<void> Checker::claim_indirect(Claim& c, uint64_t address, unsigned level, uint64_t lbn,
                                     uint64_t blocks) {
    // A block that is claimed already is not walked again, so loops end.
    if (!claim(c, address, geo_.frag)) return {};
    uint64_t reach = 1;
    for (unsigned i = 0; i < level; ++i) reach *= geo_.nindir;
    std::vector<std::byte> block(geo_.bsize);
    TRY(read(address, block));
    // The first entry that the size does not reach. A cut between an indirect block
    // and its inode leaves addresses there, of blocks that nothing else names.
    const uint64_t entries = std::min<uint64_t>((blocks + reach - 1) / reach, geo_.nindir);
    const auto behind = std::span(block).subspan(entries * geo_.pointer_size);
    if (pass_ != Pass::owners && !all_zero(behind)) {
        const bool mend =
            pass_ == Pass::claim
                ? found("block-beyond-size", inode_place(c.number),
                        fmt::format("indirect block {} has addresses behind the end", address),
                        true)
                : options_.repair;
        if (mend) {
            std::fill(behind.begin(), behind.end(), std::byte{0});
            TRY(write(address, block));
        }
    }
    for (uint32_t i = 0; i < entries && !c.stopped(); ++i) {
        const uint64_t child = get_address(geo_, block, i);
        const uint64_t first = lbn + reach * i;
        if (child == 0) {
            c.hole = std::min(c.hole, first);
            continue;
        }
        if (level == 0) c.last = first;
        if (is_snapshot(c.state) && child <= disk::snapshot_snap) continue;
        if (level > 0)
            TRY(claim_indirect(c, child, level - 1, first, blocks - reach * i));
        else
            claim(c, child, geo_.frag);
    }
    return {};
}

Result<void> Checker::claim_file(Claim& c) {
    const InodeState& s = c.state;
    uint32_t left = s.extsize;
    for (uint64_t address : s.extb) {
        if (left == 0) break;
        claim(c, address, geo_.frags(std::min(left, geo_.bsize)));
        left -= std::min(left, geo_.bsize);
    }
    if (without_blocks(geo_, s)) return {};
    const uint64_t blocks = (s.size + geo_.bsize - 1) >> geo_.bshift;
    for (uint32_t i = 0; i < disk::direct_count && i < blocks; ++i) {
        const uint64_t address = get_address(geo_, s.area, i);
        if (address == 0)
            c.hole = std::min<uint64_t>(c.hole, i);
        else
            c.last = i;
        if (address == 0 || (is_snapshot(s) && address <= disk::snapshot_snap)) continue;
        claim(c, address, geo_.block_size(s.size, i) >> geo_.fshift);
    }
    uint64_t lbn = disk::direct_count;
    uint64_t reach = geo_.nindir;
    for (unsigned level = 0; level < disk::indirect_count && lbn < blocks; ++level) {
        const uint64_t address = get_address(geo_, s.area, disk::direct_count + level);
        if (address == 0)
            c.hole = std::min(c.hole, lbn);
        else if (!is_snapshot(s) || address > disk::snapshot_snap)
            TRY(claim_indirect(c, address, level, lbn, blocks - lbn));
        lbn += reach;
        reach *= geo_.nindir;
    }
    return {};
}

// --- inodes
// -----------------------------------------------------------------------------------------

/// An inode that is free has neither size nor addresses: other systems trust that.
Result<void> Checker::partial_inode(uint64_t number, const InodeState& s) {
    const bool empty = s.size == 0 && s.blocks == 0 && s.extsize == 0 && all_zero(map_of(geo_, s));
    if (empty ||
        !found("inode-partial", inode_place(number), "is free, and has a size or blocks", true))
        return {};
    InodeState cleared;
    cleared.gen = s.gen;
    return store(number, cleared);
}

/// Why the inode is none: with `code`; empty: it may be one.
std::string Checker::what_is_wrong(uint64_t number, const InodeState& s, std::string& code) const {
    const FileType type = mode_to_type(s.mode);
    const auto wrong = [&](std::string_view which, std::string message) {
        code = which;
        return message;
    };
    if (type == FileType::unknown || type == FileType::wht)
        return wrong("inode-mode", fmt::format("mode is {:o}", s.mode));
    if (s.size > geo_.max_file_size) return wrong("inode-size", fmt::format("size is {}", s.size));
    if (s.is_dir() && !is_unlinked(number) && (s.size == 0 || s.size > UINT32_MAX))
        return wrong("directory-size", fmt::format("size is {}", s.size));
    if (s.is_symlink() && s.size > path_max)
        return wrong("inode-size", fmt::format("a symlink of {} bytes", s.size));
    return {};
}

/// Takes away the addresses that the size does not reach, and attributes that cannot be.
Result<bool> Checker::trim(uint64_t number, InodeState& s) {
    bool changed = false;
    const auto trim = [&](std::string code, std::string message, auto mend) {
        if (!found(std::move(code), inode_place(number), std::move(message), true)) return;
        mend();
        changed = true;
    };
    if (s.is_dir() && s.size % geo_.dirblk != 0 && !is_unlinked(number))
        trim("directory-size", fmt::format("size is {}", s.size),
             [&] { s.size += geo_.dirblk - s.size % geo_.dirblk; });
    const FileType type = mode_to_type(s.mode);
    const bool special = s.is_device() || type == FileType::fifo || type == FileType::sock;
    if (special && s.size != 0)
        trim("inode-size", fmt::format("a special file of {} bytes", s.size), [&] { s.size = 0; });
    const uint64_t ext_blocks = (uint64_t{s.extsize} + geo_.bsize - 1) >> geo_.bshift;
    bool attributes = ext_blocks <= disk::ext_count;
    for (unsigned i = 0; i < disk::ext_count; ++i)
        attributes = attributes && (s.extb[i] != 0) == (i < ext_blocks);
    if (!attributes)
        trim("attribute-block",
             fmt::format("attribute blocks and their size, {}, disagree", s.extsize), [&] {
                 s.extsize = 0;
                 s.extb = {};
             });
    if (without_blocks(geo_, s)) {
        // What is no address is a device's number or a symlink's target, and zeros behind that.
        const uint64_t used = s.is_device() ? geo_.pointer_size : s.size;
        const auto behind = std::as_writable_bytes(std::span(s.area)).first(map_of(geo_, s).size());
        const auto rest = behind.subspan(std::min<size_t>(
            behind.size(), (used + geo_.pointer_size - 1) & ~uint64_t{geo_.pointer_size - 1}));
        if (!all_zero(rest))
            trim("inode-garbage", "has something behind its target or number",
                 [&] { std::fill(rest.begin(), rest.end(), std::byte{0}); });
        return changed;
    }
    const uint64_t blocks = (s.size + geo_.bsize - 1) >> geo_.bshift;
    uint64_t first = 0; // that the address leads to
    uint64_t reach = 1;
    for (uint32_t i = 0; i < pointer_count; ++i) {
        if (i >= disk::direct_count) reach *= geo_.nindir;
        if (first >= blocks && get_address(geo_, s.area, i) != 0)
            trim("block-beyond-size", fmt::format("address {} is behind the end", i),
                 [&] { put_address(geo_, s.area, i, 0); });
        first += reach;
    }
    return changed;
}

/// A directory has no holes: it ends before the first one.
Result<void> Checker::end_at_hole(Claim& c, InodeState& s) {
    if (!found("directory-hole", inode_place(c.number), fmt::format("block {} is missing", c.hole),
               true))
        return {};
    if (c.hole == 0) return clear_inode(c.number);
    s.size = c.hole << geo_.bshift;
    const uint64_t blocks = c.hole;
    uint64_t first = 0, reach = 1;
    for (uint32_t i = 0; i < pointer_count; ++i) {
        if (i >= disk::direct_count) reach *= geo_.nindir;
        if (first >= blocks) put_address(geo_, s.area, i, 0);
        first += reach;
    }
    Claim again{c.number, s};
    pass_ = Pass::recount;
    auto counted = claim_file(again);
    pass_ = Pass::claim;
    TRY(std::move(counted));
    s.blocks = again.sectors;
    cleared_ = true; // what lay behind is free
    return store(c.number, s);
}

/// FreeBSD wants a file's last block to be there: the size is what there is. (NetBSD always writes
/// one, and takes a hole.)
bool Checker::ends_with_hole(const Claim& c, InodeState& s) {
    const uint64_t blocks = (s.size + geo_.bsize - 1) >> geo_.bshift;
    const uint64_t there = c.last == UINT64_MAX ? 0 : c.last + 1;
    if (!geo_.freebsd || blocks == there || without_blocks(geo_, s) || is_snapshot(s)) return false;
    if (!found("file-end", inode_place(c.number),
               fmt::format("has {} bytes, and nothing behind block {}", s.size, there), true))
        return false;
    s.size = there << geo_.bshift;
    return true;
}

/// A root whose mode is wrong, but whose first block says that it is one.
Result<bool> Checker::is_lost_root(uint64_t number, const InodeState& s) {
    if (number != disk::root_inode || s.is_dir() || s.size == 0) return false;
    const uint64_t address = get_address(geo_, s.area, 0);
    if (!geo_.is_data(address, geo_.frags(geo_.dirblk))) return false;
    std::vector<std::byte> chunk(geo_.frag_round(geo_.dirblk));
    TRY(read(address, chunk));
    ChunkWalk walk(geo_, std::span(chunk).first(geo_.dirblk));
    DirRecord dot, dotdot;
    return walk.next(dot).value_or(false) && walk.next(dotdot).value_or(false) && dot.name == "." &&
           dot.ino == number && dotdot.name == ".." && dotdot.ino == number;
}

Result<void> Checker::inode(uint64_t number, std::span<const std::byte> raw) {
    InodeState s = decode_inode(geo_, raw);
    CheckedInode& info = inodes_[number];
    bool changed = TRY(is_lost_root(number, s)) &&
                   found("root", "inode 2", fmt::format("mode is {:o}", s.mode), true);
    if (changed)
        s.mode = static_cast<uint16_t>(type_to_mode(FileType::dir) | 0755);
    else if (s.mode == 0)
        return partial_inode(number, s);
    info.state = State::bad;
    info.nlink = s.nlink;
    info.type = static_cast<uint8_t>(mode_to_type(s.mode));
    if (!changed && !inode_hash_ok(geo_, raw))
        changed = found("inode-check-hash", inode_place(number), "check hash is wrong", true);
    std::string code;
    if (std::string wrong = what_is_wrong(number, s, code); !wrong.empty()) {
        if (found(std::move(code), inode_place(number), std::move(wrong), true))
            return clear_inode(number);
        return {};
    }
    changed = TRY(trim(number, s)) || changed;
    info.state = s.is_dir() ? State::dir : State::file;
    ++(s.is_dir() ? report_.directories : report_.files);
    Claim c{number, s};
    TRY(claim_file(c));
    if (c.outside + c.twice != 0) {
        if (changed) TRY(store(number, s));
        if (options_.repair) info.state = State::bad;
        return {};
    }
    if (s.is_dir() && !is_unlinked(number) && c.hole != UINT64_MAX) return end_at_hole(c, s);
    changed = ends_with_hole(c, s) || changed;
    if (c.sectors != s.blocks &&
        found("inode-blocks", inode_place(number),
              fmt::format("counts {} blocks, has {}", s.blocks, c.sectors), true)) {
        s.blocks = c.sectors;
        changed = true;
    }
    return changed ? store(number, s) : Result<void>();
}

/// Could these be inodes? What was never written is anything. `used`: one of them is in use.
bool Checker::plausible(std::span<const std::byte> block, bool& used) const {
    for (uint32_t i = 0; i < geo_.inopb; ++i) {
        const InodeState s =
            decode_inode(geo_, block.subspan(size_t{i} * geo_.inode_size, geo_.inode_size));
        std::string code;
        const bool free = s.mode == 0 && s.size == 0 && all_zero(map_of(geo_, s));
        if (free) continue;
        if (s.mode == 0 || !what_is_wrong(0, s, code).empty()) return false;
        used = true;
    }
    return true;
}

/// How many inodes of a group were ever written: what its header says. Where that is not to be
/// believed, as far as there are inodes in use and nothing else.
Result<uint32_t> Checker::initialised_inodes(uint32_t cg) {
    if (!geo_.ufs2) return geo_.ipg;
    std::vector<std::byte> block(geo_.bsize);
    const auto header = std::span(block).first(geo_.frag_round(geo_.cgsize));
    TRY(read(geo_.cg_block(cg).value(), header));
    const auto& h = *reinterpret_cast<const disk::CylinderGroup*>(block.data());
    const uint32_t said = geo_.order.get(h.initediblk);
    std::string_view wrong;
    if (const auto maps = check_group(geo_, cg, header, wrong)) {
        bool more = false;
        for (uint32_t i = said; i < geo_.ipg; ++i)
            more = more || (static_cast<uint8_t>(header[maps->inodes + i / 8]) >> i % 8 & 1) != 0;
        if (!more) return said;
    }
    uint32_t end = 0;
    for (uint32_t i = 0; i < geo_.ipg; i += geo_.inopb) {
        TRY(read(geo_.inode_block(uint64_t{cg} * geo_.ipg + i).value(), block));
        bool used = false;
        if (!plausible(block, used)) break;
        if (used) end = i + geo_.inopb;
    }
    return said <= geo_.ipg && said % geo_.inopb == 0 && said > end ? said : end;
}

Result<void> Checker::each_inode(InodeVisit visit) {
    std::vector<std::byte> block(geo_.bsize);
    for (uint32_t cg = 0; cg < geo_.ncg; ++cg) {
        for (uint32_t i = 0; i < inodes_.written(cg); i += geo_.inopb) {
            const uint64_t first = uint64_t{cg} * geo_.ipg + i;
            TRY(read(geo_.inode_block(first).value(), block));
            for (uint32_t k = 0; k < geo_.inopb; ++k)
                if (first + k >= disk::root_inode)
                    TRY(visit(first + k, std::span(block).subspan(size_t{k} * geo_.inode_size,
                                                                  geo_.inode_size)));
        }
    }
    return {};
}

void Checker::reserve_metadata() {
    for (uint32_t cg = 0; cg < geo_.ncg; ++cg) {
        // In the first group everything before the data is taken, elsewhere from
        // the superblock on.
        const uint64_t from = cg == 0 ? 0 : geo_.cg_super(cg).value();
        use(from, geo_.cg_data(cg).value() - from);
    }
    use(geo_.csaddr.value(), geo_.frags(geo_.cssize));
}

/// The first owner of a block that a second one claims is known only now.
Result<void> Checker::other_owners() {
    if (twice_.empty() || !options_.repair) return {};
    pass_ = Pass::owners;
    auto scanned = each_inode([&](uint64_t number, std::span<const std::byte> raw) -> Result<void> {
        if (!in_use(number)) return {};
        const InodeState s = decode_inode(geo_, raw);
        Claim c{number, s};
        TRY(claim_file(c));
        // The root keeps what is its own: its names are worth more than the other's data.
        if (c.twice == 0 || number == disk::root_inode) return {};
        found("block-claimed-twice", inode_place(number), "has a block that another inode claims",
              true);
        inodes_[number].state = State::bad;
        return {};
    });
    pass_ = Pass::claim;
    return scanned;
}

/// Which fragments what is left uses.
Result<void> Checker::recount_blocks() {
    std::fill(used_.begin(), used_.end(), uint8_t{0});
    reserve_metadata();
    pass_ = Pass::recount;
    auto counted = each_inode([&](uint64_t number, std::span<const std::byte> raw) -> Result<void> {
        if (!in_use(number)) return {};
        const InodeState s = decode_inode(geo_, raw);
        Claim c{number, s};
        return claim_file(c);
    });
    pass_ = Pass::claim;
    return counted;
}

Result<void> Checker::blocks_and_sizes() {
    reserve_metadata();
    for (uint32_t cg = 0; cg < geo_.ncg; ++cg) {
        const uint32_t written = TRY(initialised_inodes(cg));
        inodes_.add(cg, cg == 0 ? std::max(written, geo_.inopb) : written); // the root is there
    }
    TRY(each_inode(
        [&](uint64_t number, std::span<const std::byte> raw) { return inode(number, raw); }));
    TRY(other_owners());
    if (inodes_.known(disk::root_inode).state != State::dir &&
        found("root", "inode 2", "the root is no directory", true, Severity::fatal))
        TRY(make_root());
    return {};
}

Result<void> Checker::clear_inode(uint64_t number) {
    CheckedInode& info = inodes_[number];
    if (info.state == State::dir) --report_.directories;
    if (info.state == State::file) --report_.files;
    InodeState cleared;
    cleared.gen = TRY(load(number)).gen;
    TRY(store(number, cleared));
    info.state = State::free;
    cleared_ = true;
    return {};
}

// --- phase 4
// ----------------------------------------------------------------------------------------

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
    const uint64_t log_inode = geo_.log ? geo_.log->inode : 0; // has a count and no name
    const auto counts = [&](uint64_t n) { return in_use(n) && n != log_inode; };
    for (const uint64_t n : inodes_.numbers())
        if (options_.repair && inodes_[n].state == State::bad) TRY(clear_inode(n));
    // First all that gets a name: that changes counts of directories.
    for (const uint64_t n : inodes_.numbers())
        if (counts(n) && inodes_[n].refs == 0) TRY(nameless(n));
    for (const uint64_t n : inodes_.numbers()) {
        const CheckedInode& i = inodes_[n];
        if (!counts(n) || i.refs == 0 || i.refs == i.nlink) continue;
        if (!found("link-count", inode_place(n),
                   fmt::format("link count is {}, should be {}", i.nlink, i.refs),
                   i.refs <= INT16_MAX))
            continue;
        InodeState s = TRY(load(n));
        s.nlink = static_cast<uint16_t>(i.refs);
        TRY(store(n, s));
    }
    return cleared_ ? recount_blocks() : Result<void>();
}

} // namespace rump::ffs
