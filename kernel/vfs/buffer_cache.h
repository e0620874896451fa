// Buffer cache: metadata blocks of one mount, by byte offset on its device.
//
// Blocks have any size from 512 bytes to 64 KiB; the size belongs to the address while the block is
// cached. A format whose blocks change size or place (FFS fragments, a freed directory) says
// forget() when it frees them, before anybody can allocate them anew.
//
// Clean blocks are dropped in least recently used order beyond the limit. Dirty blocks stay until a
// commit has written them; begin() of a transaction commits when they pass half of the limit.
#pragma once

#include "kernel/kern/counters.h"
#include "kernel/sys/buf.h"
#include "kernel/sys/transaction.h"

#include "hostshim/block_device.h"
#include "hostshim/lock.h"

#include <atomic>
#include <memory>
#include <vector>

namespace rump {

class BufferCache {
public:
    BufferCache(host::BlockDevice& device, uint64_t limit_bytes);
    /// No Buf is left.
    ~BufferCache();

    /// The block at `offset` (bytes), read when it is not cached; concurrent readers of one block
    /// wait for one read. A cached block that is larger is returned as it is (a directory's last
    /// fragments); a smaller one that nobody holds grows. EIO; EUCLEAN when it lies beyond the
    /// device or a smaller block stands there and is held.
    Result<Buf> read(uint64_t offset, uint32_t size);
    /// The same for a block that is allocated just now, whose contents do not matter: no read.
    /// Zeros when it was not cached, its old bytes otherwise: the caller modifies all of it under a
    /// transaction. EUCLEAN as above.
    Result<Buf> get_fresh(uint64_t offset, uint32_t size);
    /// Blocks within [offset, offset + length) are free for good (their epoch is committed): their
    /// buffers are dropped, dirty contents are not written.
    void forget(uint64_t offset, uint64_t length);
    /// Starts reading what is not cached, if that is cheap. Never fails.
    void read_ahead(uint64_t offset, uint64_t length);
    /// Drops every clean, unused block (tests; remount).
    void drop_clean();

    uint64_t dirty_bytes() const { return dirty_bytes_.load(std::memory_order_relaxed); }
    uint64_t limit_bytes() const { return limit_bytes_; }
    uint64_t cached_bytes() const { return cached_bytes_.load(std::memory_order_relaxed); }

    Counter hits, misses, evictions, writes; // enrolled by the mount

private:
    friend class Buf;
    friend class Epoch;
    friend class Transaction;
    struct Shard;

    Shard& shard_of(uint64_t offset) const;
    Result<Buf> get(uint64_t offset, uint32_t size, bool read);
    void mark_dirty(CachedBlock& block, WritePhase phase);
    static void release(CachedBlock* block);

    // constant after construction
    host::BlockDevice& device_;
    const uint64_t limit_bytes_;
    std::unique_ptr<Shard[]> shards_;

    // self-synchronized
    std::atomic<uint64_t> dirty_bytes_{0};
    std::atomic<uint64_t> cached_bytes_{0};
};

} // namespace rump
