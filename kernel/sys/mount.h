// Mount: a file system that is in use. A file system derives its own from it (vfsops).
//
//     mounting ──FileSystemType::mount──> mounted (rw or ro) <──remount──> mounted
//                                            |  └─panic, errors=remount-ro─> read-only for good
//                                            └──unmount──> quiescing ──> unmounted
#pragma once

#include "kernel/sys/options.h"
#include "kernel/sys/transaction.h"
#include "kernel/sys/types.h"
#include "kernel/sys/vnode.h"

#include "hostshim/block_device.h"
#include "hostshim/lock.h"

#include <atomic>
#include <memory>
#include <string>

namespace rump {

class BufferCache;
class DirHashPool;
class Epoch;
class FileSystemType;
class Journal;
class Kernel;
class NameCache;
class VnodeCache;

enum class AtimePolicy : uint8_t { none, relative, strict };
enum class ErrorPolicy : uint8_t { remount_read_only, carry_on, abort };

struct MountOptions {
    bool read_only = false;
    bool no_recovery = false; // with read_only: do not even replay a log in memory
    bool sync = false;        // every operation is durable when it returns
    AtimePolicy atime = AtimePolicy::relative;
    ErrorPolicy errors = ErrorPolicy::remount_read_only;
    bool acl = true;                 // POSIX ACLs are in force where the format has them
    uint64_t cache_bytes = 8u << 20; // buffer cache: clean and dirty blocks
    uint32_t vnode_limit = 16384;    // unreferenced vnodes that stay cached
    uint32_t name_limit = 32768;     // entries of the name cache
    std::string mounted_on;          // a directory of the host, for a superblock that notes it
    std::optional<uint32_t> uid,
        gid;                       // what every file's owner is shown as; changes of it are EPERM
    std::optional<uint32_t> umask; // taken away from every mode shown
    OptionSet fs;                  // the file system's own
};

struct MountArgs {
    std::unique_ptr<host::BlockDevice> device; // null for file systems without one
    MountOptions options;
};

class Mount {
public:
    virtual ~Mount();
    Mount(const Mount&) = delete;
    Mount& operator=(const Mount&) = delete;

    Kernel& kernel() const { return kernel_; }
    const FileSystemType& type() const { return type_; }
    const MountOptions& options() const { return options_; }
    /// ASSERTs that there is one.
    host::BlockDevice& device() const {
        ASSERT(device_);
        return *device_;
    }
    bool has_device() const { return device_ != nullptr; }
    bool read_only() const { return read_only_.load(std::memory_order_acquire); }
    /// A structure was found corrupt, or a write failed, since mounting.
    bool tainted() const { return tainted_.load(std::memory_order_relaxed); }
    /// Taken away by force or aborted: every operation answers EIO.
    bool dead() const { return dead_.load(std::memory_order_relaxed); }

    // --- for the generic layer and adapters ------------------------------------------------------

    /// The root's number, constant.
    virtual InodeNumber root_number() const = 0;
    Result<VnodeRef> root() { return vget(root_number()); }
    /// The vnode of a number: from the cache, else load(). ESTALE: no such file (any more), EIO,
    /// EUCLEAN.
    Result<VnodeRef> vget(InodeNumber number);
    /// Also ESTALE when the generation differs.
    Result<VnodeRef> from_handle(const FileHandle& handle);
    virtual Result<StatVfs> statvfs() = 0;
    /// All that happened before the call is on the device when it returns. EIO.
    Result<void> sync();
    /// Begins writing, unless mounted read-only: until then nothing is written, and changes are
    /// refused (EROFS). Called once. Failure: why it cannot be written (EROFS, EIO, EUCLEAN); then
    /// it is a read-only mount.
    FailureOr<void> go_live();
    /// After unmount: somebody still holds a vnode.
    bool in_use() const;
    /// EBUSY: a vnode is in use, unless `force` (later operations on it fail with EIO). The image
    /// is clean afterwards unless EIO. Called once; then only the destructor follows.
    Result<void> unmount(bool force);
    /// EBUSY (to read-only: an unlinked file is open), EROFS (the device or the file system cannot
    /// be written; the failure says why).
    FailureOr<void> remount(bool read_only);
    /// Frees device space that no file uses; returns bytes. EOPNOTSUPP, EROFS, EIO.
    virtual Result<uint64_t> trim(uint64_t offset, uint64_t length, uint64_t minimum);
    /// May this one use the blocks that are kept back?
    virtual bool may_use_reserved(const Cred& cred) const { return cred.is_superuser(); }
    /// What `info` shows, beyond statvfs: "label", "uuid", "features" …
    virtual std::vector<std::pair<std::string, std::string>> describe() { return {}; }

