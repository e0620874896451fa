// Sparse memory by chunk number: what memory devices and overlays in memory keep their bytes in.
// Looking up is two loads, without a lock; chunks come and stay until the map goes. Private to
// hostshim.
#pragma once

#include "hostshim/function_ref.h"
#include "hostshim/result.h"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

namespace rump::host {

class ChunkMap {
public:
    /// For a device of `device_size` bytes. Throws std::bad_alloc when not even the top table fits.
    ChunkMap(uint64_t device_size, uint32_t chunk_size);
    ~ChunkMap();
    ChunkMap(const ChunkMap&) = delete;
    ChunkMap& operator=(const ChunkMap&) = delete;

    uint32_t chunk_size() const { return chunk_size_; }

    /// Null: never inserted. `chunk` is within the device.
    std::byte* find(uint64_t chunk) const {
        const Leaf* leaf = top_[chunk / leaf_chunks].load(std::memory_order_acquire);
        return leaf ? leaf->chunks[chunk % leaf_chunks].load(std::memory_order_acquire) : nullptr;
    }

    /// The chunk; when it is missing, a new one that `fill` has given its first contents. Two
    /// threads may fill one chunk at the same time; the first to finish wins. ENOMEM, errors of
    /// `fill`.
    Result<std::byte*> find_or_insert(uint64_t chunk,
                                      FunctionRef<Result<void>(std::span<std::byte>)> fill);

    /// How many chunks from `chunk` on are surely missing, at most `limit`: skips unused stretches.
    uint64_t missing_run(uint64_t chunk, uint64_t limit) const;

private:
    static constexpr size_t leaf_chunks = 512;
    struct Leaf {
        std::atomic<std::byte*> chunks[leaf_chunks];
        Leaf* next; // every leaf of the map, for the destructor
    };
    struct Free {
        void operator()(void* memory) const;
    };

    Result<Leaf*> leaf_of(uint64_t chunk);

    const uint32_t chunk_size_;
    const uint64_t top_entries_;
    std::unique_ptr<std::atomic<Leaf*>[], Free> top_; // zeros that take no memory until used
    std::atomic<Leaf*> leaves_{nullptr};
};

} // namespace rump::host
