// Bits of a bitmap block, least significant first within a byte ("Block Bitmap").
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace rump::ext2 {

inline bool test_bit(std::span<const std::byte> map, uint32_t bit) {
    return (static_cast<unsigned>(map[bit / 8]) >> (bit % 8) & 1) != 0;
}
inline void set_bit(std::byte* map, uint32_t bit) { map[bit / 8] |= std::byte(1u << (bit % 8)); }
inline void clear_bit(std::byte* map, uint32_t bit) { map[bit / 8] &= ~std::byte(1u << (bit % 8)); }

/// The first bit from `from` on, below `limit`, that is `value`; `limit` if there is none. The map
/// is a multiple of 8 bytes long.
inline uint32_t next_bit(std::span<const std::byte> map, uint32_t from, uint32_t limit,
                         bool value) {
    while (from < limit) {
        uint64_t word;
        std::memcpy(&word, map.data() + from / 64 * 8, sizeof word);
        if constexpr (std::endian::native == std::endian::big) word = __builtin_bswap64(word);
        if (!value) word = ~word;
        word >>= from % 64;
        if (word) {
            const uint32_t found = from + static_cast<uint32_t>(std::countr_zero(word));
            return found < limit ? found : limit;
        }
        from = (from / 64 + 1) * 64;
    }
    return limit;
}
inline uint32_t next_free(std::span<const std::byte> map, uint32_t from, uint32_t limit) {
    return next_bit(map, from, limit, false);
}
inline uint32_t next_used(std::span<const std::byte> map, uint32_t from, uint32_t limit) {
    return next_bit(map, from, limit, true);
}
inline uint32_t count_free(std::span<const std::byte> map, uint32_t limit) {
    uint32_t used = 0;
    uint32_t bit = 0;
    for (; bit + 64 <= limit; bit += 64) {
        uint64_t word;
        std::memcpy(&word, map.data() + bit / 8, sizeof word);
        used += static_cast<uint32_t>(std::popcount(word));
    }
    for (; bit < limit; ++bit) used += test_bit(map, bit);
    return limit - used;
}

} // namespace rump::ext2
