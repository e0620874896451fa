// Directory hash: an in-memory index of one big directory whose format has none (or whose own index
// is slow to keep): hash of a name -> byte offset of its entry, and where there is room for a new
// one. After NetBSD's and FreeBSD's ufs_dirhash(9) in purpose; formats tell it what they add, move
// and remove. What it answers are candidates: the caller compares the name on disk.
#pragma once

#include "kernel/kern/counters.h"

#include "hostshim/function_ref.h"
#include "hostshim/lock.h"

#include <atomic>
#include <cstdint>
#include <list>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

namespace rump {

class DirHashPool;

/// Guarded by its directory's vnode lock: exclusive for changes, shared for find.
class DirHash {
public:
    ~DirHash();
    /// Hash of the bytes as they are; formats that fold case hash the folded name.
    static uint32_t hash(std::string_view name);

    /// May take this hash back for lack of memory: get() it anew before the next find().
    void add(uint32_t hash, uint32_t offset);
    void remove(uint32_t hash, uint32_t offset);
    void move(uint32_t hash, uint32_t from, uint32_t to);
    /// Calls `candidate` with the offset of each entry that has this hash, until it returns true.
    /// Also true when it did.
    bool find(uint32_t hash, FunctionRef<bool(uint32_t offset)> candidate) const;

    /// Free bytes of directory block `block`: the largest room for one entry. As add() does, it may
    /// take the hash back.
    void set_room(uint32_t block, uint32_t bytes);
    /// 0 for a block that set_room was never told of.
    uint32_t room(uint32_t block) const;
    /// The first block with at least `bytes` (not 0) of room.
    std::optional<uint32_t> find_room(uint32_t bytes) const;
    /// Blocks from `blocks` on are gone; their entries were removed before.
    void truncate(uint32_t blocks);
    size_t entries() const { return live_; }
    size_t memory() const;

private:
    friend class DirHashPool;
    DirHash(DirHashPool& pool, void* handle) : pool_(pool), handle_(handle) {}
    size_t home(uint32_t hash) const;
    size_t locate(uint32_t hash, uint32_t offset) const;
    void rehash(size_t slots);
    void grow_rooms(size_t blocks);
    void charge();
    void give_up();

    struct Slot {
        uint32_t hash;
        uint32_t offset; // or one of the two marks below
    };
    static constexpr uint32_t free_mark = UINT32_MAX;
    static constexpr uint32_t removed_mark = UINT32_MAX - 1;

    DirHashPool& pool_;
    void* const handle_;      // the pool's Handle that owns this
    std::vector<Slot> slots_; // a power of two of them, open addressing
    size_t used_ = 0;         // live and removed
    size_t live_ = 0;
    // A binary tree in an array, as heaps are: node i has the greater of its children 2i and 2i +
    // 1, the leaves are the second half.
    std::vector<uint32_t> rooms_;
    size_t charged_ = 0;
};

/// Memory limit over all directory hashes of a mount. A directory asks for one when it is big
/// enough to deserve it and builds it by one pass; when memory is short the least recently made
/// ones are taken back (their owner finds `get()` empty and scans, or builds anew).
///
///     none ──make()──> live ──drop()──> none
///                       └──revoked, no Use ──> none
///                       └──revoked, in use ──> doomed ──last Use ends──> none
class DirHashPool {
public:
    explicit DirHashPool(uint64_t limit_bytes) : limit_(limit_bytes) {}
    ~DirHashPool();

    class Handle;

    /// A directory's hash while its owner works with it; keeps it from being taken back. Ends
    /// before the directory's lock is released.
    class Use {
    public:
        Use() = default;
        Use(Use&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
        Use& operator=(Use other) noexcept {
            std::swap(handle_, other.handle_);
            return *this;
        }
        ~Use();
        explicit operator bool() const { return handle_ != nullptr; }
        DirHash* operator->() const { return handle_->hash_.get(); }
        DirHash& operator*() const { return *handle_->hash_; }

    private:
        friend class Handle;
        friend class DirHashPool;
        explicit Use(Handle* handle) : handle_(handle) {}
        Handle* handle_ = nullptr;
    };

    /// A slot in a directory's in-core inode.
    class Handle {
    public:
        Handle() = default;
        ~Handle() { drop(); }
        Handle(const Handle&) = delete;
        Handle& operator=(const Handle&) = delete;
        /// Empty when there is none (any more). The owner holds its directory's lock. Takes no
        /// lock.
        Use get();
        /// Nobody uses it: the directory is locked exclusively, or its vnode goes.
        void drop();

    private:
        friend class DirHashPool;
        friend class Use;
        static constexpr uint32_t gone = 1u << 31;
        void revoke();

        std::unique_ptr<DirHash> hash_;
        std::atomic<uint32_t> state_{gone}; // number of uses; `gone`: no new ones
        std::atomic<DirHashPool*> pool_{nullptr};
        std::list<Handle*>::iterator position_; // in the pool's list, while pool_ is set
    };

    /// An empty hash in `handle`, in place of the one that it had; an empty Use when there is no
    /// memory. Directory locked exclusively, no Use of the handle left.
    Use make(Handle& handle);
    uint64_t bytes() const { return bytes_.load(std::memory_order_relaxed); }

    Counter made, revoked; // enrolled by the mount

private:
    friend class DirHash;
    /// A hash changed its size from `before` to `now`: makes room under the limit, at the worst by
    /// giving up `self`.
    void charge(Handle& self, size_t before, size_t now);
    void revoke(Handle& handle) REQUIRES(mutex_);

    const uint64_t limit_;
    std::atomic<uint64_t> bytes_{0};
    host::Mutex mutex_{host::Rank::dirhash};
    std::list<Handle*> handles_ GUARDED_BY(mutex_); // oldest first
};

} // namespace rump
