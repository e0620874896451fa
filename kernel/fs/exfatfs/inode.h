// Node: a file or directory in core. exFAT has no inodes: what one would hold stands in the first
// two entries of the directory entry set, which a node keeps copies of and a commit brings up to
// date.
#pragma once

#include "kernel/fs/exfatfs/alloc.h"
#include "kernel/fs/exfatfs/bmap.h"
#include "kernel/fs/exfatfs/format.h"
#include "kernel/sys/vnode.h"
#include "kernel/vfs/dirhash.h"

#include <atomic>
#include <memory>
#include <string>
#include <vector>

namespace rump::exfatfs {

struct Volume;

inline constexpr uint64_t file_size_max = INT64_MAX;

/// Time stamps of an entry.
void stamp_written(disk::FileEntry& entry, Timespec when, int utc_offset_minutes);
void stamp_accessed(disk::FileEntry& entry, Timespec when, int utc_offset_minutes);
void stamp_created(disk::FileEntry& entry, Timespec when, int utc_offset_minutes);
void stamp_new_entry(disk::FileEntry& entry, Timespec now, int utc_offset_minutes);
/// Tells files apart that had one place one after the other, across mounts.
uint32_t generation_of(const disk::FileEntry& entry);

/// Adds entries to the checksum of a set, in order; the first is the primary one, whose own field
/// does not count (specification, 6.3.3).
class SetChecksum {
public:
    void add(std::span<const std::byte> entry);
    uint16_t value() const { return static_cast<uint16_t>(sum_); }

private:
    unsigned sum_ = 0;
    bool primary_ = true;
};

/// The first two entries of a set.
struct SetHead {
    disk::FileEntry file{};
    disk::StreamEntry stream{};
};

/// Where the entries of a set are on the device: it may cross from one cluster to another.
struct SetPart {
    uint64_t position; // bytes
    uint32_t entries;
};
using SetPlace = std::vector<SetPart>;

class Node : public std::enable_shared_from_this<Node> {
public:
    /// `place` is empty for the root, whose `head` is made up.
    Node(Volume& volume, InodeNumber number, SetPlace place, const SetHead& head);

    Volume& volume() const { return volume_; }
    InodeNumber number() const { return number_; }
    bool is_directory() const { return directory_; }
    bool is_root() const { return root_; }
    bool dirty() const { return dirty_.load(std::memory_order_acquire); }
    bool unlinked() const { return unlinked_.load(std::memory_order_acquire); }

    Attr attr();
    uint64_t size();
    /// As they will be written by the next commit.
    SetHead head();
    /// Of the primary entry; 0 for the root.
    uint64_t position();

    /// Changes the copy of the entry, to be written by the next commit. Within a transaction.
    void change(FunctionRef<void(disk::FileEntry&)> edit);
    /// The set is at another place. Within a transaction, which undoes it when it fails.
    void move_to(Transaction& tx, SetPlace place);
    /// The set is gone: nothing is written any more, the clusters go with release_clusters().
    void set_unlinked(Transaction& tx);
    /// Puts the entries, and what the file was cut by, on their way to the device. EIO, EUCLEAN.
    Result<void> collect(Transaction& tx);
    /// Hands the clusters of an unlinked file over to be freed. EIO, EUCLEAN.
    Result<void> release_clusters();

    // --- file data (file.cc) --------------------------------------------------------------------

    Result<void> map(uint64_t offset, uint64_t length, ExtentList& out);
    /// As Vnode::prepare_write.
    Result<void> prepare_write(Transaction& tx, uint64_t offset, uint64_t length, ExtentList& out);
    void finish_write(uint64_t end, Timespec now);
    /// Allocates up to `size`, in transactions of its own; all or nothing. What was never written
    /// reads as zeros. ENOSPC, EIO, EUCLEAN.
    Result<void> extend(uint64_t size);
    /// Within a transaction.
    void shrink(uint64_t size);

    // --- directories (file.cc, dir.h) -----------------------------------------------------------

    /// The place of byte `offset` of a directory on the device; none: the directory ends before it.
    /// EIO, EUCLEAN (logged).
    Result<std::optional<uint64_t>> directory_position(uint64_t offset);
    /// The offset in this directory of a place on the device. ESTALE: not in it; EIO, EUCLEAN.
    Result<uint64_t> directory_offset(uint64_t position);
    /// One more cluster of zeros. ENOSPC (also at the format's limit), EIO, EUCLEAN.
    Result<void> grow_directory(Transaction& tx);

    /// Memory of names, guarded by mutex().
    DirHashPool::Handle& names() { return names_; }
    host::Mutex& mutex() { return mutex_; }
    /// In directories: the first slot that was never used, when known. Changed under the vnode's
    /// exclusive lock; atomic, because readers find it, too.
    std::atomic<uint32_t> end_slot{UINT32_MAX};

    /// "file inode 12", for messages.
    std::string label() const;

private:
    Errno chain_broken(uint32_t at, const char* why, Errno error);
    Result<std::optional<Chain::Found>> find(uint32_t index) REQUIRES(mutex_);
    Result<uint32_t> chain_length() REQUIRES(mutex_);
    Result<uint32_t> allocate(Transaction& tx, uint32_t clusters) REQUIRES(mutex_);
    Result<void> zero_range(uint64_t from, uint64_t to) REQUIRES(mutex_);
    Result<void> cut_tail() REQUIRES(mutex_);
    Result<void> add_to_numbers() REQUIRES(mutex_);
    void set_dirty() REQUIRES(mutex_);
    void update_head() REQUIRES(mutex_);

    // constant after construction
    Volume& volume_;
    const InodeNumber number_;
    const bool directory_;
    const bool root_;

    // self-synchronized
    std::atomic<bool> dirty_{false};
    std::atomic<bool> unlinked_{false};

    host::Mutex mutex_{host::Rank::fs_node};
    SetPlace place_ GUARDED_BY(mutex_);
    SetHead head_ GUARDED_BY(mutex_);
    uint64_t size_ GUARDED_BY(mutex_) = 0;  // of a root: not used
    uint64_t valid_ GUARDED_BY(mutex_) = 0; // bytes that were written; zeros follow
    Chain chain_ GUARDED_BY(mutex_);
    bool cut_ GUARDED_BY(mutex_) = false; // the file may have more clusters than its size wants
    uint64_t unlinked_in_ GUARDED_BY(mutex_) = 0; // epoch
    uint32_t units_known_ GUARDED_BY(mutex_) = 0; // clusters that DirentNumbers knows
    Reservation reservation_;
    DirHashPool::Handle names_;
};

} // namespace rump::exfatfs
