// Volume: the file system's own state beside vnodes: geometry, allocator, dirty
// inodes, and what was freed and may not be used again yet.
//
// Without a log, writes are ordered so that a cut leaves only what fsck mends
// (soft updates' rules, by whole epochs in place of single dependencies):
//
//     epoch N:   names go, addresses are cleared        (on disk: inodes still
//     count the names) epoch N+1: the inodes' counts sink; inodes without a
//     name are cleared after each: what it freed is free in the maps, under the
//     next epoch's first transaction
//
// With a log an epoch is atomic: counts and maps are true in the epoch itself,
// and blocks that it frees stay embargoed until it is on the device.
#pragma once

#include "kernel/fs/ffs/alloc.h"
#include "kernel/fs/ffs/inode.h"

#include "kernel/sys/mount.h"
#include "kernel/vfs/buffer_cache.h"

#include <map>
#include <memory>
#include <unordered_set>
#include <vector>

namespace rump::ffs {

class Volume {
public:
    Volume(Mount& mount, const Geometry& geo);
    ~Volume();

    Mount& mount;
    const Geometry geo;
    Allocator alloc;

    /// A log makes epochs atomic. Set before writing begins.
    bool logged() const { return logged_; }
    void set_logged(uint64_t log_bytes);
    /// Bytes of a file that one transaction may give back: what it changes has room in the log,
    /// however scattered its blocks are.
    uint64_t free_step_bytes() const { return free_step_bytes_; }

    BufferCache& buffers() const { return mount.buffers(); }
    Timespec now() const;
    /// `count` fragments at `f`, which the caller has range-checked.
    Result<Buf> read(FragNumber f, uint32_t bytes) { return buffers().read(geo.bytes(f), bytes); }
    /// Bytes to the device now, durable before the inodes of this epoch: new
    /// directory and indirect blocks, fragments that moved.
    Result<void> write_early(FragNumber f, std::span<const std::byte> bytes);
    Result<void> zero_early(FragNumber f, uint32_t bytes);
    /// A directory's entries, as they are now, to another place. What gets there early is what was
    /// committed of them: an entry of this epoch may be of an inode that is not on disk yet.
    Result<void> move_entries(Transaction& tx, FragNumber from, FragNumber to, uint64_t bytes);

    /// Reads and checks an inode. ESTALE: not allocated; EUCLEAN.
    Result<InodeState> load(uint64_t number);
    /// The same for an inode without a name, maybe without a mode: what a log
    /// lists.
    Result<void> load_unlinked(Inode& inode);
    /// A place in the map of `inode` as "inode 12, block 7".
    static std::string place(const Inode& inode, uint64_t lbn);

    // --- dirty inodes
    // -------------------------------------------------------------------------------

    void mark_dirty(Inode& inode);
    void forget_dirty(Inode& inode);
    /// Everything that is dirty in core, into buffers; the open epoch's frees are
    /// sealed.
    Result<void> collect(Transaction& tx);
    /// With a log: at most so many bytes of buffers will collect() make dirty that are
    /// not yet. Any thread.
    uint64_t collect_bytes() const;
    /// The sealed epoch is on the device.
    void committed(Transaction& tx);

    // --- frees
    // --------------------------------------------------------------------------------------

    /// [f, f + frags) is not used any more once `tx` is committed.
    void free_frags(Transaction& tx, FragNumber f, uint32_t frags);
    void free_inode(Transaction& tx, uint64_t number, bool was_dir);
    /// Frees all that `inode` holds, and the inode: it has no name. Inodes whose
    /// last name is maybe still on disk wait for it.
    Result<void> reap(Inode& inode);
    bool is_doomed(uint64_t number) const;
    /// With a log: a file that is to have `size` bytes gets nearer to it in steps that
    /// a log has room for, each a transaction.
    Result<void> shrink_in_steps(Inode& inode, uint64_t size);
    /// Space that a commit would make usable.
    bool has_pending() const { return pending_.load(std::memory_order_relaxed) != 0; }
    /// Pending fragments and inodes, which statvfs counts as free.
    uint64_t pending_frags() const { return pending_frags_.load(std::memory_order_relaxed); }
    uint64_t pending_inodes() const { return pending_inodes_.load(std::memory_order_relaxed); }

    /// With a log: inodes without a name that are in use, for its list: number and
    /// mode.
    void note_unlinked(uint64_t number, uint16_t mode);
    void forget_unlinked(uint64_t number);
    std::vector<std::pair<uint64_t, uint16_t>> unlinked() const;

private:
    struct Freed {
        uint64_t start; // fragment or inode number
        uint32_t frags; // 0: an inode
        bool was_dir;
        bool operator==(const Freed&) const = default;
    };
    struct Moved {
        FragNumber from, to;
        uint64_t bytes;
    };
    Result<void> copy_moved();
    void add_freed(Transaction& tx, const Freed& freed);
    void will_change(FragNumber block, uint32_t bytes) REQUIRES(mutex_);
    void add_dirty(Inode& inode) REQUIRES(mutex_);
    Result<void> write_inode(Transaction& tx, Inode& inode);
    void stored(std::span<Inode* const> inodes);
    Result<void> reap_now(Transaction& tx, Inode& inode);
    Result<void> reap_doomed(Transaction& tx, uint64_t number);
    Result<void> apply(Transaction& tx, const Freed& freed, bool embargo);

    bool logged_ = false;
    uint64_t free_step_bytes_ = UINT64_MAX;
    std::atomic<uint64_t> pending_{0}, pending_frags_{0}, pending_inodes_{0};

    std::atomic<uint64_t> to_collect_{0}; // bytes of collecting_

    mutable host::Mutex mutex_{host::Rank::fs_node};
    std::unordered_set<uint64_t> collecting_ GUARDED_BY(mutex_); // blocks for collect()
    std::vector<Inode*> dirty_ GUARDED_BY(mutex_);
    std::vector<Inode*> deferred_ GUARDED_BY(mutex_); // sealed link counts
    std::vector<Freed> open_ GUARDED_BY(mutex_), sealed_ GUARDED_BY(mutex_);
    std::vector<Moved> moved_ GUARDED_BY(mutex_); // in the open epoch, the earliest first
    /// Waits for its last name; its state is in its buffer.
    struct Doomed {
        uint64_t number, frags;
    };
    std::vector<Doomed> doomed_open_ GUARDED_BY(mutex_), doomed_sealed_ GUARDED_BY(mutex_);
    std::unordered_set<uint64_t> doomed_ GUARDED_BY(mutex_);
    std::map<uint64_t, uint16_t> unlinked_ GUARDED_BY(mutex_);
};

} // namespace rump::ffs
