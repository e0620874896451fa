// splitmix64 (Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators", 2014), which
// has one word of state and so is thread-safe by one atomic addition.
#include "hostshim/random.h"

#include "hostshim/assertion.h"

#include <algorithm>
#include <cstring>
#include <ctime>
#include <sys/random.h>
#include <unistd.h>

namespace rump::host {

uint64_t Random::below(uint64_t bound) {
    ASSERT(bound > 0);
    // The first 2^64 mod bound values would be too frequent.
    uint64_t threshold = (0 - bound) % bound;
    for (;;) {
        uint64_t value = next();
        if (value >= threshold) return value % bound;
    }
}

void Random::fill(std::span<std::byte> out) {
    while (!out.empty()) {
        uint64_t value = next();
        size_t part = std::min(out.size(), sizeof value);
        std::memcpy(out.data(), &value, part);
        out = out.subspan(part);
    }
}

uint64_t SeededRandom::next() {
    constexpr uint64_t golden_gamma = 0x9e3779b97f4a7c15;
    uint64_t z = state_.fetch_add(golden_gamma, std::memory_order_relaxed) + golden_gamma;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

namespace {

uint64_t host_seed() {
    uint64_t seed;
    if (getrandom(&seed, sizeof seed, 0) == static_cast<ssize_t>(sizeof seed)) return seed;
    timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return static_cast<uint64_t>(now.tv_sec) << 32 ^ static_cast<uint64_t>(now.tv_nsec) ^
           static_cast<uint64_t>(getpid()) << 16;
}

} // namespace

Random& real_random() {
    // The host's own source is state of the process, so is this.
    static SeededRandom random(host_seed());
    return random;
}

} // namespace rump::host
