// Extended attributes: in the inode's tail and in one block beside it, which inodes with equal
// attributes share ("Extended Attributes").
#pragma once

#include "kernel/fs/ext2fs/alloc.h"
#include "kernel/fs/ext2fs/inode.h"
#include "kernel/sys/vnode.h"

#include "hostshim/lock.h"

#include <string>
#include <unordered_map>
#include <vector>

namespace rump::ext2 {

/// An inode and its place in the table.
struct XattrTarget {
    Inode& inode;
    Buf table; // block of the inode table
    uint32_t offset = 0;
    bool privileged = false;
};

class XattrStore {
public:
    XattrStore(Volume& volume, Allocator& allocator) : volume_(volume), allocator_(allocator) {}

    /// As Vnode::getxattr and listxattr.
    Result<size_t> get(const XattrTarget& target, std::string_view name, std::span<std::byte> out);
    Result<void> list(const XattrTarget& target, XattrSink sink);
    /// Sets, or removes where there is no value. Changes target.inode, which the caller restores
    /// when `tx` is undone. Errors as Vnode::setxattr.
    Result<void> set(Transaction& tx, XattrTarget& target, std::string_view name,
                     std::optional<std::span<const std::byte>> value, XattrSet how,
                     FreeList& freed);
    /// The inode goes: gives up its share of its block. EIO, EUCLEAN.
    Result<void> drop_block(Transaction& tx, Inode& inode, FreeList& freed);

    struct Attribute {
        uint8_t index;
        std::string name; // without prefix
        std::vector<std::byte> value;
    };
    using List = std::vector<Attribute>;

private:
    struct Both {
        List body;
        List block;
    };
    Result<Both> read(const XattrTarget& target);
    Result<Buf> read_block(const Inode& inode);
    Result<void> write_body(Transaction& tx, XattrTarget& target, const List& list);
    Result<void> write_block(Transaction& tx, XattrTarget& target, const List& list,
                             FreeList& freed) EXCLUDES(share_lock_);
    Result<bool> use_equal_block(Transaction& tx, Inode& inode, std::span<const std::byte> image)
        REQUIRES(share_lock_);
    Result<void> drop_locked(Transaction& tx, Inode& inode, FreeList& freed) REQUIRES(share_lock_);
    void change_references(Transaction& tx, Buf& buf, int by) REQUIRES(share_lock_);
    void remember(uint32_t hash, uint32_t block) REQUIRES(share_lock_);

    Volume& volume_;
    Allocator& allocator_;
    host::Mutex share_lock_{host::Rank::fs_mount}; // reference counts of all blocks
    std::unordered_map<uint32_t, uint32_t> by_hash_ GUARDED_BY(share_lock_); // a hint
};

/// Blocks of attributes as bytes, for tests and the checker: what is wrong with them, or the list.
struct ParsedXattrs {
    XattrStore::List list;
    std::string problem;
};
/// `region` holds entries from `first` on; value offsets count from `base`.
ParsedXattrs parse_xattrs(std::span<const std::byte> region, size_t first, size_t base);
uint32_t xattr_entry_hash(std::string_view name, std::span<const std::byte> value);

} // namespace rump::ext2
