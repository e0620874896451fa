// One block of a directory: a bounded walk over its entries, and changes of them ("Linked Directory
// Entry Structure"). Entries fill the block: each rec_len leads to the next one, the last to the
// end.
#pragma once

#include "kernel/fs/ext2fs/geometry.h"
#include "kernel/sys/buf.h"
#include "kernel/sys/transaction.h"
#include "kernel/sys/types.h"

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace rump::ext2 {

/// 16 bits hold lengths up to 65,532 as they are; in blocks of 64 KiB the full block is 65,535 (or
/// 0).
uint32_t decode_rec_len(uint16_t raw, uint32_t block_size);
uint16_t encode_rec_len(uint32_t length, uint32_t block_size);
/// What an entry with such a name takes at least.
constexpr uint32_t entry_size(size_t name_len) {
    return static_cast<uint32_t>(sizeof(disk::DirEntry) + name_len + 3) & ~3u;
}
uint8_t file_type_code(FileType type);
FileType file_type_from_code(uint8_t code);

struct EntryView {
    uint32_t offset = 0; // in the block
    uint32_t inode = 0;  // 0: unused
    uint32_t rec_len = 0;
    uint8_t file_type = 0;
    std::string_view name;

    bool used() const { return inode != 0; }
    /// Bytes that could hold another entry.
    uint32_t room() const { return used() ? rec_len - entry_size(name.size()) : rec_len; }
};

class DirBlockWalk {
public:
    explicit DirBlockWalk(std::span<const std::byte> block) : block_(block) {}
    /// False at the end of the block, or where it is damaged.
    bool next(EntryView& entry);
    /// Empty: the walk ended well. Else "offset 40: record length 0".
    const std::string& damage() const { return damage_; }

private:
    std::span<const std::byte> block_;
    uint32_t at_ = 0;
    std::string damage_;
};

/// A name from the disk that no caller can use: contains '/' or NUL. The reason, or null.
const char* bad_name(std::string_view name);

/// The largest room() in the block; 0 when it is damaged.
uint32_t largest_room(std::span<const std::byte> block);

/// An entry within `bytes`, a block that is not yet, or no more, under anybody's eyes.
void put_entry(std::span<std::byte> bytes, uint32_t offset, uint32_t rec_len, uint32_t inode,
               uint8_t file_type, std::string_view name);

/// Places an entry into the block where there is room. Returns its offset; none: no room. The block
/// has been walked without damage.
std::optional<uint32_t> insert_entry(Transaction& tx, Buf& buf, std::string_view name,
                                     uint32_t inode, uint8_t file_type);
/// `previous`: offset of the entry before it in the block; none: it is the first.
void erase_entry(Transaction& tx, Buf& buf, uint32_t offset, std::optional<uint32_t> previous);

/// Entries packed one behind the other, the last one filling the block; an empty block when none.
std::vector<std::byte> pack_block(uint32_t block_size, std::span<const EntryView> entries);

} // namespace rump::ext2
