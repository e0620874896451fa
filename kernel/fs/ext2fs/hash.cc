// Hashes of names: the legacy hash, four words of TEA, and MD4 (RFC 1320) cut down to half of its
// input and three rounds of eight steps.
#include "kernel/fs/ext2fs/hash.h"

#include <bit>
#include <span>

namespace rump::ext2 {

namespace {

uint32_t char_value(char c, bool is_unsigned) {
    return is_unsigned ? static_cast<uint8_t>(c)
                       : static_cast<uint32_t>(static_cast<int32_t>(static_cast<signed char>(c)));
}

uint32_t legacy_hash(std::string_view name, bool is_unsigned) {
    uint32_t last = 0x12a3fe2d, before = 0x37abe8f9;
    for (char c : name) {
        uint32_t hash = before + (last ^ (char_value(c, is_unsigned) * 7152373u));
        if (hash & 0x80000000u) hash -= 0x7fffffff;
        before = last;
        last = hash;
    }
    return last << 1;
}

/// Packs a name into words, filled up with its length in every byte.
void pack_words(std::string_view name, bool is_unsigned, std::span<uint32_t> words) {
    const auto length = static_cast<uint32_t>(name.size());
    uint32_t fill = length | length << 8;
    fill |= fill << 16;
    size_t at = 0;
    for (uint32_t& word : words) {
        word = fill;
        for (int i = 0; i < 4 && at < name.size(); ++i, ++at)
            word = char_value(name[at], is_unsigned) + (word << 8);
    }
}

void tea_transform(std::array<uint32_t, 4>& state, std::span<const uint32_t, 4> in) {
    uint32_t sum = 0, x = state[0], y = state[1];
    for (int round = 0; round < 16; ++round) {
        sum += 0x9E3779B9;
        x += ((y << 4) + in[0]) ^ (y + sum) ^ ((y >> 5) + in[1]);
        y += ((x << 4) + in[2]) ^ (x + sum) ^ ((x >> 5) + in[3]);
    }
    state[0] += x;
    state[1] += y;
}

void half_md4_transform(std::array<uint32_t, 4>& state, std::span<const uint32_t, 8> in) {
    struct Round {
        uint32_t (*mix)(uint32_t, uint32_t, uint32_t);
        uint32_t constant;
        std::array<uint8_t, 8> order;
        std::array<uint8_t, 4> shift;
    };
    static constexpr Round rounds[] = {
        {[](uint32_t x, uint32_t y, uint32_t z) { return z ^ (x & (y ^ z)); },
         0,
         {0, 1, 2, 3, 4, 5, 6, 7},
         {3, 7, 11, 19}},
        {[](uint32_t x, uint32_t y, uint32_t z) { return (x & y) + ((x ^ y) & z); },
         0x5A827999,
         {1, 3, 5, 7, 0, 2, 4, 6},
         {3, 5, 9, 13}},
        {[](uint32_t x, uint32_t y, uint32_t z) { return x ^ y ^ z; },
         0x6ED9EBA1,
         {3, 7, 2, 6, 1, 5, 0, 4},
         {3, 9, 11, 15}},
    };
    auto v = state;
    for (const Round& round : rounds) {
        for (unsigned step = 0; step < 8; ++step) {
            // Step 0 changes word a, step 1 word d, then c, b, a ...
            const unsigned a = (8 - step) & 3;
            v[a] += round.mix(v[(a + 1) & 3], v[(a + 2) & 3], v[(a + 3) & 3]) +
                    in[round.order[step]] + round.constant;
            v[a] = std::rotl(v[a], round.shift[step & 3]);
        }
    }
    for (unsigned i = 0; i < 4; ++i) state[i] += v[i];
}

} // namespace

uint32_t name_hash(const HashKind& kind, std::string_view name) {
    std::array<uint32_t, 4> state{0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476};
    if (kind.seed != std::array<uint32_t, 4>{}) state = kind.seed;
    uint32_t hash = 0;
    if (kind.version == disk::hash_legacy) {
        hash = legacy_hash(name, kind.is_unsigned);
    } else if (kind.version == disk::hash_half_md4) {
        std::array<uint32_t, 8> words;
        for (size_t at = 0; at < name.size(); at += 32) {
            pack_words(name.substr(at), kind.is_unsigned, words);
            half_md4_transform(state, words);
        }
        hash = state[1];
    } else {
        std::array<uint32_t, 4> words;
        for (size_t at = 0; at < name.size(); at += 16) {
            pack_words(name.substr(at), kind.is_unsigned, words);
            tea_transform(state, words);
        }
        hash = state[0];
    }
    hash &= ~1u;
    return hash == 0xfffffffe ? 0xfffffffc : hash;
}

HashKind HashKind::of(const disk::Superblock& sb) {
    HashKind kind;
    if (sb.default_hash < hash_versions) {
        kind.version = sb.default_hash % 3;
        kind.is_unsigned = sb.default_hash >= 3;
    }
    if (sb.flags & disk::flag_unsigned_hash) kind.is_unsigned = true;
    for (size_t i = 0; i < kind.seed.size(); ++i) kind.seed[i] = sb.hash_seed[i];
    return kind;
}

} // namespace rump::ext2
