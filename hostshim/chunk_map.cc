// Sparse memory by chunk number.
#include "hostshim/chunk_map.h"

#include <algorithm>
#include <cstdlib>
#include <new>

namespace rump::host {

void ChunkMap::Free::operator()(void* memory) const { std::free(memory); }

ChunkMap::ChunkMap(uint64_t device_size, uint32_t chunk_size)
    : chunk_size_(chunk_size), top_entries_(device_size / (uint64_t{chunk_size} * leaf_chunks) + 1),
      top_(
          static_cast<std::atomic<Leaf*>*>(std::calloc(top_entries_, sizeof(std::atomic<Leaf*>)))) {
    if (!top_) throw std::bad_alloc();
}

ChunkMap::~ChunkMap() {
    // By the list of leaves, not the top table: that may be huge and untouched.
    Leaf* leaf = leaves_.load(std::memory_order_acquire);
    while (leaf) {
        for (auto& chunk : leaf->chunks) std::free(chunk.load(std::memory_order_relaxed));
        Leaf* next = leaf->next;
        std::free(leaf);
        leaf = next;
    }
}

Result<ChunkMap::Leaf*> ChunkMap::leaf_of(uint64_t chunk) {
    std::atomic<Leaf*>& slot = top_[chunk / leaf_chunks];
    Leaf* found = slot.load(std::memory_order_acquire);
    if (found) return found;
    auto* made = static_cast<Leaf*>(std::calloc(1, sizeof(Leaf)));
    if (!made) return Errno::nomem;
    if (!slot.compare_exchange_strong(found, made, std::memory_order_acq_rel)) {
        std::free(made);
        return found;
    }
    made->next = leaves_.load(std::memory_order_relaxed);
    while (!leaves_.compare_exchange_weak(made->next, made, std::memory_order_acq_rel)) {
    }
    return made;
}

Result<std::byte*> ChunkMap::find_or_insert(uint64_t chunk,
                                            FunctionRef<Result<void>(std::span<std::byte>)> fill) {
    Leaf* leaf = TRY(leaf_of(chunk));
    std::atomic<std::byte*>& slot = leaf->chunks[chunk % leaf_chunks];
    std::byte* found = slot.load(std::memory_order_acquire);
    if (found) return found;
    std::unique_ptr<std::byte[], Free> made(static_cast<std::byte*>(std::malloc(chunk_size_)));
    if (!made) return Errno::nomem;
    TRY(fill({made.get(), chunk_size_}));
    if (!slot.compare_exchange_strong(found, made.get(), std::memory_order_acq_rel)) return found;
    return made.release();
}

uint64_t ChunkMap::missing_run(uint64_t chunk, uint64_t limit) const {
    uint64_t run = 0;
    while (run < limit) {
        uint64_t at = chunk + run;
        const Leaf* leaf = top_[at / leaf_chunks].load(std::memory_order_acquire);
        if (!leaf) {
            run += leaf_chunks - at % leaf_chunks;
            continue;
        }
        if (leaf->chunks[at % leaf_chunks].load(std::memory_order_acquire)) break;
        ++run;
    }
    return std::min(run, limit);
}

} // namespace rump::host
