// Node: a file or directory in core. FAT has no inodes: what one would hold stands in the directory
// entry, which a node keeps a copy of and a commit brings up to date.
#pragma once

#include "kernel/fs/msdosfs/alloc.h"
#include "kernel/fs/msdosfs/bmap.h"
#include "kernel/fs/msdosfs/format.h"
#include "kernel/sys/vnode.h"
#include "kernel/vfs/dirhash.h"

#include <atomic>
#include <memory>
#include <string>

namespace rump::msdosfs {

struct Volume;

inline constexpr uint64_t file_size_max = UINT32_MAX;

/// First cluster as an entry has it; 0: none. The upper half counts on FAT32 only.
uint32_t first_cluster_of(const disk::DirEntry& entry, const Geometry& geometry);
void set_first_cluster(disk::DirEntry& entry, std::optional<Cluster> first,
                       const Geometry& geometry);
/// Time stamps of an entry, all three set to `now`.
void stamp_new_entry(disk::DirEntry& entry, Timespec now, int utc_offset_minutes);
void stamp_written(disk::DirEntry& entry, Timespec when, int utc_offset_minutes);
void stamp_accessed(disk::DirEntry& entry, Timespec when, int utc_offset_minutes);
void stamp_created(disk::DirEntry& entry, Timespec when, int utc_offset_minutes);
/// Tells files apart that had one place one after the other, across mounts.
uint32_t generation_of(const disk::DirEntry& entry);

class Node : public std::enable_shared_from_this<Node> {
public:
    /// `position`: of the entry on the device; 0 for the root, whose `entry` is made up.
    Node(Volume& volume, InodeNumber number, uint64_t position, const disk::DirEntry& entry);

    Volume& volume() const { return volume_; }
    InodeNumber number() const { return number_; }
    bool is_directory() const { return directory_; }
    bool is_root() const { return position_of_root_; }

    bool dirty() const { return dirty_.load(std::memory_order_acquire); }
    bool unlinked() const { return unlinked_.load(std::memory_order_acquire); }

    Attr attr();
    uint64_t size();
    disk::DirEntry entry();
    uint64_t position();

    /// Changes the copy of the entry, to be written by the next commit. Within a transaction.
    void change(FunctionRef<void(disk::DirEntry&)> edit);
    /// The entry moved to another place. Within a transaction, which undoes it when it fails.
    void move_to(Transaction& tx, uint64_t position);
    /// The entry is gone: nothing is written any more, the clusters go with release_clusters().
    void set_unlinked(Transaction& tx);
    /// Puts the entry, and what the file was cut by, on its way to the device. EIO, EUCLEAN.
    Result<void> collect(Transaction& tx);
    /// Hands the clusters of an unlinked file over to be freed.
    void release_clusters();

    // --- file data (file.cc) --------------------------------------------------------------------

    Result<void> map(uint64_t offset, uint64_t length, ExtentList& out);
    /// As Vnode::prepare_write.
    Result<void> prepare_write(Transaction& tx, uint64_t offset, uint64_t length, ExtentList& out);
    void finish_write(uint64_t end, Timespec now);
    /// Zeros up to `size`, in transactions of its own; all or nothing. ENOSPC, EIO, EUCLEAN.
    Result<void> extend(uint64_t size);
    /// Within a transaction.
    void shrink(uint64_t size);

    // --- directories (file.cc, dir.h) -----------------------------------------------------------

    /// The place of byte `offset` of a directory on the device; none: the directory ends before it.
    /// EIO, EUCLEAN (logged).
    Result<std::optional<uint64_t>> directory_position(uint64_t offset);
    /// One more cluster of zeros. ENOSPC (also at the format's limit), EIO, EUCLEAN.
    Result<void> grow_directory(Transaction& tx);
    /// The first cluster of a directory as ".." of its children names it: 0 for a root.
    uint32_t dotdot_cluster();

    /// Memory of names, guarded by mutex().
    DirHashPool::Handle& names() { return names_; }
    host::Mutex& mutex() { return mutex_; }
    /// In directories: the first slot that was never used, when known. Guarded by the vnode's lock,
    /// exclusive for changes (and atomic, because readers find it, too).
    std::atomic<uint32_t> end_slot{UINT32_MAX};

    /// "file inode 12", for messages.
    std::string label() const;

private:
    Errno chain_broken(uint32_t at, const char* why, Errno error);
    Result<std::optional<Chain::Found>> find(uint32_t index) REQUIRES(mutex_);
    Result<uint32_t> chain_length() REQUIRES(mutex_);
    Result<uint32_t> allocate(Transaction& tx, uint32_t clusters) REQUIRES(mutex_);
    Result<void> zero_clusters(uint32_t from, uint32_t to) REQUIRES(mutex_);
    Result<void> cut_tail() REQUIRES(mutex_);
    Result<void> add_to_numbers() REQUIRES(mutex_);
    void set_dirty() REQUIRES(mutex_);

    // constant after construction
    Volume& volume_;
    const InodeNumber number_;
    const bool directory_;
    const bool position_of_root_;
    const bool fixed_root_; // of FAT12 and FAT16: no chain

    // self-synchronized
    std::atomic<bool> dirty_{false};
    std::atomic<bool> unlinked_{false};

    host::Mutex mutex_{host::Rank::fs_node};
    uint64_t position_ GUARDED_BY(mutex_);
    disk::DirEntry entry_ GUARDED_BY(mutex_);
    uint64_t size_ GUARDED_BY(mutex_) = 0; // of a file
    Chain chain_ GUARDED_BY(mutex_);
    bool cut_ GUARDED_BY(mutex_) = false;         // the chain may be longer than the size wants
    uint64_t unlinked_in_ GUARDED_BY(mutex_) = 0; // epoch
    uint32_t units_known_ GUARDED_BY(mutex_) = 0; // clusters that DirentNumbers knows
    Reservation reservation_;
    DirHashPool::Handle names_;
};

} // namespace rump::msdosfs
