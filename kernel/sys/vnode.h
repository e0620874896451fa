// Vnode: one object of a mounted file system, and the operations that a file system gives it. Names
// and meaning are NetBSD's vnodeops(9).
//
// Life cycle
//
//     fresh ──VnodeCache::insert──> active <──vget, lookup── inactive (no reference, cached)
//                                     |                        ^  |
//                                     ├──last reference gone───┘  └─limit, unmount─> reclaimed
//                                     └──the same, unlinked()──> inactive() ──> reclaimed
//
// - active: somebody holds a VnodeRef. inactive: kept in the cache for the next lookup; reclaimed
//   in about least recently used order, never while dirty(). reclaimed: the destructor runs; it
//   has no work to do on the device.
// - A vnode whose last reference goes while unlinked() is true gets inactive() once, with its lock
//   held exclusively and no other lock of the thread and no transaction open, and is then
//   reclaimed. So a VnodeRef that may be the last of an unlinked file is dropped outside locks and
//   transactions.
//
// Locks. Callers are the generic operations of vfs/vfs_ops.h, which check names, permissions and
// read-only mounts, take the locks below and keep them during the call; an operation neither takes
// nor releases vnode locks. "shared" means at least shared. Overrides ASSERT them on entry.
// A thread waits for a second directory's lock only under Mount::rename_mutex(); directories come
// before files. So no two threads wait for each other, whatever a corrupt image says of who is
// whose parent.
#pragma once

#include "kernel/sys/cred.h"
#include "kernel/sys/types.h"

#include "hostshim/clock_hash.h"
#include "hostshim/function_ref.h"
#include "hostshim/lock.h"

#include <span>
#include <vector>

namespace rump {

class Mount;
class Vnode;
class VnodeCache;
class Transaction;

/// A counted reference. Copying costs an atomic increment, dropping the last one may do I/O.
class VnodeRef {
public:
    VnodeRef() = default;
    VnodeRef(const VnodeRef& other);
    VnodeRef(VnodeRef&& other) noexcept : vnode_(std::exchange(other.vnode_, nullptr)) {}
    VnodeRef& operator=(VnodeRef other) noexcept {
        std::swap(vnode_, other.vnode_);
        return *this;
    }
    ~VnodeRef() { reset(); }
    /// Takes over a reference that the caller holds already / gives it up to the caller.
    static VnodeRef adopt(Vnode* vnode) {
        VnodeRef r;
        r.vnode_ = vnode;
        return r;
    }
    Vnode* release() { return std::exchange(vnode_, nullptr); }
    /// A new reference to a vnode that the caller holds one of.
    static VnodeRef to(Vnode& vnode);

    void reset();
    Vnode* get() const { return vnode_; }
    Vnode& operator*() const { return *vnode_; }
    Vnode* operator->() const { return vnode_; }
    explicit operator bool() const { return vnode_ != nullptr; }
    bool operator==(const VnodeRef&) const = default;

private:
    Vnode* vnode_ = nullptr;
};

/// One extended attribute that a new file starts with.
struct XattrInit {
    std::string name; // full: "system.posix_acl_default"
    std::vector<std::byte> value;
};

/// What create, mkdir and symlink make. Owner, group, mode and inherited ACLs are final: the
/// generic layer has applied umask, setgid and default ACLs.
struct NewNode {
    FileType type = FileType::reg;
    uint32_t mode = 0; // permission bits
    uint32_t uid = 0;
    uint32_t gid = 0;
    DeviceNumber rdev;
    bool privileged = false; // may use reserved blocks
    std::span<const XattrInit> xattrs;
};

/// Where a part of a file is on the device.
struct Extent {
    enum class Kind : uint8_t {
        data,      // bytes at `device_offset`
        hole,      // zeros, nothing allocated
        unwritten, // zeros, space allocated at `device_offset`; prepare_write gives no such extent
        opaque,    // has no plain address (inline, compressed): use read() and write()
    };
    uint64_t file_offset = 0;   // bytes
    uint64_t length = 0;        // bytes
    uint64_t device_offset = 0; // bytes; data and unwritten
    Kind kind = Kind::hole;
    bool fresh =
        false; // prepare_write only: allocated now, what the write does not cover is garbage
};
using ExtentList = std::vector<Extent>;

enum class XattrSet : uint8_t { any, create, replace };
enum class Seek : uint8_t { data, hole };

/// Called for each entry; false stops before consuming it (the caller's buffer is full).
using DirSink = FunctionRef<bool(const DirEntry&)>;
/// Called for each full name.
using XattrSink = FunctionRef<void(std::string_view name)>;

struct RenameArgs {
    Name from_name;
    Vnode& source;
    Vnode& to_dir; // may be this
    Name to_name;
    Vnode* target; // what to_name is now; null: nothing
    bool exchange; // RENAME_EXCHANGE: target is not null, both keep existing
};

class Vnode {
public:
    Vnode(Mount& mount, InodeNumber number, uint32_t generation, FileType type)
        : mount_(mount), number_(number), generation_(generation), type_(type) {}
    virtual ~Vnode() = default;
    Vnode(const Vnode&) = delete;
    Vnode& operator=(const Vnode&) = delete;

