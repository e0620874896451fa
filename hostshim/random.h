// Randomness of the emulated kernel: generation numbers, hash seeds, UUIDs.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

namespace rump::host {

/// Thread-safe.
class Random {
public:
    virtual ~Random() = default;
    virtual uint64_t next() = 0;
    uint32_t next32() { return static_cast<uint32_t>(next() >> 32); }
    /// Uniform in [0, bound); bound > 0.
    uint64_t below(uint64_t bound);
    void fill(std::span<std::byte> out);
};

/// Seeded once from the host; not for secrets.
Random& real_random();

/// splitmix64 from `seed`: the same sequence on every machine.
class SeededRandom final : public Random {
public:
    explicit SeededRandom(uint64_t seed) : state_(seed) {}
    uint64_t next() override;

private:
    std::atomic<uint64_t> state_;
};

} // namespace rump::host
