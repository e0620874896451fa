// The host's futex(2), for the locks of this folder. Private to hostshim.
#pragma once

#include <atomic>
#include <cerrno>
#include <climits>
#include <cstdint>
#include <ctime>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace rump::host {

/// Sleeps while `word` is `expected`, until a wake whose set meets `set`, a signal or the time-out
/// (relative, null: none). False only on time-out.
inline bool futex_wait(std::atomic<uint32_t>& word, uint32_t expected, uint32_t set,
                       const uint64_t* timeout_ns = nullptr) {
    timespec deadline;
    if (timeout_ns) {
        // The bitset form counts in absolute monotonic time.
        clock_gettime(CLOCK_MONOTONIC, &deadline);
        uint64_t nsec = static_cast<uint64_t>(deadline.tv_nsec) + *timeout_ns % 1'000'000'000;
        uint64_t sec = *timeout_ns / 1'000'000'000 + nsec / 1'000'000'000;
        deadline.tv_sec += static_cast<time_t>(sec);
        deadline.tv_nsec = static_cast<long>(nsec % 1'000'000'000);
    }
    long rc = syscall(SYS_futex, reinterpret_cast<uint32_t*>(&word),
                      FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG, expected,
                      timeout_ns ? &deadline : nullptr, nullptr, set);
    return rc == 0 || errno != ETIMEDOUT;
}

/// Wakes up to `count` sleepers whose set meets `set`.
inline void futex_wake(std::atomic<uint32_t>& word, int count, uint32_t set) {
    syscall(SYS_futex, reinterpret_cast<uint32_t*>(&word), FUTEX_WAKE_BITSET | FUTEX_PRIVATE_FLAG,
            count, nullptr, nullptr, set);
}

inline constexpr uint32_t futex_any = FUTEX_BITSET_MATCH_ANY;

} // namespace rump::host
