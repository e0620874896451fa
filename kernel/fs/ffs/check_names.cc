// Phase 2, pathnames: every record of every directory; phase 3, connectivity:
// every directory hangs on the root.
#include "kernel/fs/ffs/check.h"

#include "kernel/fs/ffs/dir.h"

#include <fmt/format.h>

#include <algorithm>

namespace rump::ffs {

namespace {

std::string dir_place(uint64_t number, uint64_t offset) {
    return fmt::format("directory inode {}, offset {}", number, offset);
}

disk::Dirent& raw_record(std::span<std::byte> chunk, uint32_t at) {
    return *reinterpret_cast<disk::Dirent*>(chunk.data() + at);
}

} // namespace

/// Where block `lbn` of a file is; 0: nowhere. Phase 1 has checked all addresses.
Result<uint64_t> Checker::address_of(const InodeState& s, uint64_t lbn) {
    const MapPath path = TRY(path_to(geo_, lbn));
    uint64_t address = get_address(
        geo_, s.area, path.levels == 0 ? path.index[0] : disk::direct_count - 1 + path.levels);
    std::vector<std::byte> block(path.levels == 0 ? 0 : geo_.bsize);
    for (unsigned level = 0; level < path.levels && address != 0; ++level) {
        if (!geo_.is_data(address, geo_.frag)) return uint64_t{0};
        TRY(read(address, block));
        address = get_address(geo_, block, path.index[level]);
    }
    return geo_.is_data(address, 1) ? address : 0;
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

/// Lets the first chunk begin with "." and "..". False: what else is in it leaves no room.
bool Checker::put_dots_back(uint64_t number, std::span<std::byte> chunk) {
    struct Kept {
        uint64_t ino;
        FileType type;
        std::string name;
    };
    std::vector<Kept> kept;
    uint64_t parent = disk::root_inode; // phase 3 knows better
    uint32_t needed = disk::dirent_size(1) + disk::dirent_size(2);
    ChunkWalk walk(geo_, chunk);
    DirRecord r;
    while (walk.next(r).value_or(false)) {
        if (r.name == ".." && geo_.is_inode(r.ino)) parent = r.ino;
        if (r.ino == 0 || r.name == "." || r.name == "..") continue;
        kept.push_back({r.ino, r.type, std::string(r.name)});
        needed += disk::dirent_size(r.name.size());
    }
    if (needed > chunk.size()) return false;
    put_dots(geo_, chunk, number, parent);
    uint32_t last = disk::dirent_size(1), at = last + disk::dirent_size(2);
    for (const Kept& k : kept) {
        put_reclen(geo_, chunk, last, at - last);
        put_record(geo_, chunk, at, disk::dirent_size(k.name.size()), k.ino, k.type, k.name);
        last = at;
        at += disk::dirent_size(k.name.size());
    }
    put_reclen(geo_, chunk, last, static_cast<uint32_t>(chunk.size()) - last);
    return true;
}

/// The first two records. True: the chunk was changed.
bool Checker::dots(uint64_t number, std::span<std::byte> chunk) {
    ChunkWalk walk(geo_, chunk);
    DirRecord first, second;
    if (!walk.next(first).value_or(false)) first = {};
    if (!walk.next(second).value_or(false)) second = {};
    const std::string place = dir_place(number, 0);
    if (first.ino != 0 && first.name == "." && second.ino != 0 && second.name == "..") {
        if (first.ino == number ||
            !found("dot", place, fmt::format("\".\" is inode {}", first.ino), true))
            return false;
        geo_.order.set(raw_record(chunk, first.at).ino, static_cast<uint32_t>(number));
        return true;
    }
    if (!found("dot", place, "does not begin with \".\" and \"..\"", true)) return false;
    if (put_dots_back(number, chunk)) return true;
    unrepaired_ = true;
    return false;
}

bool Checker::entry(uint64_t dir, const std::string& place, disk::Dirent& raw, uint64_t ino,
                    uint8_t type, std::string_view name, uint32_t ordinal) {
    if (ino == disk::whiteout_inode && type == static_cast<uint8_t>(FileType::wht)) return true;
    const bool dot = ordinal == 0 && name == ".", dotdot = ordinal == 1 && name == "..";
    if (!dot && !dotdot && (name == "." || name == ".."))
        return !found("dot", place, "an extra \".\" or \"..\"", true);
    // ".." is judged when all parents are known: the one that it names may be gone
    // with the epoch that moved the directory.
    const bool valid = geo_.is_inode(ino);
    const bool there = valid && (in_use(ino) || (inodes_.known(ino).state == State::bad &&
                                                 !options_.repair)); // else it goes
    if (dotdot && !there) return true;
    if (!valid)
        return !found("entry-inode", place, fmt::format("inode {} is out of range", ino), true);
    if (!there)
        return !found("entry-unallocated", place, fmt::format("inode {} is not allocated", ino),
                      true);
    CheckedInode& target = inodes_[ino];
    ++target.refs;
    // "." and ".." are directories', also while they name something else, which is put right later.
    const uint8_t should = dot || dotdot ? static_cast<uint8_t>(FileType::dir) : target.type;
    if (!geo_.old_dirs && type != should && target.state != State::bad &&
        found("entry-type", place, fmt::format("type is {}, inode {} has {}", type, ino, should),
              true)) {
        raw.type = should;
        changed_ = true;
    }
    if (dot) return true;
    if (dotdot) {
        inodes_[dir].dotdot = static_cast<uint32_t>(ino);
        return true;
    }
    if (target.state != State::dir) return true;
    if (target.parent == 0)
        target.parent = static_cast<uint32_t>(dir);
    else
        second_names_.emplace_back(ino, dir);
    return true;
}

/// All records of the chunk at byte `at`. What cannot be read becomes one free record. True: the
/// chunk was changed.
bool Checker::chunk_entries(uint64_t number, uint64_t at, std::span<std::byte> chunk,
                            std::unordered_set<std::string>& names) {
    bool changed = false;
    uint32_t ordinal = at == 0 ? 0 : 2;
    ChunkWalk walk(geo_, chunk);
    DirRecord r;
    for (;;) {
        auto more = walk.next(r);
        if (!more) {
            if (!found("directory-record", dir_place(number, at + walk.at()),
                       std::string(walk.reason()), true))
                return changed;
            const uint32_t rest = static_cast<uint32_t>(chunk.size()) - walk.at();
            // Too little for a record of its own goes to the one before.
            if (rest >= disk::dirent_size(0))
                put_record(geo_, chunk, walk.at(), rest, 0, FileType::unknown, {});
            else
                put_reclen(geo_, chunk, r.at, r.reclen + rest);
            return true;
        }
        if (!*more) return changed;
        const std::string place = dir_place(number, at + r.at);
        disk::Dirent& raw = raw_record(chunk, r.at);
        if (r.ino == 0) {
            // The name that it had means something to other systems: its record must hold it.
            const uint32_t namlen =
                geo_.old_dirs ? geo_.order.get(reinterpret_cast<disk::OldDirent&>(raw).namlen)
                              : raw.namlen;
            if (r.reclen >= disk::dirent_size(namlen) || r.reclen < disk::dirent_size(0) ||
                !found("directory-record", place, "a free record with a longer name", true))
                continue;
            put_record(geo_, chunk, r.at, r.reclen, 0, FileType::unknown, {});
            changed = true;
            continue;
        }
        bool keep = true;
        const uint8_t type = raw.type;
        // Other systems take a record whose name has no end for the end of the chunk.
        if (std::byte& end = chunk[r.at + sizeof raw + r.name.size()];
            end != std::byte{0} && found("directory-record", place, "the name has no end", true)) {
            end = std::byte{0};
            changed = true;
        }
        if (is_bad_name(r.name))
            keep = !found("directory-record", place, std::string(bad_name_reason), true);
        else if (!names.emplace(r.name).second)
            keep = !found("name-twice", place, "the name is there twice", true);
        if (keep)
            keep =
                entry(number, place, raw, r.ino, static_cast<uint8_t>(r.type), r.name, ordinal++);
        if (!keep) geo_.order.set(raw.ino, 0);
        changed = changed || !keep || (!geo_.old_dirs && raw.type != type);
    }
}

Result<void> Checker::directory(uint64_t number) {
    auto bytes = TRY(read_directory(number));
    const InodeState s = TRY(load(number));
    std::unordered_set<std::string> names;
    for (uint64_t at = 0; at + geo_.dirblk <= bytes.size(); at += geo_.dirblk) {
        auto chunk = std::span(bytes).subspan(at, geo_.dirblk);
        bool changed = at == 0 && dots(number, chunk);
        changed = chunk_entries(number, at, chunk, names) || changed;
        if (!changed) continue;
        if (const uint64_t address = TRY(address_of(s, geo_.block_of(at))))
            TRY(device_.write(geo_.bytes(FragNumber(address)) + geo_.in_block(at), chunk));
    }
    return {};
}

Result<void> Checker::pathnames() {
    inodes_[disk::root_inode].parent = disk::root_inode; // a name for it is one too many
    for (const uint64_t n : inodes_.numbers())
        if (inodes_[n].state == State::dir && !is_unlinked(n)) TRY(directory(n));
    return {};
}

/// From `number` up to something that is known to hang on the root; false when
/// the way ends.
bool Checker::reaches_root(uint64_t number) {
    std::vector<uint64_t> way;
    uint64_t at = number;
    while (at != 0 && !inodes_[at].reached && way.size() <= geo_.inode_count()) {
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

/// A ring of directories that nothing above leads to: one of them comes out of it.
Result<void> Checker::break_loop(uint64_t number) {
    CheckedInode& dir = inodes_[number];
    const uint64_t above = dir.parent;
    dir.parent = 0;
    if (!TRY(reconnect(number))) {
        dir.parent = static_cast<uint32_t>(above);
        unrepaired_ = true;
        return {};
    }
    if (TRY(remove_entry(above, number))) --dir.refs;
    (void)reaches_root(number);
    return {};
}

Result<void> Checker::connectivity() {
    TRY(second_names());
    inodes_[disk::root_inode].reached = true;
    // The tops of what is loose first, so that what hangs on them comes along.
    for (const uint64_t n : inodes_.numbers()) {
        CheckedInode& dir = inodes_[n];
        if (dir.state != State::dir || dir.parent != 0 || is_unlinked(n)) continue;
        // A count of 0 says that it was removed: phase 4 clears it, if it holds
        // nothing.
        if (found("directory-unreferenced", dir_place(n, 0), "has no name", true) &&
            !TRY(reconnect(n)))
            unrepaired_ = true;
    }
    for (const uint64_t n : inodes_.numbers()) {
        CheckedInode& dir = inodes_[n];
        if (dir.state != State::dir || is_unlinked(n)) continue;
        if (!reaches_root(n) && dir.parent != 0 &&
            found("directory-loop", dir_place(n, 0), "is not reached from the root", true))
            TRY(break_loop(n));
        if (dir.parent != 0 && dir.dotdot != dir.parent &&
            found("dot-dot", dir_place(n, 0),
                  fmt::format("\"..\" is {}, the parent is {}", dir.dotdot, dir.parent), true) &&
            !TRY(set_dotdot(n, dir.parent)))
            unrepaired_ = true;
    }
    return {};
}

} // namespace rump::ffs
