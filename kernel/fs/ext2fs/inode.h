// In-core inodes: a compact copy of "Inode Structure" (The Second Extended File System), parsed and
// checked when it is loaded, put back by `store`. Guarded by the lock of the vnode that holds it.
#pragma once

#include "kernel/fs/ext2fs/geometry.h"
#include "kernel/sys/types.h"

#include <atomic>
#include <span>
#include <string_view>

namespace rump::ext2 {

/// A flag that a commit takes back while readers of the file look at it: who finds it taken back
/// finds what was done before, too.
class SharedFlag {
public:
    SharedFlag(bool value = false) : value_(value) {}
    SharedFlag(const SharedFlag& other) : value_(other) {}
    SharedFlag& operator=(const SharedFlag& other) {
        value_.store(other, std::memory_order_release);
        return *this;
    }
    operator bool() const { return value_.load(std::memory_order_acquire); }

private:
    std::atomic<bool> value_;
};

/// A time stamp as the disk has it: seconds modulo 2^32, and nanoseconds with the next two bits.
struct PackedTime {
    uint32_t seconds = 0;
    uint32_t extra = 0;

    /// Clamped to what the inode holds: to whole seconds and 32 bits without `wide`.
    static PackedTime from(Timespec time, bool wide);
    Timespec get() const;
};

struct Inode {
    uint32_t number = 0;
    uint32_t generation = 0;
    uint16_t mode = 0; // type and permissions
    uint16_t links = 0;
    uint16_t extra_size = 0; // bytes of InodeExtra in use
    SharedFlag tail_unset;   // a new inode: what follows on disk is an older one's
    uint32_t uid = 0;
    uint32_t gid = 0;
    uint32_t flags = 0;
    uint32_t sectors = 0;  // 512 bytes each
    uint32_t file_acl = 0; // block of extended attributes; 0: none
    uint32_t dtime = 0;
    uint64_t size = 0;
    PackedTime atime, mtime, ctime, crtime;
    le32 block[disk::block_pointers]; // pointers, a fast symlink's target, or a device number

    FileType type() const { return mode_to_type(mode); }
    bool is_dir() const { return type() == FileType::dir; }
    bool has_crtime() const { return extra_size >= offsetof(disk::InodeExtra, version_high); }
    bool has_time_extra() const { return extra_size >= offsetof(disk::InodeExtra, crtime); }
    PackedTime pack(Timespec time) const { return PackedTime::from(time, has_time_extra()); }
    /// A symlink whose target stands in `block`.
    bool is_fast_symlink(const Geometry& g) const {
        return type() == FileType::lnk && sectors == (file_acl ? g.block_size / 512 : 0u);
    }
    DeviceNumber device() const;
    void set_device(DeviceNumber device);
    /// Has data blocks behind pointers.
    bool has_blocks(const Geometry& g) const {
        return type() == FileType::reg || is_dir() ||
               (type() == FileType::lnk && !is_fast_symlink(g));
    }
};

/// Where an inode is, beside the table's start: block of the table and byte in it.
struct InodePlace {
    uint32_t table_block;
    uint32_t offset;
};
InodePlace inode_place(const Geometry& g, InodeNumber number);

/// What is wrong with an inode, for the report: "size 4097 of a directory". Empty: nothing.
struct ParsedInode {
    Inode inode;
    std::string problem;
};
/// `raw` is inode_size bytes. Never fails: what contradicts itself is named in `problem`; a free
/// inode (no links or no mode) has none.
ParsedInode parse_inode(const Geometry& g, InodeNumber number, std::span<const std::byte> raw);

/// Writes what an Inode knows into the inode_size bytes at `raw` and leaves the rest, but for
/// tail_unset, where the rest becomes zero.
void store_inode(const Geometry& g, const Inode& inode, std::span<std::byte> raw);

} // namespace rump::ext2
