// The transport over /dev/fuse, and its worker policy.
//
// Most of a request's cost is waking somebody on another CPU. So:
//
// - One thread, the leader, waits for requests. While a client is active it polls the device for up
//   to poll_us before it sleeps, and runs at once whatever needs no waiting.
// - A thread that takes up a request which may block (fsync, large transfers, space allocation)
//   sees to it first that somebody else waits for requests; so does one that is about to wait for
//   the image's disk.
// - A request that blocks unforeseen (for a lock), and a backlog, are noticed by a
//   watcher: one of the idle threads, which looks every millisecond while requests keep coming, and
//   becomes a second reader when some are waiting and nobody is taking them.
// - A reader that has found nothing retires when another one waits already.
//
//     idle ──promoted, or seen by the watcher──> reading ──request──> running
//       ^                                         |  ^                  |
//       └──another reader waits───────────────────┘  └──────────────────┘
//                                                 |
//                                  the last one sleeps in poll(2)
//
// Polling is given up for a while when it did not find anything, so an idle or slow client costs
// nothing.
#include "p2k/transport.h"

#include "hostshim/clock.h"
#include "hostshim/lock.h"
#include "hostshim/thread.h"
#include "p2k/blocking.h"
#include "p2k/message.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <utility>
#include <vector>

namespace rump::p2k {

namespace {

/// Of them, as many as wait for the disk work side by side: measured best for 8 to 64 clients.
constexpr unsigned least_threads = 16;
constexpr uint64_t watch_ns = 1'000'000;
constexpr uint64_t settle_ns = 1'000'000'000; // longest wait for forgets
constexpr uint64_t crowded_ns = 10'000'000;   // a yield takes so long behind others only
constexpr uint64_t sleep_costs_ns = 20'000;   // about, more than a poll that pays
constexpr uint64_t unpolled_most = 4096;
constexpr uint64_t takes_forgets_within = 16; // messages: at most 8 requests go before forgets
constexpr unsigned watch_after = 32;          // requests without a sleep

class DeviceTransport final : public Transport, private ReplyPort, private host::WaitObserver {
public:
    DeviceTransport(int fd, RequestSink& sink, const TransportLimits& limits, Anchor& anchor)
        : fd_(fd), sink_(sink), anchor_(anchor), poll_ns_(uint64_t{limits.poll_us} * 1000),
          thread_count_(limits.threads ? limits.threads
                                       : std::max(least_threads, host::cpu_count() + 2)),
          max_payload_(limits.max_payload), rest_us_(limits.rest_us),
          wake_fd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}
    ~DeviceTransport() override {
        stop();
        if (wake_fd_ >= 0) ::close(wake_fd_);
    }

    std::string_view name() const override { return "dev"; }
    void settle_forgets() override;
    Result<void> start() override;
    void stop() override;

private:
    enum class Wait : uint8_t { request, retire, end };

    ssize_t send(std::span<const iovec> parts) override {
        return ::writev(fd_, parts.data(), static_cast<int>(parts.size()));
    }
    bool takes_splice() const override { return true; }
    /// A client that is alone waits for this answer; where several are, another one asks soon.
    void about_to_wait() override {
        if (running_.load(std::memory_order_relaxed) > 1 && waiting_.load() == 0) promote_one();
    }

    struct Reader {
        explicit Reader(Worker own) : worker(std::move(own)) {}
        Worker worker;
        host::CondVar called;  // with mutex_:
        bool promoted = false; // it is its turn to read
        /// It is taking a message, which may be of forgets, or runs such.
        alignas(64) std::atomic<bool> may_forget{false};
        std::atomic<uint64_t> taken{0}; // messages
    };

    void thread_main(Reader& reader);
    /// Serves until there is nothing to do for this thread. False: until the end.
    bool read_and_run(Reader& reader);
    Wait wait_for_request(Reader& reader, Tether& tether, size_t& got);
    Wait sleep_for_request();
    bool may_poll();
    void note_poll(bool paid, uint64_t waited_ns);
    bool retire();
    void promote_one();
    bool wait_until_promoted(Reader& reader);
    void promote_last() REQUIRES(mutex_);
    void call_watcher() REQUIRES(mutex_);
    void begin_watching();
    bool device_readable(int timeout_ms) const;
    uint64_t taken() const; // messages so far
    /// The message's size; 0: none is there; negative: the end.
    ssize_t read_message(Reader& reader) const;
    void finish();

    // constant after construction
    const int fd_;
    RequestSink& sink_;
    Anchor& anchor_;
    const uint64_t poll_ns_;
    const unsigned thread_count_;
    const size_t max_payload_;
    const unsigned rest_us_;
    const int wake_fd_; // readable: stop
    std::vector<std::unique_ptr<Reader>> readers_;
    std::vector<host::Thread> threads_;

    // self-synchronized
    std::atomic<bool> stopping_{false};
    std::atomic<unsigned> waiting_{0};     // threads that wait for a request, polling or asleep
    std::atomic<unsigned> running_{0};     // threads that run one
    std::atomic<unsigned> streak_{0};      // requests since the last sleep
    std::atomic<unsigned> poll_credit_{8}; // grows with polls that pay, to 8; 0: rarely polls
    std::atomic<unsigned> sleeps_{0};
    std::atomic<unsigned> unpolled_{0}; // waits that are still to be without polling

