// Anchor: keeps one busy client and the thread that serves it on the same CPU.
//
// A request is two wakes: of the thread that serves, and of the client. The host's scheduler gives
// whoever wakes an idle CPU if there is one, so that both wakes cross CPUs, and on a virtual
// machine that costs several times what a request costs otherwise. While another thread is busy on
// the other CPU, both stay where they are and a wake is no more than a change of context. The
// anchor is that thread: at the lowest priority, yielding at each step, so that anything else on
// its CPU goes first.
//
//     free ──32 requests of one client in quick succession, nobody else runs──> held
//      ^                                                                        │
//      └──another client, none for linger_ns, or others want the CPUs───────────┘
//
// Beside other load an anchor would keep client and server on a CPU that they have to share: how
// many threads run is looked up each millisecond. With two CPUs only: with more it would take an
// anchor for each.
#pragma once

#include "hostshim/lock.h"
#include "hostshim/thread.h"
#include "p2k/cpus.h"

#include <array>
#include <atomic>
#include <vector>

namespace rump::p2k {

class Anchor {
public:
    using CountRunning = std::optional<unsigned> (*)();

    /// `linger_ns`: how long after a request the next one still counts as quick, and an anchor is
    /// held. 0: never. `count_running`: how many threads of the host want to run.
    explicit Anchor(uint64_t linger_ns, CountRunning count_running = running_threads)
        : linger_ns_(linger_ns), count_running_(count_running) {}
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
    bool cpus_are_free(uint64_t now);
    void hold_other_cpu();

    // constant once started
    const uint64_t linger_ns_;
    const CountRunning count_running_;
    std::array<unsigned, 2> cpus_{nowhere, nowhere};
    std::array<host::Thread, 2> threads_;

    // self-synchronized
    std::atomic<uint64_t> last_ns_{0};
    std::atomic<uint32_t> client_{0};
    std::atomic<unsigned> streak_{0};       // quick requests of the client in a row, to a limit
    std::atomic<uint64_t> looked_ns_{0};    // how many threads run
    std::atomic<unsigned> load_{0};         // the sum of the last such numbers, without the anchor
    std::atomic<unsigned> wanted_{nowhere}; // the CPU to hold
    std::atomic<bool> stopping_{false};

    host::Mutex mutex_{host::Rank::leaf};
    host::CondVar changed_;
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
