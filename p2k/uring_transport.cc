// The transport over FUSE's io_uring queues: one queue per CPU, and on each CPU one thread that
// runs what was asked there. A client's request so wakes a thread on the client's own CPU, which is
// a change of context and no more; the host's memory copies go straight between the client's pages
// and an entry's payload.
//
//     registered ──request──> running ──answer: commit and fetch──> registered
//                                |                                   ^
//                                └──may block──> helper ──done list──┘
//
// A queue's thread runs its requests one after the other. What is known to block goes to helper
// threads, and comes back by the queue's done list, as only the thread that made a ring may use it.
#include "p2k/transport.h"

#include "hostshim/lock.h"
#include "hostshim/thread.h"
#include "p2k/blocking.h"
#include "p2k/cpus.h"
#include "p2k/fuse_uring.h"
#include "p2k/message.h"

#include <liburing.h>
#include <linux/fuse.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <deque>
#include <memory>
#include <vector>

namespace rump::p2k {

namespace {

constexpr size_t page = 4096;
constexpr unsigned helper_count = 2;

/// Entries of a queue: enough for a client's read-ahead, less where there are many queues.
unsigned queue_depth(unsigned queues) { return std::clamp(64 / std::max(queues, 1u), 2u, 8u); }

class Queue;

/// One entry: a request's headers and payload, and where its answer goes.
class Entry final : public ReplyPort {
public:
    /// ENOMEM.
    static Result<std::unique_ptr<Entry>> create(Queue& queue, uint16_t id, size_t max_payload);

    ssize_t send(std::span<const iovec> parts) override;
    std::span<std::byte> payload() override {
        return has_payload_ ? std::span<std::byte>() : payload_area();
    }

    /// The request as /dev/fuse would have given it; empty: it makes no sense.
    std::span<const std::byte> take_message();
    /// An answer in place of the one that nobody gave.
    void send_error_unless_answered();

    Queue& queue() const { return queue_; }
    uint16_t queue_id() const { return id_; }
    uint64_t commit_id() const { return headers().entry.commit_id; }
    const iovec* areas() const { return areas_; }

private:
    // Layout: [headers, one page][room for a message's headers, one page][payload].
    Entry(Queue& queue, uint16_t id, PageBuffer memory)
        : queue_(queue), id_(id),
          memory_(std::move(memory)), areas_{{memory_.bytes().data(), sizeof(uapi::UringHeaders)},
                                             {payload_area().data(), payload_area().size()}} {}
    uapi::UringHeaders& headers() const {
        return *reinterpret_cast<uapi::UringHeaders*>(memory_.bytes().data());
    }
    std::span<std::byte> payload_area() const { return memory_.bytes().subspan(2 * page); }

    Queue& queue_;
    const uint16_t id_;
    PageBuffer memory_;
    const iovec areas_[2];
    bool has_payload_ = false; // of the request
    bool answered_ = false;
};

class UringTransport;

/// The ring of one thread, with the entries of its CPU's queue (and of queues whose CPU we may not
/// use).
class Queue {
public:
    Queue(UringTransport& transport, unsigned cpu) : transport_(transport), cpu_(cpu) {}
    ~Queue();

    Result<void> add_entries(uint16_t id, unsigned depth, size_t max_payload);
    /// The thread: makes the ring, reports, waits for the word, serves.
    void thread_main();
    /// A helper is done with it.
    void finished(Entry& entry);
    void wake();

private:
    bool make_ring();
    void register_files();
    io_uring_sqe* next_submission();
    void submit(Entry& entry, uint32_t command);
    void watch_wakes();
    void serve(Worker& worker);
    void complete(Worker& worker, void* data, int result);
    void take_finished();

    UringTransport& transport_;
    const unsigned cpu_;
    std::vector<std::unique_ptr<Entry>> entries_;
    io_uring ring_{};
    bool ring_made_ = false;
    bool device_registered_ = false; // as file 0 of the ring
    int wake_fd_ = -1;
    size_t registered_ = 0; // entries that the host holds

    host::Mutex mutex_{host::Rank::workers};
    std::vector<Entry*> finished_ GUARDED_BY(mutex_);
};

class UringTransport final : public Transport {
public:
    UringTransport(int fd, RequestSink& sink, const TransportLimits& limits, Anchor& anchor)
        : fd_(fd), sink_(sink), anchor_(anchor),
          max_payload_(std::max<size_t>(limits.max_payload, 1u << 20)) {}
    ~UringTransport() override { stop(); }

