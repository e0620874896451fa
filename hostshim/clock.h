// Time of the emulated kernel. Never read the host's clock anywhere else.
#pragma once

#include <atomic>
#include <compare>
#include <cstdint>

namespace rump {

/// Seconds since 1970-01-01 UTC, may be negative; nanoseconds 0 to 999,999,999.
struct Timespec {
    int64_t sec = 0;
    uint32_t nsec = 0;
    auto operator<=>(const Timespec&) const = default;
};

} // namespace rump

namespace rump::host {

class Clock {
public:
    virtual ~Clock() = default;
    /// Wall-clock time for time stamps. No system call.
    virtual Timespec realtime() const = 0;
    /// Nanoseconds from an arbitrary start, never backwards.
    virtual uint64_t monotonic_ns() const = 0;
};

/// The host's clock. `realtime` has the resolution of a scheduler tick, as Linux's file time
/// stamps.
const Clock& real_clock();

/// A clock that moves only when told to, or by `step` at each reading, so that runs repeat exactly.
class VirtualClock final : public Clock {
public:
    explicit VirtualClock(Timespec start, uint64_t step_ns = 0);
    Timespec realtime() const override;
    uint64_t monotonic_ns() const override;
    void advance(uint64_t ns);

private:
    const Timespec start_;
    const uint64_t step_ns_;
    mutable std::atomic<uint64_t> elapsed_ns_{0};
};

} // namespace rump::host