    /// What the generic layer may expect of this format.
    struct Traits {
        bool hard_links = true;
        bool symlinks = true;
        bool special_files = true;
        bool owners = true;     // uid, gid and mode are stored
        bool posix_acl = false; // takes system.posix_acl_* as xattrs; never with `noacl`
        bool case_sensitive = true;
        bool negative_names = true;         // a name that is not there may be cached as such
        uint32_t name_max = rump::name_max; // bytes; utf16_name_max at the most
        uint64_t max_file_size = INT64_MAX;
        uint32_t link_max = 127;
        uint32_t time_granularity_ns = 1; // of mtime
    };
    const Traits& traits() const { return traits_; }

    /// Held by whoever locks more than one directory: renames that move or replace directories or
    /// have two of them, and rmdir. The directory tree's shape changes under it only.
    host::Mutex& rename_mutex() { return rename_mutex_; }

    // --- for the file system --------------------------------------------------------------------

    /// Opens a transaction; waits for a commit that is collecting, and commits first when too much
    /// is dirty. Locks: none of rank epoch or later. EROFS; EIO after a commit that failed.
    Result<Transaction> begin();

    /// Reports a corrupt structure: logs `place` ("directory inode 12, block 8211, offset 40:
    /// record length 0"), taints the mount, follows errors=. Returns EUCLEAN, so that it reads
    /// `return mount.corrupt(...)`.
    [[nodiscard]] Errno corrupt(std::string place);
    /// The same for an I/O error of metadata: returns EIO.
    [[nodiscard]] Errno io_error(std::string place, Errno error);

    VnodeCache& vnodes() { return *vnodes_; }
    NameCache& names() { return *names_; }
    /// ASSERTs that there is a device.
    BufferCache& buffers() {
        ASSERT(buffers_);
        return *buffers_;
    }
    DirHashPool& dirhashes() { return *dirhashes_; }
    Epoch& epoch() { return *epoch_; }

protected:
    /// `journal`: null for the ordered one. Sizes caches by the options.
    Mount(Kernel& kernel, const FileSystemType& type, MountArgs args, Traits traits);
    /// Before any use: a log of the file system's own in place of ordered writing.
    void set_journal(std::unique_ptr<Journal> journal);

    // What a file system implements beside root_number and statvfs.

    /// Makes the vnode of a number that is not in the cache. Called without locks, maybe twice for
    /// one number at the same time (one result is dropped). ESTALE: free or out of range; EIO;
    /// EUCLEAN.
    virtual Result<std::unique_ptr<Vnode>> load(InodeNumber number) = 0;

    /// An epoch closes: put dirty in-core inodes, counts and superblocks into buffers, by `tx`
    /// (which never fails for lack of space here). No transaction is open; vnode locks are not
    /// held, in-core state has its own (Rank::fs_node). EIO, EUCLEAN.
    virtual Result<void> epoch_collect(Transaction& tx);
    /// The epoch is on the device: what it freed may be used again, so the maps say so now, by
    /// `tx`, which belongs to the next epoch and is ended by the caller. begin() must not be
    /// called.
    virtual void epoch_committed(Transaction& tx);

    /// Marks the file system in use (superblock state, mount count), recovers a log, takes orphans
    /// away. Called before the first write: at mount, or at remount to read/write. Failure: why it
    /// cannot be written (EROFS).
    virtual FailureOr<void> begin_writing() { return {}; }
    /// Marks it clean. Called after the last commit, at unmount or remount to read-only, unless
    /// tainted. Returns EIO.
    virtual Result<void> end_writing() { return {}; }
    /// Last words before the destructor, vnodes are gone. For memory of the file system's own.
    virtual void quiesce() {}

private:
    friend class Kernel;
    friend class Epoch;

    // constant after construction
    Kernel& kernel_;
    const FileSystemType& type_;
    MountOptions options_;
    const Traits traits_;
    std::unique_ptr<host::BlockDevice> device_;
    std::unique_ptr<BufferCache> buffers_;
    std::unique_ptr<VnodeCache> vnodes_;
    std::unique_ptr<NameCache> names_;
    std::unique_ptr<DirHashPool> dirhashes_;
    std::unique_ptr<Epoch> epoch_;

    // self-synchronized
    std::atomic<bool> read_only_;
    std::atomic<bool> tainted_{false};
    std::atomic<bool> dead_{false}; // force-unmounted or panicked

    std::atomic<uint32_t> reports_{0}; // of corruption; a bad image must not flood the log

    host::Mutex state_mutex_{host::Rank::mount_state}; // remount, unmount
    host::Mutex rename_mutex_{host::Rank::rename};

    struct Enrolments; // of the counters of the caches
    std::unique_ptr<Enrolments> enrolments_;

    FailureOr<void> start_writing() REQUIRES(state_mutex_);
    Result<void> stop_writing() REQUIRES(state_mutex_);
    void report(std::string_view place, std::string_view what);
};

} // namespace rump