    std::string_view name() const override { return "uring"; }
    Result<void> prepare() override;
    Result<void> start() override;
    void stop() override;

    int device() const { return fd_; }
    RequestSink& sink() const { return sink_; }
    Anchor& anchor() const { return anchor_; }
    size_t max_payload() const { return max_payload_; }
    bool stopping() const { return stopping_.load(std::memory_order_relaxed); }
    /// Called by each queue's thread when its ring is there, or cannot be made. Waits for start():
    /// true, or stop(): false.
    bool report_and_wait(bool made);
    /// Gives the request to a helper. False: all are busy, and it need not be (`must`).
    bool help(Entry& entry, bool must);

private:
    void helper_main(Worker& worker);

    const int fd_;
    RequestSink& sink_;
    Anchor& anchor_;
    const size_t max_payload_;
    std::vector<std::unique_ptr<Queue>> queues_;
    std::vector<Worker> helper_workers_;
    std::vector<host::Thread> threads_;
    std::atomic<bool> stopping_{false};

    host::Mutex mutex_{host::Rank::workers};
    host::CondVar changed_;
    host::CondVar help_came_;
    unsigned reported_ GUARDED_BY(mutex_) = 0;
    bool failed_ GUARDED_BY(mutex_) = false;
    bool started_ GUARDED_BY(mutex_) = false;
    std::deque<Entry*> help_wanted_ GUARDED_BY(mutex_);
    size_t idle_helpers_ GUARDED_BY(mutex_) = 0;
};

// --- Entry -------------------------------------------------------------------------------------

Result<std::unique_ptr<Entry>> Entry::create(Queue& queue, uint16_t id, size_t max_payload) {
    auto memory = TRY(PageBuffer::create(2 * page + max_payload));
    return std::unique_ptr<Entry>(new Entry(queue, id, std::move(memory)));
}

/// The payload stands where it is; the headers are put right before it.
std::span<const std::byte> Entry::take_message() {
    uapi::UringHeaders& from = headers();
    fuse_in_header in;
    std::memcpy(&in, from.in_out, sizeof in);
    const size_t payload_size = from.entry.payload_size;
    has_payload_ = payload_size > 0;
    answered_ = false;
    if (in.len < sizeof in + payload_size || payload_size > payload_area().size()) return {};
    const size_t operation_size = in.len - sizeof in - payload_size;
    if (operation_size > sizeof from.operation) return {};
    std::byte* operation = payload_area().data() - operation_size;
    std::byte* start = operation - sizeof in;
    std::memcpy(start, &in, sizeof in);
    std::memcpy(operation, from.operation, operation_size);
    return {start, in.len};
}

ssize_t Entry::send(std::span<const iovec> parts) {
    if (parts.empty() || parts[0].iov_len != sizeof(fuse_out_header)) {
        errno = EINVAL;
        return -1;
    }
    std::memcpy(headers().in_out, parts[0].iov_base, sizeof(fuse_out_header));
    const auto area = payload_area();
    size_t used = 0;
    for (const iovec& part : parts.subspan(1)) {
        if (part.iov_len > area.size() - used) {
            errno = EINVAL;
            return -1;
        }
        if (part.iov_base != area.data() + used)
            std::memmove(area.data() + used, part.iov_base, part.iov_len);
        used += part.iov_len;
    }
    headers().entry.payload_size = static_cast<uint32_t>(used);
    answered_ = true;
    return static_cast<ssize_t>(sizeof(fuse_out_header) + used);
}

void Entry::send_error_unless_answered() {
    if (answered_) return;
    fuse_in_header in;
    std::memcpy(&in, headers().in_out, sizeof in);
    fuse_out_header out = {.len = sizeof out, .error = -EIO, .unique = in.unique};
    const iovec part = {&out, sizeof out};
    (void)send({&part, 1});
}

// --- Queue -------------------------------------------------------------------------------------

Queue::~Queue() {
    if (ring_made_) ::io_uring_queue_exit(&ring_);
    if (wake_fd_ >= 0) ::close(wake_fd_);
}

Result<void> Queue::add_entries(uint16_t id, unsigned depth, size_t max_payload) {
    for (unsigned i = 0; i < depth; ++i)
        entries_.push_back(TRY(Entry::create(*this, id, max_payload)));
    return {};
}

/// Newer hosts deliver completions more cheaply to a ring that only one thread uses.
bool Queue::make_ring() {
    wake_fd_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (wake_fd_ < 0) return false;
    const auto size = static_cast<unsigned>(entries_.size() + 2);
    for (unsigned flags :
         {IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN, IORING_SETUP_COOP_TASKRUN, 0u}) {
        if (::io_uring_queue_init(size, &ring_, flags | IORING_SETUP_SQE128) != 0) continue;
        ring_made_ = true;
        register_files();
        return true;
    }
    return false;
}

/// What each submission names is looked up once. Not everywhere allowed, nor needed.
void Queue::register_files() {
    (void)::io_uring_register_ring_fd(&ring_);
    const int device = transport_.device();
    device_registered_ = ::io_uring_register_files(&ring_, &device, 1) == 0;
}

void Queue::thread_main() {
    (void)bind_to({cpu_});
    auto worker = Worker::create(transport_.max_payload());
    if (!transport_.report_and_wait(worker.ok() && make_ring())) return;
    serve(*worker);
}

io_uring_sqe* Queue::next_submission() {
    io_uring_sqe* sqe = ::io_uring_get_sqe(&ring_);
    if (!sqe) { // full: hand over what is there
        (void)::io_uring_submit(&ring_);
        sqe = ::io_uring_get_sqe(&ring_);
    }
    ASSERT(sqe);
    std::memset(sqe, 0, 2 * sizeof *sqe);
    return sqe;
}

void Queue::submit(Entry& entry, uint32_t command) {
    io_uring_sqe* sqe = next_submission();
    sqe->opcode = IORING_OP_URING_CMD;
    sqe->fd = device_registered_ ? 0 : transport_.device();
    if (device_registered_) sqe->flags |= IOSQE_FIXED_FILE;
    sqe->cmd_op = command;
    sqe->user_data = reinterpret_cast<uint64_t>(&entry);
    uapi::UringCommandArguments arguments = {.queue = entry.queue_id()};
    if (command == uapi::uring_register) {
        sqe->addr = reinterpret_cast<uint64_t>(entry.areas());
        sqe->len = 2;
    } else {
        arguments.commit_id = entry.commit_id();
    }
    std::memcpy(sqe->cmd, &arguments, sizeof arguments);
}

void Queue::watch_wakes() {
    io_uring_sqe* sqe = next_submission();
    ::io_uring_prep_poll_add(sqe, wake_fd_, POLLIN);
    sqe->user_data = 0;
}

void Queue::wake() {
    const uint64_t one = 1;
    if (wake_fd_ >= 0) (void)!::write(wake_fd_, &one, sizeof one);
}

void Queue::finished(Entry& entry) {
    {
        host::MutexGuard guard(mutex_);
        finished_.push_back(&entry);
    }
    wake();
}

void Queue::take_finished() {
    uint64_t wakes;
    (void)!::read(wake_fd_, &wakes, sizeof wakes);
    std::vector<Entry*> entries;
    {
        host::MutexGuard guard(mutex_);
        entries.swap(finished_);
    }
    for (Entry* entry : entries) submit(*entry, uapi::uring_commit_and_fetch);
}

void Queue::serve(Worker& worker) {
    watch_wakes();
    for (auto& entry : entries_) submit(*entry, uapi::uring_register);
    registered_ = entries_.size();
    while (!transport_.stopping() && registered_ > 0) {
        const int submitted = ::io_uring_submit_and_wait(&ring_, 1);
        if (submitted < 0 && submitted != -EINTR && submitted != -EAGAIN && submitted != -EBUSY) {
            transport_.sink().log().error("io_uring: {}",
                                          errno_message(errno_from_host(-submitted)));
            return;
        }
        io_uring_cqe* cqe = nullptr;
        while (::io_uring_peek_cqe(&ring_, &cqe) == 0) {
            void* data = reinterpret_cast<void*>(cqe->user_data);
            const int result = cqe->res;
            ::io_uring_cqe_seen(&ring_, cqe);
            complete(worker, data, result);
            // An answer does not wait for the next request to be run.
            if (::io_uring_cq_ready(&ring_) > 0) (void)::io_uring_submit(&ring_);
        }
    }
}

void Queue::complete(Worker& worker, void* data, int result) {
    if (!data) {
        take_finished();
        watch_wakes();
        return;
    }
    Entry& entry = *static_cast<Entry*>(data);
    if (result < 0) { // unmounted, or the host refuses to register: it uses /dev/fuse then
        if (result != -ENOTCONN && result != -ECANCELED && result != -ECONNABORTED)
            transport_.sink().log().warning("FUSE over io_uring: {}",
                                            errno_message(errno_from_host(-result)));
        --registered_;
        return;
    }
    const auto message = entry.take_message();
    // Writeback is large writes that one thread of the host sends: another CPU copies them
    // meanwhile, if one has nothing to do.
    const bool is_large_write =
        header_of(message).opcode == FUSE_WRITE && is_large_transfer(message);
    if ((may_block(message) || is_large_write) && transport_.help(entry, may_block(message)))
        return;
    if (!message.empty()) {
        if (const uint32_t client = header_of(message).pid; client != 0)
            (void)transport_.anchor().note(client);
        transport_.sink().run(worker, message, entry);
    }
    entry.send_error_unless_answered();
    submit(entry, uapi::uring_commit_and_fetch);
}

// --- UringTransport ----------------------------------------------------------------------------

Result<void> UringTransport::prepare() {
    const unsigned possible = possible_cpus();
    const std::vector<unsigned> cpus = allowed_cpus();
    if (possible == 0 || possible > UINT16_MAX || cpus.empty()) return Errno::nosys;
    for (unsigned cpu : cpus) queues_.push_back(std::make_unique<Queue>(*this, cpu));
    const unsigned depth = queue_depth(possible);
    for (unsigned id = 0; id < possible; ++id) {
        const auto own = std::find(cpus.begin(), cpus.end(), id);
        const size_t at =
            own != cpus.end() ? static_cast<size_t>(own - cpus.begin()) : id % queues_.size();
        TRY(queues_[at]->add_entries(static_cast<uint16_t>(id), own != cpus.end() ? depth : 1,
                                     max_payload_));
    }
    for (auto& queue : queues_)
        threads_.push_back(
            TRY(host::Thread::start("fuse-uring", [&queue = *queue] { queue.thread_main(); })));
    host::MutexGuard guard(mutex_);
    while (reported_ < queues_.size()) changed_.wait(mutex_);
    return failed_ ? Result<void>(Errno::nosys) : Result<void>();
}

bool UringTransport::report_and_wait(bool made) {
    host::MutexGuard guard(mutex_);
    ++reported_;
    failed_ = failed_ || !made;
    changed_.notify_all();
    while (!started_ && !stopping()) changed_.wait(mutex_);
    return started_ && !stopping();
}

Result<void> UringTransport::start() {
    for (unsigned i = 0; i < helper_count; ++i)
        helper_workers_.push_back(TRY(Worker::create(max_payload_)));
    for (Worker& worker : helper_workers_)
        threads_.push_back(
            TRY(host::Thread::start("fuse-helper", [this, &worker] { helper_main(worker); })));
    host::MutexGuard guard(mutex_);
    started_ = true;
    changed_.notify_all();
    return {};
}

void UringTransport::stop() {
    stopping_.store(true);
    {
        host::MutexGuard guard(mutex_);
        changed_.notify_all();
        help_came_.notify_all();
    }
    for (auto& queue : queues_) queue->wake();
    threads_.clear();
    queues_.clear();
}

bool UringTransport::help(Entry& entry, bool must) {
    host::MutexGuard guard(mutex_);
    if (!must && help_wanted_.size() >= idle_helpers_) return false;
    help_wanted_.push_back(&entry);
    help_came_.notify_one();
    return true;
}

void UringTransport::helper_main(Worker& worker) {
    for (;;) {
        Entry* entry = nullptr;
        {
            host::MutexGuard guard(mutex_);
            ++idle_helpers_;
            while (help_wanted_.empty() && !stopping()) help_came_.wait(mutex_);
            --idle_helpers_;
            if (help_wanted_.empty()) return;
            entry = help_wanted_.front();
            help_wanted_.pop_front();
        }
        sink_.run(worker, entry->take_message(), *entry);
        entry->send_error_unless_answered();
        entry->queue().finished(*entry);
    }
}

} // namespace

std::unique_ptr<Transport> make_uring_transport(int fd, RequestSink& sink,
                                                const TransportLimits& limits, Anchor& anchor) {
    return std::make_unique<UringTransport>(fd, sink, limits, anchor);
}

} // namespace rump::p2k
