// Directory hash: an in-memory index of one big directory whose format has none (or whose own index
// is slow to keep): hash of a name -> byte offset of its entry, and where there is room for a new
// one. After NetBSD's and FreeBSD's ufs_dirhash(9) in purpose; formats tell it what they add, move
// and remove. What it answers are candidates: the caller compares the name on disk.
#pragma once

#include "kernel/kern/counters.h"

#include "hostshim/function_ref.h"
#include "hostshim/lock.h"

#include <cstdint>
#include <list>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

namespace rump {

class DirHashPool;

/// Guarded by its directory's vnode lock: exclusive for changes, shared for find.
class DirHash {
public:
    ~DirHash();
    /// Hash of the bytes as they are; formats that fold case hash the folded name.
    static uint32_t hash(std::string_view name);

    void add(uint32_t hash, uint32_t offset);
    void remove(uint32_t hash, uint32_t offset);
    void move(uint32_t hash, uint32_t from, uint32_t to);
    /// Calls `candidate` with the offset of each entry that has this hash, until it returns true.
    bool find(uint32_t hash, FunctionRef<bool(uint32_t offset)> candidate) const;

    /// Free bytes of directory block `block`: the largest room for one entry.
    void set_room(uint32_t block, uint32_t bytes);
    uint32_t room(uint32_t block) const;
    /// The first block with at least `bytes` of room.
    std::optional<uint32_t> find_room(uint32_t bytes) const;
    /// Blocks from `blocks` on are gone.
    void truncate(uint32_t blocks);
    size_t memory() const;

private:
    friend class DirHashPool;
    explicit DirHash(DirHashPool& pool);
    void rehash(size_t slots);
    void charge();

    struct Slot {
        uint32_t hash;
        uint32_t offset; // UINT32_MAX: free; UINT32_MAX - 1: removed
    };
    DirHashPool& pool_;
    std::vector<Slot> slots_;
    size_t used_ = 0;    // live and removed
    size_t live_ = 0;
    std::vector<uint32_t> room_;
    mutable uint32_t room_hint_ = 0;
    size_t charged_ = 0;
};

/// Memory limit over all directory hashes of a mount. A directory asks for one when it is big enough
/// to deserve it and builds it by one pass; when memory is short the least recently made ones are
/// taken back (their owner finds `get()` empty and scans, or builds anew).
class DirHashPool {
public:
    explicit DirHashPool(uint64_t limit_bytes);
    ~DirHashPool();

    /// A slot in a directory's in-core inode.
    class Handle {
    public:
        Handle() = default;
        ~Handle() { drop(); }
        Handle(const Handle&) = delete;
        Handle& operator=(const Handle&) = delete;
        /// Null when there is none (any more). The owner holds its directory's lock.
        DirHash* get() const;
        void drop();

    private:
        friend class DirHashPool;
        std::shared_ptr<DirHash> hash_;
        std::atomic<bool> revoked_{false};
        DirHashPool* pool_ = nullptr;
        std::list<Handle*>::iterator position_;
    };
    /// An empty hash in `handle`; null when the limit leaves no room. Directory locked exclusively.
    DirHash* make(Handle& handle);

    Counter made, revoked; // enrolled by the mount

private:
    friend class DirHash;
    friend class Handle;
    void charge(size_t bytes, size_t before);
    const uint64_t limit_;
    std::atomic<uint64_t> bytes_{0};
    host::Mutex mutex_{host::Rank::dirhash};
    std::list<Handle*> handles_ GUARDED_BY(mutex_);
};

} // namespace rump
