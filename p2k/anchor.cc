// See anchor.h.
#include "p2k/anchor.h"

#include "hostshim/clock.h"
#include "p2k/cpus.h"

#include <sched.h>
#include <sys/resource.h>

#include <algorithm>

namespace rump::p2k {

namespace {

constexpr unsigned quick_requests = 64;  // in a row, before an anchor is worth its wake
constexpr unsigned window = 256;         // requests after which it must have paid
constexpr unsigned hold_requests = 4096; // then it is measured anew how fast they come without
constexpr unsigned hopeless_after = 16;  // requests that take three times as long
constexpr uint64_t first_pause_ns = 50'000'000, longest_pause_ns = 1'600'000'000;
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
        interrupted_.store(true, std::memory_order_relaxed);
        wanted_.store(nowhere, std::memory_order_relaxed);
        return false;
    }
    host::MutexGuard guard(mutex_);
    return advance(now);
}

bool Anchor::advance(uint64_t now) {
    if (now < paused_until_ns_) return false;
    if (interrupted_.exchange(false, std::memory_order_relaxed)) begin(false, now);
    ++requests_;
    if (anchored_ && !pays(now)) {
        pause_ns_ = std::clamp(2 * pause_ns_, first_pause_ns, longest_pause_ns);
        paused_until_ns_ = now + pause_ns_;
        interrupted_.store(true, std::memory_order_relaxed);
        wanted_.store(nowhere, std::memory_order_relaxed);
        return false;
    }
    if (anchored_ && requests_ >= hold_requests) {
        begin(false, now);
        wanted_.store(nowhere, std::memory_order_relaxed);
    } else if (!anchored_ && requests_ >= quick_requests) {
        free_gap_ns_ = (now - window_start_ns_) / requests_;
        begin(true, now);
    }
    if (anchored_) hold_other_cpu();
    return anchored_;
}

void Anchor::begin(bool anchored, uint64_t now) {
    anchored_ = anchored;
    requests_ = 0;
    window_start_ns_ = now;
}

bool Anchor::pays(uint64_t now) {
    const unsigned in_window = requests_ % window;
    const uint64_t took = now - window_start_ns_;
    if (in_window >= hopeless_after && took > 3 * in_window * free_gap_ns_) return false;
    if (in_window != 0) return true;
    window_start_ns_ = now;
    if (took > window * free_gap_ns_) return false;
    pause_ns_ = 0;
    return true;
}

void Anchor::hold_other_cpu() {
    const auto here = static_cast<unsigned>(::sched_getcpu());
    const unsigned other = here == cpus_[0] ? cpus_[1] : cpus_[0];
    if (wanted_.load(std::memory_order_relaxed) == other) return;
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
