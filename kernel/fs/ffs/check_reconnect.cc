// Phases 3 and 4, the mending part: what has no name gets one in /lost+found,
// which is made when it is missing. The maps follow in phase 5.
#include "kernel/fs/ffs/check.h"

#include "kernel/fs/ffs/dir.h"

#include <fmt/format.h>

#include <algorithm>

namespace rump::ffs {

namespace {
constexpr std::string_view lost_found = "lost+found";
} // namespace

Result<InodeState> Checker::load(uint64_t number) {
    std::vector<std::byte> block(geo_.bsize);
    TRY(read(geo_.inode_block(number).value(), block));
    return decode_inode(geo_, std::span(block).subspan(geo_.inode_offset(number), geo_.inode_size));
}

Result<void> Checker::store(uint64_t number, const InodeState& state) {
    std::vector<std::byte> block(geo_.bsize);
    TRY(read(geo_.inode_block(number).value(), block));
    encode_inode(geo_, state, state.nlink,
                 std::span(block).subspan(geo_.inode_offset(number), geo_.inode_size));
    return write(geo_.inode_block(number).value(), block);
}

/// Hands out the chunks of a directory until `edit` says that it has changed one,
/// which is written. False: none was.
Result<bool> Checker::edit_directory(uint64_t dir, FunctionRef<bool(std::span<std::byte>)> edit) {
    const InodeState s = TRY(load(dir));
    std::vector<std::byte> unit(std::max(geo_.fsize, geo_.dirblk));
    for (uint64_t at = 0; at < s.size; at += geo_.dirblk) {
        const uint64_t address = TRY(address_of(s, geo_.block_of(at)));
        if (address == 0) continue;
        const uint64_t f = address + (geo_.in_block(at) >> geo_.fshift);
        TRY(read(f, unit));
        if (!edit(std::span(unit).subspan(at & (geo_.fsize - 1), geo_.dirblk))) continue;
        TRY(write(f, unit));
        return true;
    }
    return false;
}

/// Puts a name into the first gap; false: there is none.
Result<bool> Checker::add_entry(uint64_t dir, std::string_view name, uint64_t ino) {
    const uint32_t needed = disk::dirent_size(name.size());
    const auto type = static_cast<FileType>(inodes_[ino].type);
    return edit_directory(dir, [&](std::span<std::byte> chunk) {
        ChunkWalk walk(geo_, chunk);
        DirRecord r;
        for (;;) {
            auto more = walk.next(r);
            if (!more || !*more) return false;
            if (r.slack() < needed) continue;
            const uint32_t kept = r.ino == 0 ? 0 : disk::dirent_size(r.name.size());
            if (kept != 0) put_reclen(geo_, chunk, r.at, kept);
            put_record(geo_, chunk, r.at + kept, r.reclen - kept, ino, type, name);
            return true;
        }
    });
}

/// One more chunk, in the last fragments or in new ones; false: there is no space, or the directory
/// has indirect blocks.
Result<bool> Checker::expand_directory(uint64_t dir) {
    InodeState s = TRY(load(dir));
    const uint64_t at = s.size;
    const uint64_t lbn = geo_.block_of(at);
    if (lbn >= disk::direct_count) return false;
    const uint32_t had = geo_.frags(geo_.in_block(at));
    const uint32_t needs = geo_.frags(geo_.in_block(at) + geo_.dirblk);
    const auto index = static_cast<uint32_t>(lbn);
    uint64_t address = get_address(geo_, s.area, index);
    if (needs > had) {
        const uint64_t old = address;
        address = take_free(needs);
        if (address == 0) return false;
        std::vector<std::byte> bytes(size_t{needs} << geo_.fshift);
        if (had != 0) TRY(read(old, std::span(bytes).first(size_t{had} << geo_.fshift)));
        TRY(write(address, bytes));
        put_address(geo_, s.area, index, address);
        s.blocks += (uint64_t{needs - had} << geo_.fshift) / 512;
        cleared_ = cleared_ || had != 0; // where it was is free now
    }
    std::vector<std::byte> chunk(geo_.dirblk);
    put_record(geo_, chunk, 0, geo_.dirblk, 0, FileType::unknown, {});
    TRY(device_.write(geo_.bytes(FragNumber(address)) + geo_.in_block(at), chunk));
    s.size += geo_.dirblk;
    TRY(store(dir, s));
    return true;
}

Result<bool> Checker::add_to_directory(uint64_t dir, std::string_view name, uint64_t ino) {
    if (TRY(add_entry(dir, name, ino))) return true;
    return TRY(expand_directory(dir)) && TRY(add_entry(dir, name, ino));
}

/// Takes the first name of `ino` out of a directory.
Result<bool> Checker::remove_entry(uint64_t dir, uint64_t ino) {
    return edit_directory(dir, [&](std::span<std::byte> chunk) {
        ChunkWalk walk(geo_, chunk);
        DirRecord r, before;
        for (;; before = r) {
            auto more = walk.next(r);
            if (!more || !*more) return false;
            if (r.ino != ino || r.name == "." || r.name == "..") continue;
            if (r.at == 0)
                put_record(geo_, chunk, 0, r.reclen, 0, FileType::unknown, {});
            else
                put_reclen(geo_, chunk, before.at, before.reclen + r.reclen);
            return true;
        }
    });
}

/// Lets ".." of a directory be `parent`. False: it has none.
Result<bool> Checker::set_dotdot(uint64_t number, uint64_t parent) {
    CheckedInode& info = inodes_[number];
    const bool set = TRY(edit_directory(number, [&](std::span<std::byte> chunk) {
        ChunkWalk walk(geo_, chunk);
        DirRecord r;
        for (;;) {
            auto more = walk.next(r);
            if (!more || !*more) return false;
            if (r.name != "..") continue;
            auto& dotdot = *reinterpret_cast<disk::Dirent*>(chunk.data() + r.at);
            geo_.order.set(dotdot.ino, static_cast<uint32_t>(parent));
            return true;
        }
    }));
    if (!set) return false;
    if (info.dotdot != 0) --inodes_[info.dotdot].refs;
    ++inodes_[parent].refs;
    info.dotdot = static_cast<uint32_t>(parent);
    return true;
}

/// A rename that was cut short leaves the old name beside the new one: the one
/// that ".." knows stays.
Result<void> Checker::second_names() {
    for (const auto& [number, dir] : second_names_) {
        CheckedInode& info = inodes_[number];
        if (!found("directory-linked-twice", fmt::format("inode {}", number),
                   "a directory has two names", true))
            continue;
        uint64_t from = dir;
        if (info.dotdot == dir) from = std::exchange(info.parent, static_cast<uint32_t>(dir));
        if (TRY(remove_entry(from, number)))
            --info.refs;
        else
            unrepaired_ = true;
    }
    return {};
}

Result<uint64_t> Checker::find_name(uint64_t dir, std::string_view name) {
    const auto bytes = TRY(read_directory(dir));
    for (uint64_t at = 0; at + geo_.dirblk <= bytes.size(); at += geo_.dirblk) {
        ChunkWalk walk(geo_, std::span(bytes).subspan(at, geo_.dirblk));
        DirRecord r;
        for (;;) {
            auto more = walk.next(r);
            if (!more || !*more) break;
            if (r.ino != 0 && r.name == name) return r.ino;
        }
    }
    return uint64_t{0};
}

/// Free fragments that lie in one block, which are taken; 0: there are none.
uint64_t Checker::take_free(uint32_t frags) {
    for (uint64_t block = 0; block < geo_.size; block += geo_.frag) {
        uint32_t run = 0;
        for (uint32_t i = 0; i < geo_.frag && block + i < geo_.size; ++i) {
            run = used(block + i) ? 0 : run + 1;
            const uint64_t start = block + i + 1 - run;
            if (run < frags || !geo_.is_data(start, frags)) continue;
            use(start, frags);
            return start;
        }
    }
    return 0;
}

/// Makes inode `number`, which is free, an empty directory. False: there is no space. Its names,
/// "." and "..", are the caller's to count.
Result<bool> Checker::make_directory(uint64_t number, uint64_t parent, uint16_t permissions) {
    const uint32_t frags = geo_.frags(geo_.dirblk);
    const uint64_t address = take_free(frags);
    if (address == 0) return false;
    std::vector<std::byte> bytes(size_t{frags} << geo_.fshift);
    put_dots(geo_, std::span(bytes).first(geo_.dirblk), number, parent);
    TRY(write(address, bytes));
    InodeState s;
    s.mode = static_cast<uint16_t>(type_to_mode(FileType::dir) | permissions);
    s.nlink = 2;
    s.size = geo_.dirblk;
    s.blocks = bytes.size() / 512;
    s.gen = TRY(load(number)).gen + 1;
    const int64_t last_write = geo_.updated ? static_cast<int64_t>(geo_.order.get(sb_.time))
                                            : static_cast<int32_t>(geo_.order.get(sb_.old_time));
    s.atime = s.mtime = s.ctime = s.btime = {last_write, 0};
    put_address(geo_, s.area, 0, address);
    TRY(store(number, s));
    CheckedInode& info = inodes_[number];
    info = {};
    info.state = State::dir;
    info.type = static_cast<uint8_t>(FileType::dir);
    info.nlink = s.nlink;
    ++report_.directories;
    changed_ = true;
    return true;
}

/// What hung on the root before comes to /lost+found.
Result<void> Checker::make_root() {
    if (inodes_[disk::root_inode].state != State::free) TRY(clear_inode(disk::root_inode));
    if (!TRY(make_directory(disk::root_inode, disk::root_inode, 0755))) unrepaired_ = true;
    return {};
}

/// A new /lost+found. 0: no inode, no space or no room in the root.
Result<uint64_t> Checker::make_lost_found() {
    uint64_t number = 0;
    for (uint32_t cg = 0; cg < geo_.ncg && number == 0; ++cg)
        for (uint32_t i = 0; i < inodes_.written(cg) && number == 0; ++i)
            if (const uint64_t n = uint64_t{cg} * geo_.ipg + i;
                n > disk::root_inode && inodes_[n].state == State::free)
                number = n;
    if (number == 0 || !TRY(make_directory(number, disk::root_inode, 0700))) return uint64_t{0};
    if (!TRY(add_to_directory(disk::root_inode, lost_found, number))) {
        TRY(clear_inode(number));
        return uint64_t{0};
    }
    CheckedInode& info = inodes_[number];
    info.refs = 2; // its name and its "."
    info.parent = info.dotdot = disk::root_inode;
    info.reached = true;
    ++inodes_[disk::root_inode].refs;
    return number;
}

/// Gives an inode a name in /lost+found, or in the root where there is no room for that; false
/// when there is none there either.
Result<bool> Checker::reconnect(uint64_t number) {
    if (inodes_[disk::root_inode].state != State::dir) return false;
    if (lost_found_ == 0) lost_found_ = TRY(find_name(disk::root_inode, lost_found));
    if (lost_found_ == 0) lost_found_ = TRY(make_lost_found());
    const auto usable = [&](uint64_t dir) {
        return geo_.is_inode(dir) && inodes_.known(dir).state == State::dir && dir != number;
    };
    const std::string name = fmt::format("#{:09}", number);
    uint64_t dir = lost_found_;
    if (!usable(dir) || !TRY(add_to_directory(dir, name, number))) {
        dir = disk::root_inode;
        if (!TRY(add_to_directory(dir, name, number))) return false;
    }
    CheckedInode& info = inodes_[number];
    ++info.refs;
    changed_ = true;
    if (info.state != State::dir) return true;
    if (!TRY(set_dotdot(number, dir))) unrepaired_ = true;
    info.parent = static_cast<uint32_t>(dir);
    return true;
}

} // namespace rump::ffs
