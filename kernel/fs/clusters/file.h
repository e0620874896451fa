// ClusterFile: a file or directory in core. There are no inodes: what one would hold stands in the
// directory entry, which each format keeps a copy of and a commit brings up to date. Here is what
// the formats share: its clusters, its size, its life.
#pragma once

#include "kernel/fs/clusters/bmap.h"
#include "kernel/fs/clusters/space.h"
#include "kernel/sys/vnode.h"
#include "kernel/vfs/dirhash.h"

#include <atomic>
#include <memory>
#include <string>
#include <unordered_map>

namespace rump::clusters {

/// What sets the formats apart where files grow.
struct FileFormat {
    /// Entries say how much of a file was ever written, and how large a directory is. Else what is
    /// not written is filled with zeros, and a directory is as large as its chain.
    bool stores_lengths;
    /// A file whose clusters are consecutive needs no chain in the table.
    bool runs_without_chain;
    uint64_t file_size_max;
    uint64_t directory_bytes_max;
    /// Clusters that are kept for a growing file: as many as it has, so that files written side by
    /// side get runs that double, up to this many bytes.
    uint64_t reserve_bytes_max;
    /// What one transaction of a growing file allocates, and fills where that is needed.
    uint64_t extend_bytes;
};

/// A change of an entry's attributes and stamps.
struct EntryChange {
    std::optional<uint16_t> attributes; // all of them
    std::optional<bool> read_only;
    bool archive = false; // is set: the file differs from its last backup
    std::optional<Timespec> written, accessed, created;
};

/// Attribute bits (FAT specification, 6; exFAT specification, 7.4.4).
inline constexpr uint16_t attribute_read_only = 0x01;
inline constexpr uint16_t attribute_hidden = 0x02;
inline constexpr uint16_t attribute_system = 0x04;
inline constexpr uint16_t attribute_directory = 0x10;
inline constexpr uint16_t attribute_archive = 0x20;

class ClusterFile : public std::enable_shared_from_this<ClusterFile> {
public:
    virtual ~ClusterFile() = default;

    Space& space() const { return space_; }
    const FileFormat& format() const { return format_; }
    InodeNumber number() const { return number_; }
    bool is_directory() const { return directory_; }
    bool is_root() const { return root_; }
    bool dirty() const { return dirty_.load(std::memory_order_acquire); }
    bool unlinked() const { return unlinked_.load(std::memory_order_acquire); }
    /// "file inode 12", for messages.
    std::string label() const;

    virtual Attr attr() = 0;
    virtual uint16_t attributes() = 0;
    /// Of the entry on the device; 0 for the root.
    uint64_t position();
    uint64_t size();

    /// Changes the copy of the entry, to be written by the next commit. Within a transaction.
    void change(const EntryChange& change);
    /// The entry is gone: nothing is written any more, the clusters go with release_clusters().
    void set_unlinked(Transaction& tx);
    /// Puts the entry on its way to the device, and hands over what the file was cut by. EIO,
    /// EUCLEAN.
    Result<void> collect(Transaction& tx);
    /// The entry will be on the device: the file may be let go, and read again, the next moment.
    void set_collected() { dirty_.store(false, std::memory_order_release); }
    /// Hands the clusters of an unlinked file over to be freed. Of a damaged chain none: a check
    /// knows better whose they are. EIO.
    Result<void> release_clusters();

    // --- file data ------------------------------------------------------------------------------

    Result<void> map(uint64_t offset, uint64_t length, ExtentList& out);
    /// As Vnode::overwritable: no other name shares the clusters, and the archive bit is set.
    bool overwritable();
    /// As Vnode::prepare_write. EAGAIN: the epoch wants another order, commit it.
    Result<void> prepare_write(Transaction& tx, uint64_t offset, uint64_t length, ExtentList& out);
    void finish_write(uint64_t end, Timespec now);
    /// Before a change of what is in the first `keep` bytes, of which a copy is made when another
    /// name shares the clusters; of the others, the file has no clusters then. In transactions of
    /// its own. ENOSPC, EIO, EUCLEAN.
    Result<void> own_clusters(uint64_t keep);
    /// Allocates up to `size`, in transactions of its own; all or nothing. What was never written
    /// reads as zeros. ENOSPC, EFBIG, EIO, EUCLEAN.
    Result<void> extend(uint64_t size);
    /// Within a transaction.
    void shrink(uint64_t size);

