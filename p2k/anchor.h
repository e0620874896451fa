// Anchor: keeps one busy client and the thread that serves it on the same CPU.
//
// A request is two wakes: of the thread that serves, and of the client. The host's scheduler gives
// whoever wakes an idle CPU if there is one, so that both wakes cross CPUs, and on a virtual
// machine that costs several times what a request costs otherwise. While another thread is busy on
// the other CPU, both stay where they are and a wake is no more than a change of context. The
// anchor is that thread: at the lowest priority, yielding at each step, so that anything else on
// its CPU goes first.
//
//     free ──64 requests of one client in quick succession──> held ──4096 requests──> free
//      ^                                                        │
//      ├──another client, or none for linger_ns─────────────────┤
//      └──a pause────────────it does not pay────────────────────┘
//
// Whether it pays is measured: the requests of a client must come faster while it is held than they
// did before. With two CPUs only: with more it would take an anchor for each.
#pragma once

#include "hostshim/lock.h"
#include "hostshim/thread.h"

#include <array>
#include <atomic>
#include <vector>

namespace rump::p2k {

class Anchor {
public:
    /// `linger_ns`: how long after a request the next one still counts as quick, and an anchor is
    /// held. 0: never.
    explicit Anchor(uint64_t linger_ns) : linger_ns_(linger_ns) {}
    ~Anchor() { stop(); }
    Anchor(const Anchor&) = delete;
    Anchor& operator=(const Anchor&) = delete;

    /// Makes the threads if this machine is one where it helps. EAGAIN.
    Result<void> start();
    /// No note() may be under way or follow.
    void stop();

    /// The calling thread has taken up a request of the host's thread `client`. True: the client is
    /// busy and alone; it is worth being on its CPU.
    bool note(uint32_t client);

    /// A thread of ours keeps a CPU busy, or is about to.
    bool held() const { return wanted_.load() != nowhere; }

private:
    static constexpr unsigned nowhere = ~0u;

    void thread_main(unsigned cpu);
    void hold(unsigned cpu);
    bool wait_for_order(unsigned cpu);
    /// Counts a request; true: anchored.
    bool advance(uint64_t now) REQUIRES(mutex_);
    bool pays(uint64_t now) REQUIRES(mutex_);
    void begin(bool anchored, uint64_t now) REQUIRES(mutex_);
    void hold_other_cpu() REQUIRES(mutex_);

    // constant once started
    const uint64_t linger_ns_;
    std::array<unsigned, 2> cpus_{nowhere, nowhere};
    std::array<host::Thread, 2> threads_;

    // self-synchronized
    std::atomic<uint64_t> last_ns_{0};
    std::atomic<uint32_t> client_{0};
    std::atomic<bool> interrupted_{true};   // the requests counted so far do not belong together
    std::atomic<unsigned> wanted_{nowhere}; // the CPU to hold
    std::atomic<bool> stopping_{false};

    host::Mutex mutex_{host::Rank::leaf};
    host::CondVar changed_;
    bool anchored_ GUARDED_BY(mutex_) = false;
    unsigned requests_ GUARDED_BY(mutex_) = 0; // since it became so
    uint64_t window_start_ns_ GUARDED_BY(mutex_) = 0;
    uint64_t free_gap_ns_ GUARDED_BY(mutex_) = 0; // between two requests when nothing was held
    uint64_t pause_ns_ GUARDED_BY(mutex_) = 0;    // the next one
    uint64_t paused_until_ns_ GUARDED_BY(mutex_) = 0;
};

/// Binds the calling thread to the CPU on which a client runs, and lets it go again.
class Tether {
public:
    /// Looks where the client is, at most once a millisecond, and goes there.
    void follow(uint32_t client);
    void release();
    bool tied() const { return tied_; }

private:
    bool tied_ = false;
    std::vector<unsigned> free_; // where the thread may run when it is not tied
    unsigned cpu_ = 0;
    uint64_t looked_ns_ = 0;
};

} // namespace rump::p2k