    host::Mutex mutex_{host::Rank::workers};
    /// The last one is called first: its buffers have memory already.
    std::vector<Reader*> idle_ GUARDED_BY(mutex_);
    bool wanted_ GUARDED_BY(mutex_) = false;       // a promotion was asked for when nobody was idle
    bool watched_ GUARDED_BY(mutex_) = false;      // requests keep coming: look every millisecond
    Reader* watcher_ GUARDED_BY(mutex_) = nullptr; // the idle one that looks
};

Result<void> DeviceTransport::start() {
    const int flags = ::fcntl(fd_, F_GETFL);
    if (wake_fd_ < 0 || flags < 0 || ::fcntl(fd_, F_SETFL, flags | O_NONBLOCK) != 0)
        return errno_from_host(errno);
    for (unsigned i = 0; i < thread_count_; ++i)
        readers_.push_back(std::make_unique<Reader>(TRY(Worker::create(max_payload_))));
    for (auto& reader : readers_)
        threads_.push_back(
            TRY(host::Thread::start("fuse", [this, &reader = *reader] { thread_main(reader); })));
    promote_one();
    return {};
}

void DeviceTransport::stop() {
    finish();
    threads_.clear();
}

void DeviceTransport::finish() {
    stopping_.store(true);
    const uint64_t one = 1;
    (void)!::write(wake_fd_, &one, sizeof one);
    host::MutexGuard guard(mutex_);
    for (Reader* reader : idle_) reader->called.notify_all();
}

void DeviceTransport::thread_main(Reader& reader) {
    host::observe_waits(this);
    while (wait_until_promoted(reader))
        if (!read_and_run(reader)) return;
}

/// Sleeps among the idle threads, until it is this one's turn to read; false: the end.
bool DeviceTransport::wait_until_promoted(Reader& reader) {
    host::MutexGuard guard(mutex_);
    reader.promoted = wanted_;
    wanted_ = false;
    if (!reader.promoted) idle_.push_back(&reader);
    call_watcher();
    while (!reader.promoted && !stopping_.load()) {
        if (watcher_ != &reader) {
            reader.called.wait(mutex_);
        } else if (!reader.called.wait_for(mutex_, watch_ns)) {
            if (streak_.load(std::memory_order_relaxed) == 0) {
                watched_ = false;
                watcher_ = nullptr;
            } else if (waiting_.load() == 0 && device_readable(0)) {
                promote_last();
            }
        }
    }
    return !stopping_.load();
}

void DeviceTransport::promote_one() {
    host::MutexGuard guard(mutex_);
    promote_last();
}

void DeviceTransport::promote_last() {
    if (idle_.empty()) {
        wanted_ = true;
        return;
    }
    Reader& last = *idle_.back();
    idle_.pop_back();
    last.promoted = true;
    last.called.notify_one();
    if (watcher_ == &last) watcher_ = nullptr;
    call_watcher();
}

/// One of the idle threads looks while requests keep coming: the one that sleeps longest.
void DeviceTransport::call_watcher() {
    if (!watched_ || watcher_ || idle_.empty()) return;
    watcher_ = idle_.front();
    watcher_->called.notify_one();
}

/// True, and not waiting any more, when somebody else waits too.
bool DeviceTransport::retire() {
    unsigned waiting = waiting_.load();
    while (waiting > 1)
        if (waiting_.compare_exchange_weak(waiting, waiting - 1)) return true;
    return false;
}

void DeviceTransport::begin_watching() {
    host::MutexGuard guard(mutex_);
    watched_ = true;
    call_watcher();
}

ssize_t DeviceTransport::read_message(Reader& reader) const {
    const auto buffer = reader.worker.message_buffer();
    reader.may_forget.store(true);
    ssize_t got = 0;
    do {
        got = ::read(fd_, buffer.data(), buffer.size());
        // ENOENT: the request was taken back while it was read.
    } while (got < 0 ? errno == EINTR || errno == ENOENT
                     : got < static_cast<ssize_t>(sizeof(fuse_in_header)));
    const bool is_none = got < 0 && errno == EAGAIN;
    if (got > 0) reader.taken.fetch_add(1, std::memory_order_relaxed);
    if (got < 0 || !is_forget(buffer.first(static_cast<size_t>(got))))
        reader.may_forget.store(false);
    return is_none ? 0 : got;
}

/// Another reader takes them up: all that wait, in one message, and that one soon, as the host
/// prefers them to requests most of the time.
void DeviceTransport::settle_forgets() {
    if (thread_count_ < 2) return;
    if (waiting_.load() == 0) promote_one();
    const uint64_t all = taken() + takes_forgets_within;
    const uint64_t until = host::real_clock().monotonic_ns() + settle_ns;
    const auto pending = [&] {
        if (taken() < all && device_readable(0)) return true;
        return std::any_of(readers_.begin(), readers_.end(),
                           [](const auto& reader) { return reader->may_forget.load(); });
    };
    bool crowded = false;
    for (uint64_t now = host::real_clock().monotonic_ns(); now < until && pending();) {
        const timespec pause{.tv_sec = 0, .tv_nsec = 50'000};
        if (crowded)
            ::nanosleep(&pause, nullptr);
        else
            ::sched_yield();
        const uint64_t before = std::exchange(now, host::real_clock().monotonic_ns());
        crowded = crowded || now - before > crowded_ns;
    }
}

uint64_t DeviceTransport::taken() const {
    uint64_t sum = 0;
    for (const auto& reader : readers_) sum += reader->taken.load(std::memory_order_relaxed);
    return sum;
}

bool DeviceTransport::read_and_run(Reader& reader) {
    Tether tether;
    for (;;) {
        size_t got = 0;
        switch (wait_for_request(reader, tether, got)) {
        case Wait::retire:
            return true;
        case Wait::end:
            finish();
            sink_.ended();
            return false;
        case Wait::request:
            break;
        }
        const auto message = reader.worker.message_buffer().first(got);
        // Forgets and the host's writeback are nobody's.
        if (const uint32_t client = header_of(message).pid; client != 0) {
            if (anchor_.note(client))
                tether.follow(client);
            else
                tether.release();
        }
        if (streak_.fetch_add(1, std::memory_order_relaxed) == watch_after) begin_watching();
        if (waiting_.load() == 0 && (may_block(message) || is_large_transfer(message)))
            promote_one();
        running_.fetch_add(1, std::memory_order_relaxed);
        sink_.run(reader.worker, message, *this);
        running_.fetch_sub(1, std::memory_order_relaxed);
        reader.may_forget.store(false);
        if (rest_us_ > 0 && is_forget(message)) ::usleep(rest_us_);
    }
}

/// Takes the next request: at once, by polling, or after a sleep.
DeviceTransport::Wait DeviceTransport::wait_for_request(Reader& reader, Tether& tether,
                                                        size_t& got) {
    auto take = [&](ssize_t size) {
        got = static_cast<size_t>(std::max<ssize_t>(size, 0));
        return size < 0 ? Wait::end : Wait::request;
    };
    if (stopping_.load(std::memory_order_relaxed)) return Wait::end;
    // On its client's CPU the client must run first.
    if (!tether.tied())
        if (const ssize_t size = read_message(reader)) return take(size);

    waiting_.fetch_add(1);
    for (;;) {
        ssize_t size = 0;
        if (may_poll()) {
            const uint64_t start = host::real_clock().monotonic_ns();
            uint64_t waited = 0;
            while (size == 0 && waited < poll_ns_) {
                ::sched_yield(); // the client may be waiting for this CPU
                size = read_message(reader);
                waited = host::real_clock().monotonic_ns() - start;
            }
            note_poll(size > 0, waited);
        }
        if (size == 0) {
            tether.release();
            if (retire()) return Wait::retire;
            if (sleep_for_request() == Wait::end)
                size = -1;
            else
                size = read_message(reader);
        }
        if (size == 0) continue; // another reader took it
        waiting_.fetch_sub(1);
        return take(size);
    }
}

bool DeviceTransport::may_poll() {
    if (poll_ns_ == 0) return false;
    if (const unsigned rest = unpolled_.load(std::memory_order_relaxed); rest > 0) {
        unpolled_.store(rest - 1, std::memory_order_relaxed);
        return false;
    }
    return poll_credit_.load(std::memory_order_relaxed) > 0 ||
           sleeps_.load(std::memory_order_relaxed) % 16 == 0;
}

void DeviceTransport::note_poll(bool paid, uint64_t waited_ns) {
    const unsigned credit = poll_credit_.load(std::memory_order_relaxed);
    if (paid && credit < 8) poll_credit_.store(credit + 1);
    if (!paid && credit > 0) poll_credit_.store(credit - 1);
    // Others have the CPU and do not give it back soon: who is woken gets it sooner.
    if (waited_ns < poll_ns_ + crowded_ns) return;
    unpolled_.store(static_cast<unsigned>(std::min(waited_ns / sleep_costs_ns, unpolled_most)),
                    std::memory_order_relaxed);
}

DeviceTransport::Wait DeviceTransport::sleep_for_request() {
    streak_.store(0, std::memory_order_relaxed);
    sleeps_.fetch_add(1, std::memory_order_relaxed);
    return device_readable(-1) && !stopping_.load() ? Wait::request : Wait::end;
}

/// True also when the device is at its end: reading says so.
bool DeviceTransport::device_readable(int timeout_ms) const {
    pollfd fds[] = {{.fd = fd_, .events = POLLIN, .revents = 0},
                    {.fd = wake_fd_, .events = POLLIN, .revents = 0}};
    while (::poll(fds, 2, timeout_ms) < 0)
        if (errno != EINTR) return false;
    return fds[0].revents != 0;
}

} // namespace

std::unique_ptr<Transport> make_device_transport(int fd, RequestSink& sink,
                                                 const TransportLimits& limits, Anchor& anchor) {
    return std::make_unique<DeviceTransport>(fd, sink, limits, anchor);
}

} // namespace rump::p2k
