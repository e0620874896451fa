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

/// A new /lost+found of one block. 0: no inode, no block or no room in the
/// root.
Result<uint64_t> Checker::make_lost_found() {
    uint64_t number = 0, address = 0;
    for (uint32_t cg = 0; cg < geo_.ncg && number == 0; ++cg)
        for (uint32_t i = 0; i < written_inodes_[cg] && number == 0; ++i)
            if (const uint64_t n = uint64_t{cg} * geo_.ipg + i;
                n > disk::root_inode && inodes_[n].state == CheckedInode::State::free)
                number = n;
    for (uint64_t f = 0; f + geo_.frag <= geo_.size && address == 0; f += geo_.frag) {
        bool free = geo_.is_data(f, geo_.frag);
        for (uint64_t k = f; k < f + geo_.frag && free; ++k) free = !used(k);
        if (free) address = f;
    }
    if (number == 0 || address == 0) return uint64_t{0};
    std::vector<std::byte> block(geo_.bsize);
    for (uint32_t at = 0; at < geo_.bsize; at += geo_.dirblk)
        put_record(geo_, std::span(block).subspan(at, geo_.dirblk), 0, geo_.dirblk, 0,
                   FileType::unknown, {});
    put_dots(geo_, std::span(block).first(geo_.dirblk), number, disk::root_inode);
    TRY(write(address, block));
    InodeState s = TRY(load(disk::root_inode));
    s.mode = 0040700;
    s.nlink = 2;
    s.size = geo_.bsize;
    s.blocks = geo_.bsize / 512;
    s.extsize = 0;
    s.extb = {};
    s.flags = 0;
    s.gen += 1;
    s.area = {};
    put_address(geo_, s.area, 0, address);
    TRY(store(number, s));
    CheckedInode& info = inodes_[number];
    info = {};
    info.state = CheckedInode::State::dir;
    info.type = static_cast<uint8_t>(FileType::dir);
    info.nlink = 2;
    info.refs = 2; // its name and its "."
    info.parent = info.dotdot = disk::root_inode;
    info.reached = true;
    if (!TRY(add_entry(disk::root_inode, lost_found, number))) {
        TRY(store(number, {}));
        info = {};
        return uint64_t{0};
    }
    for (uint64_t f = address; f < address + geo_.frag; ++f)
        used_[f / 8] |= static_cast<uint8_t>(1u << f % 8);
    ++inodes_[disk::root_inode].refs;
    changed_ = true;
    return number;
}

Result<bool> Checker::reconnect(uint64_t number) {
    if (inodes_[disk::root_inode].state != CheckedInode::State::dir) return false;
    if (lost_found_ == 0) lost_found_ = TRY(find_name(disk::root_inode, lost_found));
    if (lost_found_ == 0) lost_found_ = TRY(make_lost_found());
    if (lost_found_ == 0 || !geo_.is_inode(lost_found_) ||
        inodes_[lost_found_].state != CheckedInode::State::dir || lost_found_ == number)
        return false;
    if (!TRY(add_entry(lost_found_, fmt::format("#{:09}", number), number))) return false;
    CheckedInode& info = inodes_[number];
    ++info.refs;
    changed_ = true;
    if (info.state != CheckedInode::State::dir) return true;
    if (!TRY(set_dotdot(number, lost_found_))) unrepaired_ = true;
    info.parent = static_cast<uint32_t>(lost_found_);
    return true;
}

} // namespace rump::ffs
