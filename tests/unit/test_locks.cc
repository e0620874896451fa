// Locks under contention, condition variables, threads. Also meant to be run under ThreadSanitizer.
#include "hostshim/lock.h"
#include "hostshim/thread.h"

#include <catch2/catch.hpp>

#include <signal.h>
#include <vector>

using namespace rump;
using namespace rump::host;

namespace {

constexpr int thread_count = 4;
constexpr int rounds = 20000;

/// Runs `body(index)` in several threads at once and waits for all.
template<class Body>
void in_parallel(int count, Body body) {
    std::vector<Thread> threads;
    for (int i = 0; i < count; ++i) {
        auto thread = Thread::start("test", [&body, i] { body(i); });
        REQUIRE(thread.ok());
        threads.push_back(thread.release_value());
    }
}

/// Whether this thread could have the lock now.
template<class M>
bool can_lock(M& mutex) {
    if (!mutex.try_lock()) return false;
    mutex.unlock();
    return true;
}

bool can_share(RwLock& lock) {
    if (!lock.try_lock_shared()) return false;
    lock.unlock_shared();
    return true;
}

} // namespace

TEST_CASE("a mutex lets one thread in at a time") {
    Mutex mutex(Rank::leaf);
    uint64_t plain = 0; // a lost update or a report of TSan is the failure
    in_parallel(thread_count, [&](int) {
        for (int i = 0; i < rounds; ++i) {
            MutexGuard guard(mutex);
            ++plain;
        }
    });
    CHECK(plain == uint64_t{thread_count} * rounds);
    CHECK_FALSE(mutex.held());
}

TEST_CASE("try_lock of a mutex fails while another thread holds it") {
    Mutex mutex(Rank::leaf);
    mutex.lock();
    bool got = true;
    in_parallel(1, [&](int) { got = can_lock(mutex); });
    CHECK(mutex.held());
    mutex.unlock();
    CHECK_FALSE(got);
    CHECK(can_lock(mutex));
    CHECK_FALSE(mutex.held());
}

TEST_CASE("a reader-writer lock keeps writers alone and readers together") {
    RwLock lock(Rank::vnode);
    uint64_t first = 0, second = 0;
    std::atomic<int> torn{0};
    in_parallel(thread_count, [&](int index) {
        for (int i = 0; i < rounds; ++i) {
            if ((i + index) % 8 == 0) {
                ExclusiveGuard guard(lock);
                ++first;
                ++second;
            } else {
                SharedGuard guard(lock);
                if (first != second) torn.fetch_add(1);
            }
        }
    });
    CHECK(torn == 0);
    CHECK(first == uint64_t{thread_count} * rounds / 8);
    CHECK(can_lock(lock));
}

TEST_CASE("two readers hold a lock at the same time") {
    RwLock lock(Rank::vnode);
    lock.lock_shared();
    CHECK(lock.held());
    CHECK_FALSE(lock.held_exclusive());
    bool shared = false, exclusive = true;
    in_parallel(1, [&](int) {
        exclusive = can_lock(lock);
        shared = can_share(lock);
    });
    lock.unlock_shared();
    CHECK(shared);
    CHECK_FALSE(exclusive);
}

TEST_CASE("a waiting writer gets in although readers keep coming") {
    RwLock lock(Rank::vnode);
    std::atomic<bool> written{false};
    std::atomic<int> ready{0};
    in_parallel(3, [&](int index) {
        if (index == 0) {
            while (ready < 2) {
            }
            ExclusiveGuard guard(lock);
            written = true;
            return;
        }
        ready.fetch_add(1);
        // Ends only when the writer was let in.
        while (!written) SharedGuard guard(lock);
    });
    CHECK(written);
}

TEST_CASE("held() asks about the calling thread where locks are tracked") {
    if (!lock_tracking) return;
    Mutex mutex(Rank::leaf);
    RwLock lock(Rank::vnode);
    ExclusiveGuard exclusive(lock);
    MutexGuard guard(mutex);
    bool other_mutex = true, other_lock = true;
    in_parallel(1, [&](int) {
        other_mutex = mutex.held();
        other_lock = lock.held() || lock.held_exclusive();
    });
    CHECK(mutex.held());
    CHECK(lock.held_exclusive());
    CHECK_FALSE(other_mutex);
    CHECK_FALSE(other_lock);
}

TEST_CASE("several vnode locks may be held, and released in any order") {
    RwLock a(Rank::vnode), b(Rank::vnode), c(Rank::vnode);
    a.lock();
    b.lock_shared();
    c.lock();
    a.unlock();
    CHECK(b.held());
    c.unlock();
    b.unlock_shared();
    CHECK_FALSE(a.held());
    CHECK_FALSE(b.held());
}

TEST_CASE("a condition variable hands items from producers to consumers") {
    Mutex mutex(Rank::leaf);
    CondVar filled, drained;
    int queue = 0;
    uint64_t consumed = 0;
    constexpr int items = 5000;
    in_parallel(4, [&](int index) NO_THREAD_SAFETY_ANALYSIS {
        for (int i = 0; i < items; ++i) {
            MutexGuard guard(mutex);
            if (index % 2 == 0) {
                while (queue == 3) drained.wait(mutex);
                ++queue;
                filled.notify_one();
            } else {
                while (queue == 0) filled.wait(mutex);
                --queue;
                ++consumed;
                drained.notify_all();
            }
        }
    });
    CHECK(queue == 0);
    CHECK(consumed == 2 * items);
}

TEST_CASE("a wait that nobody ends times out") {
    Mutex mutex(Rank::leaf);
    CondVar never;
    MutexGuard guard(mutex);
    // A signal may wake it early, but not for ever.
    bool timed_out = false;
    for (int i = 0; i < 1000 && !timed_out; ++i) timed_out = !never.wait_for(mutex, 1'000'000);
    CHECK(timed_out);
    CHECK(mutex.held());
}

TEST_CASE("threads start with every signal blocked and are joined by their destructor") {
    std::atomic<bool> blocked{false}, ended{false};
    {
        auto thread = Thread::start("a name longer than fifteen bytes", [&] {
            sigset_t mask;
            pthread_sigmask(SIG_BLOCK, nullptr, &mask);
            blocked = sigismember(&mask, SIGTERM) == 1 && sigismember(&mask, SIGINT) == 1;
            ended = true;
        });
        REQUIRE(thread.ok());
        CHECK(thread->running());
    }
    CHECK(ended);
    CHECK(blocked);
    CHECK_FALSE(Thread().running());
    CHECK(cpu_count() >= 1);
}
