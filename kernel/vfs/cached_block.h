// The inside of the buffer cache, shared by buffer_cache.cc, transaction.cc and epoch.cc only.
//
// References: one by the hash while the block is in it, one by each Buf, one by a commit that
// writes it. Whoever drops the last one frees it; only a block whose single reference is the hash's
// is evicted, and new references come from the hash (under its shard's mutex) or from an existing
// Buf.
#pragma once

#include "hostshim/clock_hash.h"
#include "kernel/vfs/buffer_cache.h"

#include <atomic>
#include <cstdlib>

namespace rump {

struct CachedBlock {
    CachedBlock(BufferCache& cache, uint64_t offset, uint32_t size)
        : cache(&cache), offset(offset), size(size) {}
    ~CachedBlock() { std::free(data); }
    CachedBlock(const CachedBlock&) = delete;
    CachedBlock& operator=(const CachedBlock&) = delete;

    BufferCache* const cache;
    const uint64_t offset;
    const uint32_t size;
    std::byte* data = nullptr; // size bytes; contents: see sys/buf.h
    std::atomic<uint32_t> references{1};
    std::atomic<bool> dirty{false}; // set under the shard's mutex
    std::atomic<uint8_t> phase{0};  // WritePhase, of a dirty block; set under the shard's mutex
    bool hashed = false;            // the rest: guarded by the shard's mutex
    bool reading = false;
    bool accessed = true;
    host::ClockLinks<CachedBlock> links;
};

struct BufferCache::Shard {
    host::Mutex mutex{host::Rank::buffer_cache};
    host::CondVar read_done;
    struct Member {
        static host::ClockLinks<CachedBlock>& links(CachedBlock& block) { return block.links; }
        static uint64_t key(const CachedBlock& block) { return block.offset; }
    };
    host::ClockHash<CachedBlock, Member> blocks GUARDED_BY(mutex);
    std::vector<CachedBlock*> dirty GUARDED_BY(mutex); // may hold blocks that are clean again
    /// Memory of the last block that was evicted, for the next one: given back to the heap, a full
    /// cache would leave it in holes between what lives longer, and grow.
    std::byte* spare GUARDED_BY(mutex) = nullptr;
    uint32_t spare_size GUARDED_BY(mutex) = 0;

    ~Shard() { std::free(spare); }
    /// Memory of `size` bytes; null: there is none.
    std::byte* take_memory(uint32_t size) REQUIRES(mutex);
    void insert(CachedBlock& block) REQUIRES(mutex);
    /// Drops the hash's reference.
    void remove(CachedBlock& block) REQUIRES(mutex);
    /// Reads a block from the device, without the mutex when others can see the block already.
    Result<void> fill(BufferCache& cache, CachedBlock& block)
        REQUIRES(mutex) NO_THREAD_SAFETY_ANALYSIS;
    /// A block of `size` in place of `smaller`, which nobody holds, with its contents and
    /// dirtiness.
    Result<void> replace(BufferCache& cache, CachedBlock& smaller, CachedBlock& block)
        REQUIRES(mutex);
    /// Out of the cache, with its dirtiness.
    void drop(BufferCache& cache, CachedBlock& block) REQUIRES(mutex);
    /// Evicts while the cache is over its limit. A clock over the shard's blocks, few steps each
    /// time, so that a shard full of dirty blocks does not make every miss slow.
    void shrink(BufferCache& cache) REQUIRES(mutex);
};

inline constexpr size_t buffer_shards = 8;

} // namespace rump