    Mount& mount() const { return mount_; }
    InodeNumber number() const { return number_; }
    /// Differs between two files that had the same number one after the other.
    uint32_t generation() const { return generation_; }
    FileType type() const { return type_; }
    bool is_dir() const { return type_ == FileType::dir; }
    bool is_reg() const { return type_ == FileType::reg; }

    host::RwLock lock{host::Rank::vnode};

    // --- directories: this is one (the generic layer has checked), and linked -------------------

    /// The entry's vnode, referenced, unlocked. "." and ".." are answered too, but not ".." of the
    /// root. Locks: this shared. Errors: ENOENT, EIO, EUCLEAN.
    virtual Result<VnodeRef> lookup(Name name);

    /// Calls `sink` for entries from `cookie` on (0: the first), "." and ".." included. A cookie
    /// stays valid while other entries come and go: an entry that exists throughout is seen exactly
    /// once. Locks: this shared; the sink takes no vnode lock. Errors: EINVAL (a cookie that never
    /// was), EIO, EUCLEAN (entries before the damage have been handed out).
    virtual Result<void> readdir(uint64_t cookie, DirSink sink);

    /// A new entry with a new file of type reg, fifo, sock, chr or blk (NetBSD's create and mknod).
    /// `name` is not there. Locks: this exclusive. The result is referenced, unlocked.
    /// Errors: ENOSPC, EDQUOT, EMLINK, EPERM (a type that the format lacks), EINVAL (a name that
    /// the format cannot hold), EIO, EUCLEAN; nothing has changed then.
    virtual Result<VnodeRef> create(Name name, const NewNode& node);
    virtual Result<VnodeRef> mkdir(Name name, const NewNode& node);
    /// `target` is 1 to 4095 bytes. Also ENAMETOOLONG: longer than the format holds.
    virtual Result<VnodeRef> symlink(Name name, std::string_view target, const NewNode& node);

    /// A further name for `target`, which is no directory. Locks: this and target exclusive.
    /// Errors: EMLINK, ENOSPC, EPERM (a format without links), EINVAL, EIO, EUCLEAN.
    virtual Result<void> link(Name name, Vnode& target);

    /// Removes the entry `name` of `victim`, no directory. Locks: both exclusive.
    /// The victim's blocks go in its inactive(), not here. Errors: EIO, EUCLEAN, ENOSPC.
    virtual Result<void> remove(Name name, Vnode& victim);
    /// The same for a directory. Errors: also ENOTEMPTY.
    virtual Result<void> rmdir(Name name, Vnode& victim);

    /// This is the directory of from_name. The generic layer has checked types, ancestry,
    /// permissions and that source and target differ. A target that is replaced loses this link (an
    /// empty directory: is removed). ".." and link counts of directories that change their parent
    /// are kept right. The new entry reaches the device before the old one goes. Locks: this,
    /// to_dir, source, target exclusive. Errors: ENOTEMPTY, EMLINK, ENOSPC, EINVAL, EIO, EUCLEAN,
    /// EAGAIN (Transaction::order: commit and try again).
    virtual Result<void> rename(const RenameArgs& args);

    // --- all types ------------------------------------------------------------------------------

    /// Locks: this shared. Errors: EIO.
    virtual Result<Attr> getattr() = 0;

    /// Changes what is set in `change`, all or nothing; ctime becomes now. The generic layer has
    /// checked permissions and cleared set-id bits. A size change of a regular file frees blocks or
    /// leaves a hole. The generic layer zeroes the bytes past the end inside the last block when a
    /// file shrinks and again before it grows (vfs/generic_io.h); not those that have no plain
    /// address. Locks: this exclusive. Errors: EFBIG, EINVAL (time or id that the format cannot
    /// hold is clamped, not refused), ENOSPC, EPERM (what the format cannot store), EIO, EUCLEAN.
    virtual Result<void> setattr(const AttrChange& change);

    /// Locks: this shared. Errors: EIO, EUCLEAN.
    virtual Result<std::string> readlink();

    /// Makes what this file has written durable, with the entries and inodes that lead to it.
    /// Locks: none. Errors: EIO, also of earlier writes that failed in the background.
    virtual Result<void> fsync(bool data_only);

    // --- extended attributes; names are full ("user.mime") --------------------------------------