    // --- directories ----------------------------------------------------------------------------

    /// The place of byte `offset` of a directory on the device; none: the directory ends before it.
    /// EIO, EUCLEAN (logged).
    virtual Result<std::optional<uint64_t>> directory_position(uint64_t offset);
    /// One more cluster of zeros. ENOSPC (also at the format's limit), EIO, EUCLEAN, EAGAIN.
    virtual Result<void> grow_directory(Transaction& tx);
    /// Memory of names, guarded by mutex().
    DirHashPool::Handle& names() { return names_; }
    host::Mutex& mutex() { return mutex_; }
    /// In directories: names that went in epoch `gone_in`, by hash, and the sectors that they stood
    /// in. Changed under the vnode's exclusive lock.
    std::unordered_multimap<uint32_t, uint64_t> gone;
    uint64_t gone_in = 0;
    /// In directories: the first slot that was never used, when known. Changed under the vnode's
    /// exclusive lock; atomic, because readers find it, too.
    std::atomic<uint32_t> end_slot{UINT32_MAX};

protected:
    ClusterFile(Space& space, const FileFormat& format, InodeNumber number, bool directory,
                bool root);

    virtual uint64_t position_locked() const REQUIRES(mutex_) = 0;
    virtual void edit(const EntryChange& change) REQUIRES(mutex_) = 0;
    /// Writes the entry into its sector.
    virtual Result<void> store(Transaction& tx) REQUIRES(mutex_) = 0;

    Errno chain_broken(uint32_t at, const char* why, Errno error);
    Result<uint32_t> chain_length() REQUIRES(mutex_);
    void set_dirty() REQUIRES(mutex_);

    // constant after construction
    Space& space_;
    const FileFormat& format_;
    const InodeNumber number_;
    const bool directory_;
    const bool root_;

    host::Mutex mutex_{host::Rank::fs_node};
    uint64_t size_ GUARDED_BY(mutex_) = 0;  // of files, and of directories where that is stored
    uint64_t valid_ GUARDED_BY(mutex_) = 0; // bytes that were written; zeros follow
    Chain chain_ GUARDED_BY(mutex_);
    bool cut_ GUARDED_BY(mutex_) = false; // the file may have more clusters than its size wants

private:
    Result<void> check_first() REQUIRES(mutex_);
    Result<std::optional<Chain::Found>> find(uint32_t index) REQUIRES(mutex_);
    Result<uint32_t> allocate(Transaction& tx, uint32_t clusters) REQUIRES(mutex_);
    Result<std::vector<ClusterRun>> take(Transaction& tx, std::optional<Cluster> last,
                                         uint32_t count) REQUIRES(mutex_);
    Result<void> link(Transaction& tx, Cluster last, ChainTable::Runs next) REQUIRES(mutex_);
    Result<void> extend_to(uint64_t size);
    Result<void> copy_clusters(Chain& to, uint32_t clusters, uint64_t valid);
    Result<void> zero_range(uint64_t from, uint64_t to) REQUIRES(mutex_);
    Result<void> cut_tail() REQUIRES(mutex_);
    Result<void> add_to_numbers() REQUIRES(mutex_);
    bool has_chain() const REQUIRES(mutex_) {
        return !format_.runs_without_chain || !chain_.contiguous();
    }

    // self-synchronized
    std::atomic<bool> dirty_{false};
    std::atomic<bool> unlinked_{false};

    uint64_t unlinked_in_ GUARDED_BY(mutex_) = 0; // epoch
    /// The epoch that wanted the opposite order of what growing asked for.
    uint64_t disordered_in_ GUARDED_BY(mutex_) = 0;
    uint32_t units_known_ GUARDED_BY(mutex_) = 0; // clusters that DirentNumbers knows
    Reservation reservation_;
    DirHashPool::Handle names_;
};

} // namespace rump::clusters
