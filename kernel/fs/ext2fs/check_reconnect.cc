// check: what has no name gets one in /lost+found, which is made when it is missing. Links and maps
// are compared behind this.
#include "kernel/fs/ext2fs/check.h"

#include <algorithm>

namespace rump::ext2 {

namespace {
constexpr std::string_view lost_found = "lost+found";
} // namespace

Checker::DirectoryBlocks* Checker::blocks_of(uint32_t directory) {
    const auto it = std::find_if(directories_.begin(), directories_.end(),
                                 [&](const auto& d) { return d.number == directory; });
    return it == directories_.end() ? nullptr : &*it;
}

/// Puts a name where there is room. Does not see to the directory's index.
Result<bool> Checker::add_entry(uint32_t directory, std::string_view name, uint32_t number) {
    const DirectoryBlocks* dir = blocks_of(directory);
    if (!dir || dir->indexed) return false;
    const uint32_t need = entry_size(name.size());
    const uint8_t type =
        g_.has_filetype() ? file_type_code(mode_to_type(inodes_[number].mode)) : uint8_t{0};
    for (uint32_t at : dir->blocks) {
        if (at == 0) continue;
        Block block = TRY(read(at));
        if (largest_room(block) < need) continue;
        DirBlockWalk walk(block);
        EntryView e;
        while (walk.next(e) && e.room() < need) {
        }
        const uint32_t kept = e.used() ? entry_size(e.name.size()) : 0;
        auto& entry = *reinterpret_cast<disk::DirEntry*>(block.data() + e.offset);
        if (kept != 0) entry.rec_len = encode_rec_len(kept, g_.block_size);
        put_entry(block, e.offset + kept, e.rec_len - kept, number, type, name);
        TRY(write(at, block));
        return true;
    }
    return false;
}

Result<bool> Checker::find_lost_found() {
    if (lost_found_ != 0) return true;
    const DirectoryBlocks* root = blocks_of(disk::inode_root);
    if (!root) return false;
    for (uint32_t at : root->blocks) {
        if (at == 0) continue;
        const Block block = TRY(read(at));
        DirBlockWalk walk(block);
        EntryView e;
        while (walk.next(e))
            if (e.used() && e.name == lost_found) lost_found_ = e.inode;
    }
    if (lost_found_ == 0) return make_lost_found();
    if (!g_.inode_usable(lost_found_) || !blocks_of(lost_found_)) return false;
    // A name is added at any place: an index would not know of it.
    if (DirectoryBlocks* dir = blocks_of(lost_found_); dir->indexed) {
        dir->indexed = false;
        TRY(change_inode(lost_found_, [](disk::Inode& raw) {
            raw.flags = raw.flags & ~disk::inode_flag::index;
        }));
    }
    return true;
}

/// False: no inode, no block or no room in the root.
Result<bool> Checker::make_lost_found() {
    uint32_t number = g_.first_inode;
    while (number <= g_.inode_count && (inodes_[number].mode != 0 || inodes_[number].orphan ||
                                        bad_group_[g_.group_of(InodeNumber(number)).value()]))
        ++number;
    uint64_t address = g_.first_data_block;
    while (address < g_.block_count && claimed_[address]) ++address;
    if (number > g_.inode_count || address == g_.block_count) return false;
    Found& found = inodes_[number];
    found = {.mode = static_cast<uint16_t>(type_to_mode(FileType::dir) | 0700),
             .links = 2,
             .names = 2,
             .parent = disk::inode_root,
             .dotdot = disk::inode_root};
    if (!TRY(add_entry(disk::inode_root, lost_found, number))) {
        found = {};
        return false;
    }
    const uint8_t type = g_.has_filetype() ? file_type_code(FileType::dir) : uint8_t{0};
    Block block(g_.block_size);
    put_entry(block, 0, entry_size(1), number, type, ".");
    put_entry(block, entry_size(1), g_.block_size - entry_size(1), disk::inode_root, type, "..");
    TRY(write(address, block));
    TRY(change_inode(number, [&](disk::Inode& raw) {
        const le32 generation = raw.generation;
        raw = {};
        raw.generation = generation;
        raw.mode = found.mode;
        raw.links = 2;
        raw.size = g_.block_size;
        raw.sectors = g_.block_size / 512;
        raw.atime = raw.ctime = raw.mtime = now();
        raw.block[0] = static_cast<uint32_t>(address);
    }));
    claimed_[address] = true;
    directories_.push_back({number, false, {static_cast<uint32_t>(address)}});
    ++inodes_[disk::inode_root].names;
    ++report_.directories;
    lost_found_ = number;
    return true;
}

Result<bool> Checker::reconnect(uint32_t number) {
    if (!TRY(find_lost_found()) || lost_found_ == number) return false;
    if (!TRY(add_entry(lost_found_, fmt::format("#{}", number), number))) return false;
    Found& found = inodes_[number];
    ++found.names;
    if (mode_to_type(found.mode) != FileType::dir) return true;
    found.parent = lost_found_;
    TRY(set_dotdot(number, lost_found_));
    return true;
}

Result<void> Checker::set_dotdot(uint32_t directory, uint32_t parent) {
    const DirectoryBlocks* dir = blocks_of(directory);
    if (!dir || dir->blocks.empty() || dir->blocks[0] == 0) return {};
    Block block = TRY(read(dir->blocks[0]));
    DirBlockWalk walk(block);
    EntryView e;
    while (walk.next(e)) {
        if (!e.used() || e.name != "..") continue;
        reinterpret_cast<disk::DirEntry*>(block.data() + e.offset)->inode = parent;
        Found& found = inodes_[directory];
        if (g_.inode_usable(found.dotdot) && inodes_[found.dotdot].names > 0)
            --inodes_[found.dotdot].names;
        ++inodes_[parent].names;
        found.dotdot = parent;
        return write(dir->blocks[0], block);
    }
    return {};
}

} // namespace rump::ext2
