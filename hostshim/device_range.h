// Range arithmetic that the block devices of this folder share. Private to hostshim.
#pragma once

#include <algorithm>
#include <cstdint>

namespace rump::host {

/// [offset, offset + length) lies within a device of `size` bytes; the sum may overflow.
constexpr bool within(uint64_t size, uint64_t offset, uint64_t length) {
    return offset <= size && length <= size - offset;
}

/// Cuts [offset, offset + length) at multiples of `chunk` and calls
/// `use(chunk number, offset in it, offset in the range, length)` for each; stops at the first
/// error.
template<class ResultType, class Use>
ResultType each_chunk(uint64_t offset, uint64_t length, uint32_t chunk, Use use) {
    for (uint64_t done = 0; done < length;) {
        uint64_t at = offset + done;
        uint64_t inside = at % chunk;
        uint64_t part = std::min<uint64_t>(length - done, chunk - inside);
        if (auto result = use(at / chunk, inside, done, part); !result.ok()) return result;
        done += part;
    }
    return {};
}

} // namespace rump::host
