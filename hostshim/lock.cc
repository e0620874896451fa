// Mutex, RwLock and CondVar over futex(2). An uncontended lock is one atomic instruction; a
// contended one spins for about the time of a short critical section before it sleeps.
//
// Mutex (after Drepper, "Futexes Are Tricky", 2011): 0 free, 1 held, 2 held and somebody may sleep.
//
// RwLock, one word:
//
//     31      writer holds it
//     30..16  writers that wait: exact, so that readers are never kept out by one that is gone
//     15      readers sleep
//     14..0   readers that hold it
//
// A reader enters when bits 31..16 are 0, a writer when 31 and 14..0 are. Who leaves wakes one
// writer if any waits, else all readers. Readers and writers sleep on the same word under different
// sets.
#include "hostshim/lock.h"

#include "hostshim/assertion.h"
#include "hostshim/futex.h"
#include "hostshim/lock_tracker.h"

namespace rump::host {
namespace {

constexpr int spin_rounds = 100;

inline void cpu_relax() {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

constexpr uint32_t mutex_free = 0;
constexpr uint32_t mutex_held = 1;
constexpr uint32_t mutex_contended = 2;

constexpr uint32_t rw_writer = 1u << 31;
constexpr uint32_t rw_waiting_writer = 1u << 16; // one of them
constexpr uint32_t rw_waiting_writers = 0x7fffu << 16;
constexpr uint32_t rw_readers_sleep = 1u << 15;
constexpr uint32_t rw_readers = 0x7fff;

constexpr uint32_t set_readers = 1;
constexpr uint32_t set_writers = 2;

static_assert(sizeof(RwLock) == 8);

} // namespace

// --- Mutex --------------------------------------------------------------------------------------

void Mutex::lock() NO_THREAD_SAFETY_ANALYSIS {
    lock_tracker::check_order(this, rank_);
    uint32_t expected = mutex_free;
    if (!state_.compare_exchange_strong(expected, mutex_held, std::memory_order_acquire,
                                        std::memory_order_relaxed)) [[unlikely]]
        lock_slow();
    lock_tracker::acquired(this, rank_, true);
}

void Mutex::lock_slow() {
    for (int i = 0; i < spin_rounds; ++i) {
        uint32_t seen = state_.load(std::memory_order_relaxed);
        if (seen == mutex_free &&
            state_.compare_exchange_weak(seen, mutex_held, std::memory_order_acquire,
                                         std::memory_order_relaxed))
            return;
        if (seen == mutex_contended) break; // others sleep already: spinning would pass them by
        cpu_relax();
    }
    // Whoever has slept takes the lock as contended: it cannot know whether others still sleep.
    while (state_.exchange(mutex_contended, std::memory_order_acquire) != mutex_free)
        futex_wait(state_, mutex_contended, futex_any);
}

bool Mutex::try_lock() NO_THREAD_SAFETY_ANALYSIS {
    uint32_t expected = mutex_free;
    if (!state_.compare_exchange_strong(expected, mutex_held, std::memory_order_acquire,
                                        std::memory_order_relaxed))
        return false;
    lock_tracker::acquired(this, rank_, true);
    return true;
}

void Mutex::unlock() NO_THREAD_SAFETY_ANALYSIS {
    lock_tracker::released(this);
    if (state_.exchange(mutex_free, std::memory_order_release) == mutex_contended) [[unlikely]]
        futex_wake(state_, 1, futex_any);
}

bool Mutex::held() const {
    return state_.load(std::memory_order_relaxed) != mutex_free && lock_tracker::holds(this, true);
}

// --- RwLock -------------------------------------------------------------------------------------

void RwLock::lock() NO_THREAD_SAFETY_ANALYSIS {
    lock_tracker::check_order(this, rank_);
    uint32_t expected = 0;
    if (!state_.compare_exchange_strong(expected, rw_writer, std::memory_order_acquire,
                                        std::memory_order_relaxed)) [[unlikely]]
        lock_slow();
    lock_tracker::acquired(this, rank_, true);
}

void RwLock::lock_slow() {
    for (int i = 0; i < spin_rounds; ++i) {
        uint32_t seen = state_.load(std::memory_order_relaxed);
        if (!(seen & (rw_writer | rw_readers)) &&
            state_.compare_exchange_weak(seen, seen | rw_writer, std::memory_order_acquire,
                                         std::memory_order_relaxed))
            return;
        cpu_relax();
    }
    uint32_t seen = state_.fetch_add(rw_waiting_writer, std::memory_order_relaxed);
    ASSERT((seen & rw_waiting_writers) != rw_waiting_writers);
    seen += rw_waiting_writer;
    for (;;) {
        if (!(seen & (rw_writer | rw_readers))) {
            uint32_t next = (seen - rw_waiting_writer) | rw_writer;
            if (state_.compare_exchange_weak(seen, next, std::memory_order_acquire,
                                             std::memory_order_relaxed))
                return;
            continue;
        }
        futex_wait(state_, seen, set_writers);
        seen = state_.load(std::memory_order_relaxed);
    }
}

bool RwLock::try_lock() NO_THREAD_SAFETY_ANALYSIS {
    uint32_t seen = state_.load(std::memory_order_relaxed);
    do {
        if (seen & (rw_writer | rw_waiting_writers | rw_readers)) return false;
    } while (!state_.compare_exchange_weak(seen, seen | rw_writer, std::memory_order_acquire,
                                           std::memory_order_relaxed));
    lock_tracker::acquired(this, rank_, true);
    return true;
}

void RwLock::unlock() NO_THREAD_SAFETY_ANALYSIS {
    lock_tracker::released(this);
    uint32_t seen = rw_writer;
    if (state_.compare_exchange_strong(seen, 0, std::memory_order_release,
                                       std::memory_order_relaxed)) [[likely]]
        return;
    uint32_t next;
    do {
        // Sleeping readers stay marked until the last waiting writer is through.
        next = seen & rw_waiting_writers ? seen & ~rw_writer : 0;
    } while (!state_.compare_exchange_weak(seen, next, std::memory_order_release,
                                           std::memory_order_relaxed));
    if (seen & rw_waiting_writers)
        futex_wake(state_, 1, set_writers);
    else if (seen & rw_readers_sleep)
        futex_wake(state_, INT_MAX, set_readers);
}

void RwLock::lock_shared() NO_THREAD_SAFETY_ANALYSIS {
    lock_tracker::check_order(this, rank_);
    uint32_t seen = state_.load(std::memory_order_relaxed);
    for (;;) {
        if (seen & (rw_writer | rw_waiting_writers)) [[unlikely]] {
            lock_shared_slow();
            break;
        }
        ASSERT((seen & rw_readers) != rw_readers);
        if (state_.compare_exchange_weak(seen, seen + 1, std::memory_order_acquire,
                                         std::memory_order_relaxed))
            break;
    }
    lock_tracker::acquired(this, rank_, false);
}

void RwLock::lock_shared_slow() {
    int spins = 0;
    for (;;) {
        uint32_t seen = state_.load(std::memory_order_relaxed);
        if (!(seen & (rw_writer | rw_waiting_writers))) {
            if (state_.compare_exchange_weak(seen, seen + 1, std::memory_order_acquire,
                                             std::memory_order_relaxed))
                return;
            continue;
        }
        if (spins < spin_rounds) {
            ++spins;
            cpu_relax();
            continue;
        }
        if (!(seen & rw_readers_sleep) &&
            !state_.compare_exchange_weak(seen, seen | rw_readers_sleep, std::memory_order_relaxed,
                                          std::memory_order_relaxed))
            continue;
        futex_wait(state_, seen | rw_readers_sleep, set_readers);
    }
}

bool RwLock::try_lock_shared() NO_THREAD_SAFETY_ANALYSIS {
    uint32_t seen = state_.load(std::memory_order_relaxed);
    do {
        if (seen & (rw_writer | rw_waiting_writers)) return false;
    } while (!state_.compare_exchange_weak(seen, seen + 1, std::memory_order_acquire,
                                           std::memory_order_relaxed));
    lock_tracker::acquired(this, rank_, false);
    return true;
}

void RwLock::unlock_shared() NO_THREAD_SAFETY_ANALYSIS {
    lock_tracker::released(this);
    uint32_t seen = state_.fetch_sub(1, std::memory_order_release);
    // Readers sleep only while a writer waits or holds, so the last reader owes a wake to writers
    // alone.
    if ((seen & rw_readers) == 1 && (seen & rw_waiting_writers)) [[unlikely]]
        futex_wake(state_, 1, set_writers);
}

bool RwLock::held_exclusive() const {
    return (state_.load(std::memory_order_relaxed) & rw_writer) && lock_tracker::holds(this, true);
}

bool RwLock::held() const {
    return (state_.load(std::memory_order_relaxed) & (rw_writer | rw_readers)) &&
           lock_tracker::holds(this, false);
}

// --- CondVar ------------------------------------------------------------------------------------

void CondVar::wait(Mutex& mutex) { wait_until_notified(mutex, nullptr); }

bool CondVar::wait_for(Mutex& mutex, uint64_t timeout_ns) {
    return wait_until_notified(mutex, &timeout_ns);
}

bool CondVar::wait_until_notified(Mutex& mutex, const uint64_t* timeout_ns) {
    waiters_.fetch_add(1, std::memory_order_relaxed);
    uint32_t sequence = sequence_.load(std::memory_order_relaxed);
    mutex.unlock();
    bool notified = futex_wait(sequence_, sequence, futex_any, timeout_ns);
    mutex.lock();
    waiters_.fetch_sub(1, std::memory_order_relaxed);
    return notified;
}

void CondVar::notify_one() {
    if (waiters_.load(std::memory_order_relaxed) == 0) return;
    sequence_.fetch_add(1, std::memory_order_relaxed);
    futex_wake(sequence_, 1, futex_any);
}

void CondVar::notify_all() {
    if (waiters_.load(std::memory_order_relaxed) == 0) return;
    sequence_.fetch_add(1, std::memory_order_relaxed);
    futex_wake(sequence_, INT_MAX, futex_any);
}

} // namespace rump::host
