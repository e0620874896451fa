// Allocation of blocks and inodes: "Block Bitmap", "Inode Bitmap" of The Second Extended File
// System.
//
// A group has a lock, counts, and hints below which nothing is free, so that no search starts at
// bit zero. Files that grow in sequence get a window: the free blocks behind what they have, which
// others pass over as long as there are others; it lives in memory only.
//
// Freed blocks and inodes wait on a list until the epoch that freed them is on the device; their
// bits are cleared then (see sys/transaction.h).
#pragma once

#include "kernel/fs/ext2fs/volume.h"

#include "hostshim/lock.h"

#include <atomic>
#include <memory>

namespace rump::ext2 {

class Allocator;

/// Blocks that are promised: as many will be found. What is not used goes back.
class Claim {
public:
    Claim(Claim&& other) noexcept : owner_(other.owner_), left_(std::exchange(other.left_, 0u)) {}
    Claim& operator=(Claim&&) = delete;
    ~Claim();
    uint32_t left() const { return left_; }

private:
    friend class Allocator;
    Claim(Allocator& owner, uint32_t blocks) : owner_(&owner), left_(blocks) {}
    Allocator* owner_;
    uint32_t left_;
};

/// What an allocation would like.
struct BlockWish {
    uint32_t owner = 0; // inode, for its window
    BlockNumber goal{};
    uint32_t count = 1;
    bool sequential = false; // the file grows: keep a window behind it
};

class Allocator {
public:
    Allocator(Volume& volume, uint32_t reserved_blocks, bool was_clean);

    /// From the descriptor, while the mount is made.
    void set_counts(GroupNumber group, const disk::GroupDescriptor& d);
    /// After the last group.
    void finish_loading();

    // --- blocks ---------------------------------------------------------------------------------

    /// Up to `want`, at least `least` blocks. ENOSPC. `privileged`: reserved ones, too.
    Result<Claim> claim(uint32_t want, uint32_t least, bool privileged);
    /// One run of 1 to wish.count blocks, taken from the claim. EIO, EUCLEAN.
    Result<BlockRun> allocate(Transaction& tx, Claim& claim, const BlockWish& wish);
    /// What an operation has freed; called when it can fail no more, before its tx.done().
    void release(FreeList&& list);

    /// Blocks and inodes that will be released later count as free already, to those who ask.
    void expect(const FreeList& list, uint64_t inodes);
    void unexpect(const FreeList& list, uint64_t inodes);

    // --- inodes ---------------------------------------------------------------------------------

    /// `parent`: directory that gets the entry. `spread`: a directory that should lie far from
    /// others. ENOSPC, EIO, EUCLEAN.
    Result<InodeNumber> allocate_inode(Transaction& tx, InodeNumber parent, bool directory,
                                       bool spread);
    void release_inode(InodeNumber number, bool directory);

    // --- commits --------------------------------------------------------------------------------

    /// Puts changed counts into descriptors. EIO.
    Result<void> collect(Transaction& tx);
    /// The epoch of the last collect() is on the device: clears the bits of what it freed.
    void committed(Transaction& tx);
    /// Something waits for a commit before it can be used.
    bool has_pending() const {
        return pending_blocks_.load(std::memory_order_relaxed) != 0 ||
               pending_inodes_.load(std::memory_order_relaxed) != 0;
    }

    uint64_t free_blocks() const; // with those that wait
    uint64_t free_inodes() const;
    /// What the superblock says: as the maps have it.
    uint32_t mapped_free_blocks() const;
    uint32_t mapped_free_inodes() const;
    uint32_t reserved_blocks() const { return reserved_blocks_; }
    Result<uint64_t> trim(uint64_t offset, uint64_t length, uint64_t minimum);

private:
    friend class Claim;
    /// Free blocks [first, last) of the group that are meant for `owner`.
    struct Window {
        uint32_t owner;
        uint32_t first;
        uint32_t last;
    };
    struct Group {
        host::Mutex lock{host::Rank::fs_group};
        // changed under the lock, read without
        std::atomic<uint32_t> free_blocks{0};
        std::atomic<uint32_t> free_inodes{0};
        std::atomic<uint32_t> directories{0};
        std::atomic<bool> dirty{false}; // counts
        std::atomic<bool> bad{false};   // nothing is allocated here
        // guarded by the lock
        uint32_t block_hint = 0;
        uint32_t inode_hint = 0;
        bool blocks_checked = false;
        bool inodes_checked = false;
        std::vector<Window> windows;
    };
    struct Span {
        uint32_t first = 0;
        uint32_t count = 0;
    };
    struct Pending {
        std::vector<FreeList::Run> runs;
        std::vector<std::pair<InodeNumber, bool>> inodes; // number, was a directory
    };

    uint32_t taken_from(GroupNumber group);
    void unclaim(uint32_t blocks) { unclaimed_.fetch_add(blocks, std::memory_order_relaxed); }
    void give_up(Group& group, uint32_t number);

    Result<Buf> block_bitmap(Group& group, uint32_t number) REQUIRES(group.lock);
    Result<Buf> inode_bitmap(Group& group, uint32_t number) REQUIRES(group.lock);
    Result<BlockRun> allocate_in(Transaction& tx, uint32_t number, const BlockWish& wish,
                                 uint32_t least, bool ignore_windows);
    Span find_span(const Group& group, std::span<const std::byte> map, uint32_t limit,
                   uint32_t from, const BlockWish& wish, bool ignore_windows) const
        REQUIRES(group.lock);
    Span span_at(const Group& group, std::span<const std::byte> map, uint32_t limit, uint32_t from,
                 uint32_t want, uint32_t owner, bool ignore_windows) const REQUIRES(group.lock);
    void move_window(Group& group, std::span<const std::byte> map, uint32_t limit, Span taken,
                     const BlockWish& wish) REQUIRES(group.lock);
    void clear_blocks(Transaction& tx, const FreeList::Run& run);
    void clear_inode(Transaction& tx, InodeNumber number, bool directory);

    uint32_t directory_group(InodeNumber parent, bool spread) const;
    std::optional<uint32_t> file_group(uint32_t parent_group) const;
    Result<std::optional<InodeNumber>> allocate_inode_in(Transaction& tx, uint32_t number,
                                                         bool directory);

    // constant after construction
    Volume& volume_;
    const uint32_t reserved_blocks_;
    const bool was_clean_;
    std::unique_ptr<Group[]> groups_;

    // self-synchronized
    std::atomic<int64_t> unclaimed_{0}; // free blocks that nobody has claimed
    std::atomic<int64_t> inodes_left_{0};
    std::atomic<uint64_t> pending_blocks_{0};
    std::atomic<uint64_t> pending_inodes_{0};

    host::Mutex pending_lock_{host::Rank::fs_mount};
    Pending open_ GUARDED_BY(pending_lock_);       // of the open epoch
    Pending committing_ GUARDED_BY(pending_lock_); // of the one that is being written
};

} // namespace rump::ext2
