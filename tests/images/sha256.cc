// SHA-256 (FIPS 180-4).
#include "tests/images/sha256.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdio>
#include <cstring>

namespace rump::test {

namespace {

/// The first 32 bits of the fractional parts of the cube roots of the first 64 primes.
std::array<uint32_t, 64> make_constants() {
    std::array<uint32_t, 64> k{};
    size_t n = 0;
    for (unsigned p = 2; n < k.size(); ++p) {
        bool prime = true;
        for (unsigned d = 2; d * d <= p; ++d) prime = prime && p % d != 0;
        if (!prime) continue;
        const long double root = cbrtl(static_cast<long double>(p));
        k[n++] = static_cast<uint32_t>((root - floorl(root)) * 4294967296.0L);
    }
    return k;
}

} // namespace

void Sha256::block(const std::byte* p) {
    static const auto k = make_constants();
    std::array<uint32_t, 64> w{};
    for (size_t i = 0; i < 16; ++i) {
        uint32_t v;
        std::memcpy(&v, p + i * 4, 4);
        w[i] = __builtin_bswap32(v);
    }
    for (size_t i = 16; i < 64; ++i) {
        const uint32_t a = w[i - 15], b = w[i - 2];
        w[i] = w[i - 16] + w[i - 7] + (std::rotr(a, 7) ^ std::rotr(a, 18) ^ a >> 3) +
               (std::rotr(b, 17) ^ std::rotr(b, 19) ^ b >> 10);
    }
    auto s = h_;
    for (size_t i = 0; i < 64; ++i) {
        const uint32_t t1 = s[7] +
                            (std::rotr(s[4], 6) ^ std::rotr(s[4], 11) ^ std::rotr(s[4], 25)) +
                            ((s[4] & s[5]) ^ (~s[4] & s[6])) + k[i] + w[i];
        const uint32_t t2 = (std::rotr(s[0], 2) ^ std::rotr(s[0], 13) ^ std::rotr(s[0], 22)) +
                            ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
        std::rotate(s.begin(), s.begin() + 7, s.end());
        s[4] += t1;
        s[0] = t1 + t2;
    }
    for (size_t i = 0; i < 8; ++i) h_[i] += s[i];
}

void Sha256::update(std::span<const std::byte> data) {
    while (!data.empty()) {
        const size_t at = total_ % 64;
        if (at == 0 && data.size() >= 64) {
            block(data.data());
            total_ += 64;
            data = data.subspan(64);
            continue;
        }
        const size_t n = std::min(64 - at, data.size());
        std::memcpy(pending_.data() + at, data.data(), n);
        total_ += n;
        data = data.subspan(n);
        if (total_ % 64 == 0) block(pending_.data());
    }
}

std::string Sha256::hex() {
    const uint64_t bits = total_ * 8;
    const std::byte one{0x80}, zero{0};
    update({&one, 1});
    while (total_ % 64 != 56) update({&zero, 1});
    std::array<std::byte, 8> length{};
    for (size_t i = 0; i < 8; ++i) length[i] = static_cast<std::byte>(bits >> (56 - 8 * i));
    update(length);
    std::string out;
    for (uint32_t v : h_) {
        char text[9];
        std::snprintf(text, sizeof text, "%08x", v);
        out += text;
    }
    return out;
}

} // namespace rump::test
