// The host's clocks, and one that moves only when told to.
#include "hostshim/clock.h"

#include <ctime>

namespace rump::host {
namespace {

constexpr uint64_t ns_per_s = 1'000'000'000;

class RealClock final : public Clock {
public:
    Timespec realtime() const override {
        // As Linux's file times: the tick, which the vDSO answers without reading a counter.
        timespec now;
        clock_gettime(CLOCK_REALTIME_COARSE, &now);
        return {now.tv_sec, static_cast<uint32_t>(now.tv_nsec)};
    }
    uint64_t monotonic_ns() const override {
        timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        return static_cast<uint64_t>(now.tv_sec) * ns_per_s + static_cast<uint64_t>(now.tv_nsec);
    }
};

} // namespace

const Clock& real_clock() {
    static const RealClock clock;
    return clock;
}

VirtualClock::VirtualClock(Timespec start, uint64_t step_ns) : start_(start), step_ns_(step_ns) {}

Timespec VirtualClock::realtime() const {
    uint64_t elapsed = elapsed_ns_.fetch_add(step_ns_, std::memory_order_relaxed);
    uint64_t nsec = start_.nsec + elapsed % ns_per_s;
    return {start_.sec + static_cast<int64_t>(elapsed / ns_per_s + nsec / ns_per_s),
            static_cast<uint32_t>(nsec % ns_per_s)};
}

uint64_t VirtualClock::monotonic_ns() const {
    return elapsed_ns_.fetch_add(step_ns_, std::memory_order_relaxed);
}

void VirtualClock::advance(uint64_t ns) { elapsed_ns_.fetch_add(ns, std::memory_order_relaxed); }

} // namespace rump::host
