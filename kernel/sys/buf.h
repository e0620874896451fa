// Buf: a reference to a cached metadata block. Counted; its destructor releases it. Contents are
// read through it and changed only under a Transaction (transaction.h).
//
// Who protects the bytes: the file system's own locks (a directory's block: its vnode's lock; an
// allocation map: its group's lock). Writing back copies the bytes while no transaction is open, so
// it never sees half a change.
#pragma once

#include "hostshim/assertion.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

namespace rump {

class BufferCache;

/// The cached block itself; only the buffer cache and transactions look inside
/// (vfs/buffer_cache.h).
struct CachedBlock;

class Buf {
public:
    Buf() = default;
    Buf(const Buf& other);
    Buf(Buf&& other) noexcept : block_(std::exchange(other.block_, nullptr)) {}
    Buf& operator=(Buf other) noexcept {
        std::swap(block_, other.block_);
        return *this;
    }
    ~Buf() {
        if (block_) release();
    }

    explicit operator bool() const { return block_ != nullptr; }
    /// Byte offset on the device.
    uint64_t offset() const;
    size_t size() const { return bytes().size(); }
    std::span<const std::byte> bytes() const;

    /// The structure at `at`; ASSERTs that it lies within the block (check lengths from disk
    /// first).
    template<class T>
    const T& as(size_t at = 0) const {
        static_assert(alignof(T) == 1);
        ASSERT(at + sizeof(T) <= size());
        return *reinterpret_cast<const T*>(bytes().data() + at);
    }
    bool operator==(const Buf& other) const { return block_ == other.block_; }

private:
    friend class BufferCache;
    friend class Transaction;
    friend class Epoch;
    explicit Buf(CachedBlock* block) : block_(block) {} // takes over one reference
    void release();
    CachedBlock* block_ = nullptr;
};

} // namespace rump
