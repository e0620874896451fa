// Phase 2, pathnames: every record of every directory; phase 3, connectivity:
// every directory hangs on the root.
#include "kernel/fs/ffs/check.h"

#include "kernel/fs/ffs/dir.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_set>

namespace rump::ffs {

namespace {

std::string dir_place(uint64_t number, uint64_t offset) {
    return fmt::format("directory inode {}, offset {}", number, offset);
}

} // namespace

/// Where block `lbn` of a file is; 0: nowhere. Phase 1 has checked all addresses.
Result<uint64_t> Checker::address_of(const InodeState& s, uint64_t lbn) {
    const MapPath path = TRY(path_to(geo_, lbn));
    uint64_t address = get_address(
        geo_, s.area, path.levels == 0 ? path.index[0] : disk::direct_count - 1 + path.levels);
    std::vector<std::byte> block(path.levels == 0 ? 0 : geo_.bsize);
    for (unsigned level = 0; level < path.levels && address != 0; ++level) {
        TRY(read(address, block));
        address = get_address(geo_, block, path.index[level]);
    }
    return address;
}

Result<std::vector<std::byte>> Checker::read_directory(uint64_t number) {
    const InodeState s = TRY(load(number));
    std::vector<std::byte> out;
    const uint64_t blocks = (s.size + geo_.bsize - 1) >> geo_.bshift;
    if (blocks > (geo_.size >> geo_.fragshift) + 1) return out;
    for (uint64_t lbn = 0; lbn < blocks; ++lbn) {
        const uint64_t address = TRY(address_of(s, lbn));
        const size_t at = out.size();
        out.resize(at + geo_.block_size(s.size, lbn));
        if (address != 0) TRY(read(address, std::span(out).subspan(at)));
    }
    out.resize(s.size);
    return out;
}

void Checker::entry(uint64_t dir, uint64_t offset, uint64_t ino, uint8_t type,
                    std::string_view name, uint32_t ordinal) {
    const std::string place = dir_place(dir, offset);
    if (ordinal == 0 && (name != "." || ino != dir))
        found("dot", place, "the first entry is not \".\"", false);
    if (ordinal == 1 && name != "..")
        found("dot-dot", place, "the second entry is not \"..\"", false);
    if (ordinal > 1 && (name == "." || name == ".."))
        found("dot", place, "an extra \".\" or \"..\"", false);
    if (ino == disk::whiteout_inode && type == static_cast<uint8_t>(FileType::wht)) return;
    // ".." is judged when all parents are known: the one that it names may be gone
    // with the epoch that moved the directory.
    if (ordinal == 1 && name == ".." &&
        (!geo_.is_inode(ino) || inodes_[ino].state == CheckedInode::State::free))
        return;
    if (!geo_.is_inode(ino)) {
        found("entry-inode", place, fmt::format("inode {} is out of range", ino), false);
        return;
    }
    CheckedInode& target = inodes_[ino];
    if (target.state == CheckedInode::State::free) {
        found("entry-unallocated", place, fmt::format("inode {} is not allocated", ino), false);
        return;
    }
    ++target.refs;
    if (!geo_.old_dirs && type != target.type && target.state != CheckedInode::State::bad)
        found("entry-type", place,
              fmt::format("type is {}, inode {} has {}", type, ino, target.type), false);
    if (name == ".") return;
    if (name == "..") {
        inodes_[dir].dotdot = static_cast<uint32_t>(ino);
        return;
    }
    if (target.state != CheckedInode::State::dir) return;
    if (target.parent == 0)
        target.parent = static_cast<uint32_t>(dir);
    else
        second_names_.emplace_back(ino, dir);
}

Result<void> Checker::directory(uint64_t number) {
    const auto bytes = TRY(read_directory(number));
    uint32_t ordinal = 0;
    std::unordered_set<std::string> names;
    for (uint64_t at = 0; at + geo_.dirblk <= bytes.size(); at += geo_.dirblk) {
        ChunkWalk walk(geo_, std::span(bytes).subspan(at, geo_.dirblk));
        DirRecord r;
        for (;;) {
            auto more = walk.next(r);
            if (!more) {
                found("directory-record", dir_place(number, at + walk.at()),
                      std::string(walk.reason()), false);
                break;
            }
            if (!*more) break;
            if (r.ino == 0) continue;
            if (!names.emplace(r.name).second)
                found("name-twice", dir_place(number, at + r.at), "the name is there twice", false);
            entry(number, at + r.at, r.ino, static_cast<uint8_t>(r.type), r.name, ordinal++);
        }
    }
    if (ordinal < 2) found("dot", dir_place(number, 0), "no \".\" and \"..\"", false);
    return {};
}

Result<void> Checker::pathnames() {
    inodes_[disk::root_inode].parent = disk::root_inode; // a name for it is one too many
    for (uint64_t n = disk::root_inode; n < inodes_.size(); ++n)
        if (inodes_[n].state == CheckedInode::State::dir && !is_unlinked(n)) TRY(directory(n));
    return {};
}

/// From `number` up to something that is known to hang on the root; false when
/// the way ends.
bool Checker::reaches_root(uint64_t number) {
    std::vector<uint64_t> way;
    uint64_t at = number;
    while (at != 0 && !inodes_[at].reached && way.size() <= inodes_.size()) {
        inodes_[at].reached = true; // ends loops; taken back below
        way.push_back(at);
        at = inodes_[at].parent;
    }
    const bool known =
        at != 0 && std::find(way.begin(), way.end(), at) == way.end() && inodes_[at].reached;
    if (!known)
        for (uint64_t w : way) inodes_[w].reached = false;
    return known;
}

Result<void> Checker::connectivity() {
    TRY(second_names());
    inodes_[disk::root_inode].reached = true;
    // The tops of what is loose first, so that what hangs on them comes along.
    for (uint64_t n = disk::root_inode; n < inodes_.size(); ++n) {
        CheckedInode& dir = inodes_[n];
        if (dir.state != CheckedInode::State::dir || dir.parent != 0 || is_unlinked(n)) continue;
        // A count of 0 says that it was removed: phase 4 clears it, if it holds
        // nothing.
        if (found("directory-unreferenced", dir_place(n, 0), "has no name", true) &&
            !TRY(reconnect(n)))
            unrepaired_ = true;
    }
    for (uint64_t n = disk::root_inode; n < inodes_.size(); ++n) {
        CheckedInode& dir = inodes_[n];
        if (dir.state != CheckedInode::State::dir || is_unlinked(n)) continue;
        if (!reaches_root(n) && (dir.parent != 0 || options_.repair))
            found("directory-loop", dir_place(n, 0), "is not reached from the root", false);
        if (dir.parent != 0 && dir.dotdot != dir.parent &&
            found("dot-dot", dir_place(n, 0),
                  fmt::format("\"..\" is {}, the parent is {}", dir.dotdot, dir.parent), true) &&
            !TRY(set_dotdot(n, dir.parent)))
            unrepaired_ = true;
    }
    return {};
}

} // namespace rump::ffs
