// A buffer of whole pages that takes memory only where it was touched.
#pragma once

#include "hostshim/result.h"

#include <cstddef>
#include <span>
#include <utility>

namespace rump::p2k {

class PageBuffer {
public:
    PageBuffer() = default;
    /// ENOMEM.
    static Result<PageBuffer> create(size_t size);
    PageBuffer(PageBuffer&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}
    PageBuffer& operator=(PageBuffer&& other) noexcept {
        std::swap(bytes_, other.bytes_);
        return *this;
    }
    ~PageBuffer();

    std::span<std::byte> bytes() const { return bytes_; }

private:
    explicit PageBuffer(std::span<std::byte> bytes) : bytes_(bytes) {}
    std::span<std::byte> bytes_;
};

} // namespace rump::p2k