    /// The value's size; the value, when `out` is large enough. Locks: this shared.
    /// Errors: ENODATA, ERANGE (out is not empty and too small), EOPNOTSUPP, EIO, EUCLEAN.
    virtual Result<size_t> getxattr(std::string_view name, std::span<std::byte> out);
    /// Locks: this exclusive. Errors: EEXIST, ENODATA, ENOSPC, E2BIG, ERANGE (name), EOPNOTSUPP,
    /// EIO, EUCLEAN.
    virtual Result<void> setxattr(std::string_view name, std::span<const std::byte> value,
                                  XattrSet how);
    /// Locks: this exclusive. Errors: ENODATA, EOPNOTSUPP, EIO, EUCLEAN.
    virtual Result<void> removexattr(std::string_view name);
    /// Locks: this shared. Errors: EOPNOTSUPP, EIO, EUCLEAN.
    virtual Result<void> listxattr(XattrSink sink);

    // --- file data ------------------------------------------------------------------------------

    /// Bytes read: fewer than asked only at the end of the file, or before a place that cannot be
    /// read. The default moves bytes between `out` and the device by map(); a format with opaque
    /// extents has its own. Locks: this shared. Errors: EIO, EUCLEAN.
    virtual Result<size_t> read(uint64_t offset, std::span<std::byte> out);
    /// All of `data`, extending the file when needed, mtime and ctime now. The default uses
    /// prepare_write() and finish_write(). `privileged`: may use reserved blocks. An override that
    /// writes behind the end calls vfs::zero_past_end first. Locks: this exclusive. Returns fewer
    /// bytes only when space ran out, or the device failed, after some were written.
    /// Errors: ENOSPC, EDQUOT, EFBIG, EIO, EUCLEAN.
    virtual Result<size_t> write(uint64_t offset, std::span<const std::byte> data, bool privileged);

    /// Appends the extents of [offset, offset + length), in order, without gaps, up to the end of
    /// the file (which is where the list ends when it is shorter). Locks: this shared. Errors: EIO,
    /// EUCLEAN.
    virtual Result<void> map(uint64_t offset, uint64_t length, ExtentList& out);
    /// Sees that [offset, offset + length) is allocated, and appends its extents as map() does,
    /// fresh ones marked. A fresh extent is made of whole blocks (or fragments): it may begin
    /// before `offset` and end behind the range, and the caller writes all of it before
    /// finish_write(), zeros where it has no data. May allocate less than asked at the end when
    /// space runs out: the list is shorter then, ENOSPC only if it is empty. The size does not
    /// change yet. Locks: this exclusive. Errors: ENOSPC, EDQUOT, EFBIG, EIO, EUCLEAN.
    virtual Result<void> prepare_write(Transaction& tx, uint64_t offset, uint64_t length,
                                       bool privileged, ExtentList& out);
    /// Bytes in extents that map() calls data may be written over where they lie, and nothing else
    /// of the file changes by that but its times. Locks: this shared.
    virtual bool overwritable() { return false; }
    /// The bytes are on their way to the device: size becomes at least `end`, mtime and ctime now.
    /// Locks: this exclusive.
    virtual Result<void> finish_write(Transaction& tx, uint64_t end);

    /// fallocate(2): allocates (and with `zero` also zeroes) the range; the size grows to its end
    /// unless keep_size. Locks: this exclusive. Errors: as prepare_write, EOPNOTSUPP.
    virtual Result<void> allocate(uint64_t offset, uint64_t length, bool keep_size, bool zero,
                                  bool privileged);
    /// Punches a hole; the size stays. Locks: this exclusive. Errors: EOPNOTSUPP, EIO, EUCLEAN.
    virtual Result<void> deallocate(uint64_t offset, uint64_t length);
    /// lseek(2) SEEK_DATA and SEEK_HOLE; the default asks map(). Locks: this shared.
    /// Errors: ENXIO, EIO, EUCLEAN.
    virtual Result<uint64_t> seek(uint64_t offset, Seek what);

    // --- life cycle -----------------------------------------------------------------------------

    /// No name is left: the file goes with its last reference. Locks: none needed.
    virtual bool unlinked() const = 0;
    /// In-core state that a commit has yet to put into buffers: keeps the vnode from being
    /// reclaimed.
    virtual bool dirty() const { return false; }
    /// Frees what an unlinked file holds. Locks: this exclusive, no other. An error is logged by
    /// the caller, the space stays lost until check.
    virtual Result<void> inactive() { return {}; }

private:
    friend class VnodeRef;
    friend class VnodeCache;

    Mount& mount_;
    const InodeNumber number_;
    const uint32_t generation_;
    const FileType type_;

    // owned by VnodeCache (vfs/vnode_cache.cc)
    std::atomic<uint64_t> references_{0}; // low half: count; high half: how often one was taken
    std::atomic<bool> accessed_{false};   // since the clock hand came by
    bool dying_ = false;                  // guarded by its shard's mutex, as all below
    host::ClockLinks<Vnode> links_;
};

} // namespace rump
