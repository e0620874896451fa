// See anchor.h.
#include "p2k/anchor.h"

#include "hostshim/clock.h"

#include <sched.h>
#include <sys/resource.h>

#include <algorithm>

namespace rump::p2k {

namespace {

constexpr unsigned quick_requests = 32; // in a row, before an anchor is worth its wake
constexpr unsigned looks = 8;           // of which the mean counts
constexpr unsigned too_many = 8;        // running threads: more do not count
constexpr uint64_t look_ns = 1'000'000;
constexpr int lowest_priority = 19;

} // namespace

// --- Anchor ------------------------------------------------------------------------------------

Result<void> Anchor::start() {
    const std::vector<unsigned> cpus = allowed_cpus();
    if (linger_ns_ == 0 || cpus.size() != cpus_.size()) return {};
    for (size_t i = 0; i < cpus.size(); ++i) {
        cpus_[i] = cpus[i];
        threads_[i] =
            TRY(host::Thread::start("fuse-anchor", [this, cpu = cpus[i]] { thread_main(cpu); }));
    }
    return {};
}

void Anchor::stop() {
    stopping_.store(true);
    {
        host::MutexGuard guard(mutex_);
        changed_.notify_all();
    }
    for (auto& thread : threads_) thread.join();
}

bool Anchor::note(uint32_t client) {
    if (!threads_[1].running()) return false;
    const uint64_t now = host::real_clock().monotonic_ns();
    const uint64_t before = last_ns_.exchange(now, std::memory_order_relaxed);
    const bool quick = now <= before || now - before <= linger_ns_;
    if (client_.load(std::memory_order_relaxed) != client || !quick) {
        client_.store(client, std::memory_order_relaxed);
        streak_.store(0, std::memory_order_relaxed);
        wanted_.store(nowhere, std::memory_order_relaxed);
        return false;
    }
    const unsigned streak = streak_.load(std::memory_order_relaxed);
    if (streak < quick_requests) {
        streak_.store(streak + 1, std::memory_order_relaxed);
        return false;
    }
    if (!cpus_are_free(now)) {
        wanted_.store(nowhere, std::memory_order_relaxed);
        return false;
    }
    hold_other_cpu();
    return true;
}

/// Nobody wants to run but the caller, who serves the client, the client and the anchor. What a
/// look finds is chance: the mean of some counts.
bool Anchor::cpus_are_free(uint64_t now) {
    uint64_t looked = looked_ns_.load(std::memory_order_relaxed);
    unsigned load = load_.load(std::memory_order_relaxed);
    if (now - looked >= look_ns && looked_ns_.compare_exchange_strong(looked, now)) {
        const unsigned running = count_running_().value_or(too_many) - (held() ? 1 : 0);
        load = load - load / looks + std::min(running, too_many);
        load_.store(load, std::memory_order_relaxed);
    }
    return load <= 2 * looks;
}

void Anchor::hold_other_cpu() {
    const auto here = static_cast<unsigned>(::sched_getcpu());
    const unsigned other = here == cpus_[0] ? cpus_[1] : cpus_[0];
    if (wanted_.load(std::memory_order_relaxed) == other) return;
    host::MutexGuard guard(mutex_);
    wanted_.store(other);
    changed_.notify_all();
}

void Anchor::thread_main(unsigned cpu) {
    if (!bind_to({cpu})) return;
    (void)::setpriority(PRIO_PROCESS, 0, lowest_priority); // of this thread
    while (wait_for_order(cpu)) hold(cpu);
}

/// False: the end.
bool Anchor::wait_for_order(unsigned cpu) {
    host::MutexGuard guard(mutex_);
    while (wanted_.load() != cpu && !stopping_.load()) changed_.wait(mutex_);
    return !stopping_.load();
}

void Anchor::hold(unsigned cpu) {
    while (wanted_.load(std::memory_order_relaxed) == cpu && !stopping_.load()) {
        const uint64_t last = last_ns_.load(std::memory_order_relaxed);
        const uint64_t now = host::real_clock().monotonic_ns();
        if (now > last && now - last > linger_ns_) {
            unsigned expected = cpu;
            wanted_.compare_exchange_strong(expected, nowhere);
            return;
        }
        ::sched_yield();
    }
}

// --- Tether ------------------------------------------------------------------------------------

void Tether::follow(uint32_t client) {
    const uint64_t now = host::real_clock().monotonic_ns();
    if (tied_ && now - looked_ns_ < look_ns) return;
    looked_ns_ = now;
    const auto cpu = cpu_of(client);
    if (!cpu || (tied_ && *cpu == cpu_)) return;
    if (!tied_) free_ = allowed_cpus();
    if (!bind_to({*cpu})) return;
    tied_ = true;
    cpu_ = *cpu;
}

void Tether::release() {
    if (!tied_) return;
    (void)bind_to(free_);
    tied_ = false;
}

} // namespace rump::p2k
