// Buffer cache: finding, reading and evicting blocks. Dirty blocks are taken from here by a commit
// (epoch.cc).
#include "kernel/vfs/buffer_cache.h"

#include "kernel/vfs/cached_block.h"

#include <algorithm>
#include <cstring>

namespace rump {

using host::MutexGuard;

// --- Buf ----------------------------------------------------------------------------------------

Buf::Buf(const Buf& other) : block_(other.block_) {
    if (block_) block_->references.fetch_add(1, std::memory_order_relaxed);
}

uint64_t Buf::offset() const { return block_->offset; }

std::span<const std::byte> Buf::bytes() const { return {block_->data, block_->size}; }

void Buf::release() { BufferCache::release(std::exchange(block_, nullptr)); }

void BufferCache::release(CachedBlock* block) {
    if (block->references.fetch_sub(1, std::memory_order_acq_rel) == 1) delete block;
}

// --- shards -------------------------------------------------------------------------------------

void BufferCache::Shard::insert(CachedBlock& block) {
    blocks.insert(block);
    block.hashed = true;
    block.references.fetch_add(1, std::memory_order_relaxed); // the hash's own
}

void BufferCache::Shard::remove(CachedBlock& block) {
    blocks.remove(block);
    block.hashed = false;
    release(&block);
}

// --- cache --------------------------------------------------------------------------------------

BufferCache::BufferCache(host::BlockDevice& device, uint64_t limit_bytes)
    : device_(device), limit_bytes_(limit_bytes), shards_(new Shard[buffer_shards]) {}

BufferCache::~BufferCache() {
    for (size_t i = 0; i < buffer_shards; ++i) {
        Shard& shard = shards_[i];
        MutexGuard guard(shard.mutex);
        while (CachedBlock* block = shard.blocks.tick()) {
            ASSERT(block->references.load(std::memory_order_acquire) == 1);
            shard.remove(*block);
        }
    }
}

BufferCache::Shard& BufferCache::shard_of(uint64_t offset) const {
    return shards_[(offset >> 12) * 0x9e3779b97f4a7c15ull >> 61 & (buffer_shards - 1)];
}

Result<Buf> BufferCache::read(uint64_t offset, uint32_t size) { return get(offset, size, true); }

Result<Buf> BufferCache::get_fresh(uint64_t offset, uint32_t size) {
    return get(offset, size, false);
}

Result<Buf> BufferCache::get(uint64_t offset, uint32_t size, bool read) {
    if (size > device_.size() || offset > device_.size() - size) return Errno::uclean;
    Shard& shard = shard_of(offset);
    MutexGuard guard(shard.mutex);
    while (CachedBlock* block = shard.blocks.find(offset)) {
        if (block->reading) {
            shard.read_done.wait(shard.mutex);
            continue;
        }
        if (block->size < size) {
            if (block->references.load(std::memory_order_acquire) != 1) return Errno::uclean;
            break; // grows below
        }
        block->accessed = true;
        block->references.fetch_add(1, std::memory_order_relaxed);
        hits.add();
        return Buf(block);
    }
    misses.add();
    auto* block = new CachedBlock(*this, offset, size);
    Buf buf(block); // the reference that the constructor counted
    block->data = shard.take_memory(size);
    if (!block->data) return Errno::nomem;
    if (CachedBlock* smaller = shard.blocks.find(offset)) {
        TRY(shard.replace(*this, *smaller, *block));
        return buf;
    }
    shard.insert(*block);
    cached_bytes_.fetch_add(size, std::memory_order_relaxed);
    if (read)
        TRY(shard.fill(*this, *block));
    else
        std::memset(block->data, 0, size);
    shard.shrink(*this);
    return buf;
}

std::byte* BufferCache::Shard::take_memory(uint32_t size) {
    if (spare && spare_size == size) return std::exchange(spare, nullptr);
    return static_cast<std::byte*>(std::aligned_alloc(512, (size + 511u) & ~511u));
}

Result<void> BufferCache::Shard::replace(BufferCache& cache, CachedBlock& smaller,
                                         CachedBlock& block) {
    TRY(cache.device_.read(block.offset, {block.data, block.size}));
    std::memcpy(block.data, smaller.data, smaller.size);
    const bool was_dirty = smaller.dirty.load(std::memory_order_relaxed);
    block.phase.store(smaller.phase.load(std::memory_order_relaxed), std::memory_order_relaxed);
    drop(cache, smaller);
    insert(block);
    cache.cached_bytes_.fetch_add(block.size, std::memory_order_relaxed);
    if (was_dirty) {
        block.dirty.store(true, std::memory_order_relaxed);
        cache.dirty_bytes_.fetch_add(block.size, std::memory_order_relaxed);
        dirty.push_back(&block);
    }
    return {};
}

Result<void> BufferCache::Shard::fill(BufferCache& cache, CachedBlock& block) {
    block.reading = true;
    mutex.unlock();
    auto result = cache.device_.read(block.offset, {block.data, block.size});
    mutex.lock();
    block.reading = false;
    if (!result) {
        cache.cached_bytes_.fetch_sub(block.size, std::memory_order_relaxed);
        remove(block);
    }
    read_done.notify_all();
    return result;
}

void BufferCache::mark_dirty(CachedBlock& block, WritePhase phase) {
    const auto number = static_cast<uint8_t>(phase);
    if (block.dirty.load(std::memory_order_relaxed) &&
        block.phase.load(std::memory_order_relaxed) >= number)
        return;
    Shard& shard = shard_of(block.offset);
    MutexGuard guard(shard.mutex);
    if (block.dirty.load(std::memory_order_relaxed)) {
        if (block.phase.load(std::memory_order_relaxed) < number)
            block.phase.store(number, std::memory_order_relaxed);
        return;
    }
    block.phase.store(number, std::memory_order_relaxed);
    block.dirty.store(true, std::memory_order_relaxed);
    if (!block.hashed) return; // forgotten: what it says matters to nobody
    dirty_bytes_.fetch_add(block.size, std::memory_order_relaxed);
    shard.dirty.push_back(&block);
}

void BufferCache::Shard::shrink(BufferCache& cache) {
    for (int steps = 16; steps > 0 && blocks.size() > 0 &&
                         cache.cached_bytes_.load(std::memory_order_relaxed) > cache.limit_bytes_;
         --steps) {
        CachedBlock& block = *blocks.tick();
        if (block.references.load(std::memory_order_acquire) != 1 || block.reading ||
            block.dirty.load(std::memory_order_relaxed))
            continue;
        if (block.accessed) {
            block.accessed = false;
            continue;
        }
        cache.evictions.add();
        std::free(std::exchange(spare, std::exchange(block.data, nullptr)));
        spare_size = block.size;
        drop(cache, block);
    }
}

void BufferCache::forget(uint64_t offset, uint64_t length) {
    // Blocks start at multiples of 512; ranges are short (a block, an extent).
    const uint64_t end = offset + length;
    if (length / 512 > 4096) { // a long range: look at what is cached instead
        for (size_t i = 0; i < buffer_shards; ++i) {
            Shard& shard = shards_[i];
            MutexGuard guard(shard.mutex);
            shard.blocks.each([&](CachedBlock& block) NO_THREAD_SAFETY_ANALYSIS {
                if (block.offset >= offset && block.offset < end) shard.drop(*this, block);
            });
        }
        return;
    }
    for (uint64_t at = offset; at < end; at += 512) {
        Shard& shard = shard_of(at);
        MutexGuard guard(shard.mutex);
        if (CachedBlock* block = shard.blocks.find(at)) shard.drop(*this, *block);
    }
}

void BufferCache::Shard::drop(BufferCache& cache, CachedBlock& block) {
    if (block.reading) return; // by somebody who followed a stale pointer; evicted in time
    if (block.dirty.load(std::memory_order_relaxed)) {
        block.dirty.store(false, std::memory_order_relaxed);
        cache.dirty_bytes_.fetch_sub(block.size, std::memory_order_relaxed);
        std::erase(dirty, &block);
    }
    cache.cached_bytes_.fetch_sub(block.size, std::memory_order_relaxed);
    remove(block);
}

void BufferCache::read_ahead(uint64_t offset, uint64_t length) {
    device_.read_ahead(offset, length);
}

void BufferCache::drop_clean() {
    for (size_t i = 0; i < buffer_shards; ++i) {
        Shard& shard = shards_[i];
        MutexGuard guard(shard.mutex);
        shard.blocks.each([&](CachedBlock& block) NO_THREAD_SAFETY_ANALYSIS {
            if (!block.dirty.load(std::memory_order_relaxed) && !block.reading &&
                block.references.load(std::memory_order_acquire) == 1)
                shard.drop(*this, block);
        });
    }
}

} // namespace rump
