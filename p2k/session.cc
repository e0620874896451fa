// See session.h.
#include "p2k/session.h"

#include "p2k/fuse_uring.h"
#include "p2k/read_ahead.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/fuse.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>

namespace rump::p2k {

namespace {

/// How long an anchor is held after a request, in poll_us: a client that goes on works a little
/// between its requests.
constexpr uint64_t linger_polls = 2;

/// Half of the largest request: measured fastest, and whatever its extents it fits the pipe that an
/// ordinary user may make, so that it can be answered by splice(2).
constexpr size_t read_ahead_bytes = 512u << 10;

/// Over io_uring forgets alone come by the device. One wake for a few of them disturbs their client
/// less than one each.
constexpr unsigned forgets_rest_us = 500;

/// Commas and backslashes of a value end it in libfuse's option strings unless escaped.
std::string escape(std::string_view value) {
    std::string escaped;
    for (char c : value) {
        if (c == ',' || c == '\\') escaped.push_back('\\');
        escaped.push_back(c);
    }
    return escaped;
}

std::vector<std::string> libfuse_arguments(const SessionOptions& options) {
    std::vector<std::string> arguments = {options.subtype};
    arguments.push_back("-ofsname=" + escape(options.source));
    arguments.push_back("-osubtype=" + escape(options.subtype));
    for (const std::string& option : options.mount_options) arguments.push_back("-o" + option);
    return arguments;
}

/// Standard error goes to a file in memory while this lives, so that what libfuse and fusermount3
/// print becomes one line of ours.
class StderrCapture {
public:
    StderrCapture() : file_(::memfd_create("stderr", MFD_CLOEXEC)), saved_(::dup(2)) {
        if (file_ >= 0 && saved_ >= 0) ::dup2(file_, 2);
    }
    ~StderrCapture() {
        if (saved_ >= 0) {
            ::dup2(saved_, 2);
            ::close(saved_);
        }
        if (file_ >= 0) ::close(file_);
    }
    StderrCapture(const StderrCapture&) = delete;
    StderrCapture& operator=(const StderrCapture&) = delete;

    /// The last line, without the name of who printed it; empty: nothing was printed.
    std::string last_line() const {
        char text[4096];
        const ssize_t size = ::pread(file_, text, sizeof text, 0);
        std::string_view rest(text, size > 0 ? static_cast<size_t>(size) : 0);
        while (rest.ends_with('\n')) rest.remove_suffix(1);
        if (const size_t at = rest.rfind('\n'); at != rest.npos) rest.remove_prefix(at + 1);
        for (std::string_view who : {"fuse: ", "fusermount3: ", "fusermount: "})
            if (rest.starts_with(who)) rest.remove_prefix(who.size());
        return std::string(rest);
    }

private:
    int file_, saved_;
};

} // namespace

Session::Session(Mount& mount, const SessionOptions& options)
    : mount_(mount), options_(options), counts_(mount.kernel().counters()),
      anchor_(uint64_t{options.limits.poll_us} * linger_polls * 1000) {}

FailureOr<std::unique_ptr<Session>> Session::create(Mount& mount, const SessionOptions& options) {
    auto session = std::unique_ptr<Session>(new Session(mount, options));
    if (const int error = ::pthread_key_create(&session->thread_key_, nullptr))
        return Failure(errno_from_host(error));
    session->ended_fd_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (session->ended_fd_ < 0) return Failure(errno_from_host(errno));
    auto adapter = Adapter::create(mount, *session, options.adapter);
    if (!adapter.ok()) return Failure(adapter.error(), "cannot read the root directory");
    session->adapter_ = std::move(*adapter);

    std::vector<std::string> arguments = libfuse_arguments(options);
    std::vector<char*> argv;
    for (std::string& argument : arguments) argv.push_back(argument.data());
    fuse_args args = FUSE_ARGS_INIT(static_cast<int>(argv.size()), argv.data());
    StderrCapture capture;
    session->fuse_ = fuse_session_new(&args, &Adapter::operations(), sizeof(fuse_lowlevel_ops),
                                      session->adapter_.get());
    fuse_opt_free_args(&args);
    if (!session->fuse_) return Failure(Errno::inval, capture.last_line());
    return session;
}

Session::~Session() {
    stop();
    if (fuse_) fuse_session_destroy(fuse_); // closes the device
    adapter_.reset();
    if (ended_fd_ >= 0) {
        ::close(ended_fd_);
        ::pthread_key_delete(thread_key_);
    }
}

FailureOr<void> Session::mount(const std::string& mountpoint) {
    StderrCapture capture;
    if (fuse_session_mount(fuse_, mountpoint.c_str()) != 0) {
        std::string reason = capture.last_line();
        return Failure(Errno::io, reason.empty() ? "the host refused the mount" : reason);
    }
    mountpoint_ = mountpoint;
    fd_ = fuse_session_fd(fuse_);
    const fuse_custom_io io = {
        .writev = send, .read = receive, .splice_receive = nullptr, .splice_send = splice_send};
    if (const int error = fuse_session_custom_io(fuse_, &io, fd_))
        return Failure(errno_from_host(-error));
    return {};
}

FailureOr<void> Session::serve() {
    TransportLimits limits = this->limits();
    if (auto started = anchor_.start(); !started.ok())
        return Failure(started.error(), "cannot start threads");
    if (uring_) {
        limits.threads = limits.threads ? limits.threads : 2; // for forgets
        limits.poll_us = 0;
        limits.rest_us = forgets_rest_us;
    }
    device_ = make_device_transport(fd_, *this, limits, anchor_);
    for (Transport* transport : {device_.get(), uring_.get()})
        if (auto started = transport ? transport->start() : Result<void>(); !started.ok())
            return Failure(started.error(), "cannot start threads");
    raise_read_ahead(mountpoint_, read_ahead_bytes);
    return {};
}

TransportLimits Session::limits() const {
    TransportLimits limits = options_.limits;
    limits.max_payload = options_.adapter.max_write;
    return limits;
}

namespace {

/// Answers through the device; for the thread that mounts.
class DevicePort final : public ReplyPort {
public:
    explicit DevicePort(int fd) : fd_(fd) {}
    ssize_t send(std::span<const iovec> parts) override {
        return ::writev(fd_, parts.data(), static_cast<int>(parts.size()));
    }

private:
    int fd_;
};

} // namespace

FailureOr<void> Session::negotiate() {
    Worker worker = TRY(Worker::create(options_.adapter.max_write));
    DevicePort port(fd_);
    const auto buffer = worker.message_buffer();
    for (;;) {
        const ssize_t got = ::read(fd_, buffer.data(), buffer.size());
        if (got < 0 && (errno == EINTR || errno == ENOENT)) continue;
        if (got < 0 && errno == EAGAIN) {
            pollfd ready = {.fd = fd_, .events = POLLIN, .revents = 0};
            (void)::poll(&ready, 1, -1);
            continue;
        }
        if (got < static_cast<ssize_t>(sizeof(fuse_in_header)))
            return Failure(Errno::io, "the host took the mount away");
        fuse_in_header header;
        std::memcpy(&header, buffer.data(), sizeof header);
        run(worker, buffer.first(static_cast<size_t>(got)), port);
        if (header.opcode != FUSE_INIT) continue;
        if (fuse_session_exited(fuse_))
            return Failure(Errno::io, "the host's FUSE protocol is too old");
        if (options_.transport == TransportChoice::uring && !uring_)
            return Failure(Errno::opnotsupp, "transport=uring: the host does not offer FUSE over "
                                             "io_uring (enable_uring of its fuse module)");
        return {};
    }
}

void Session::run(Worker& worker, std::span<const std::byte> message, ReplyPort& port) {
    fuse_in_header header;
    std::memcpy(&header, message.data(), sizeof header);
    counts_.count(header.opcode);
    if (header.opcode == FUSE_SYNCFS) {
        answer_syncfs(message, port);
        return;
    }
    if (header.opcode == uapi::opcode_statx) {
        answer_statx(message, port);
        return;
    }
    worker.begin(message, port);
    ::pthread_setspecific(thread_key_, &worker);
    fuse_buf buf = {};
    buf.size = message.size();
    buf.mem = const_cast<std::byte*>(message.data());
    fuse_session_process_buf(fuse_, &buf);
    worker.end();
}

void Session::answer_syncfs(std::span<const std::byte> message, ReplyPort& port) {
    fuse_in_header in;
    std::memcpy(&in, message.data(), sizeof in);
    const auto synced = adapter_->sync();
    fuse_out_header out = {
        .len = sizeof out, .error = synced.ok() ? 0 : -to_int(synced.error()), .unique = in.unique};
    const iovec part = {.iov_base = &out, .iov_len = sizeof out};
    (void)port.send({&part, 1});
}

void Session::answer_statx(std::span<const std::byte> message, ReplyPort& port) {
    fuse_in_header in;
    std::memcpy(&in, message.data(), sizeof in);
    auto answer = adapter_->statx(in.nodeid);
    uapi::StatxOut body = {};
    fuse_out_header out = {.len = sizeof out, .error = 0, .unique = in.unique};
    if (answer.ok()) {
        body = *answer;
        out.len += sizeof body;
    } else {
        out.error = -to_int(answer.error());
    }
    const iovec parts[] = {{.iov_base = &out, .iov_len = sizeof out},
                           {.iov_base = &body, .iov_len = sizeof body}};
    (void)port.send(std::span(parts).first(answer.ok() ? 2 : 1));
}

/// libfuse's way out: an answer goes where its request came from, a notification to the device.
ssize_t Session::send(int fd, iovec* parts, int count, void* user) {
    // libfuse hands over the user data of the requests, the adapter: its host is the session.
    Session& self = static_cast<Session&>(static_cast<Adapter*>(user)->host());
    const auto* header = static_cast<const fuse_out_header*>(parts[0].iov_base);
    const std::span<const iovec> all(parts, static_cast<size_t>(count));
    auto* worker = static_cast<Worker*>(::pthread_getspecific(self.thread_key_));
    if (header->unique == 0 || !worker || !worker->port()) return ::writev(fd, parts, count);
    fuse_in_header request;
    std::memcpy(&request, worker->message().data(), sizeof request);
    if (request.opcode == FUSE_INIT) return self.send_init(*worker->port(), all);
    return worker->port()->send(all);
}

ssize_t Session::receive(int fd, void* buffer, size_t size, void*) {
    return ::read(fd, buffer, size);
}

ssize_t Session::splice_send(int from, off_t* from_offset, int to, off_t* to_offset, size_t size,
                             unsigned flags, void*) {
    return ::splice(from, from_offset, to, to_offset, size, flags);
}

/// Adds to libfuse's answer what it does not know of.
ssize_t Session::send_init(ReplyPort& port, std::span<const iovec> parts) {
    fuse_init_out out = {};
    if (parts.size() != 2 || parts[1].iov_len > sizeof out) return port.send(parts);
    std::memcpy(&out, parts[1].iov_base, parts[1].iov_len);
    uint64_t extra = adapter_->extra_init_flags();
    if (options_.transport != TransportChoice::device && adapter_->offers_uring()) {
        uring_ = make_uring_transport(fd_, *this, limits(), anchor_);
        if (uring_->prepare().ok())
            extra |= uapi::over_io_uring;
        else
            uring_.reset();
    }
    out.flags |= static_cast<uint32_t>(extra);
    if (extra >> 32) {
        out.flags |= FUSE_INIT_EXT;
        out.flags2 |= static_cast<uint32_t>(extra >> 32);
    }
    const iovec patched[] = {parts[0], {.iov_base = &out, .iov_len = parts[1].iov_len}};
    return port.send(patched);
}

void Session::ended() {
    const uint64_t one = 1;
    (void)!::write(ended_fd_, &one, sizeof one);
}

void Session::stop() {
    if (uring_) uring_->stop();
    if (device_) device_->stop();
    anchor_.stop();
    uring_.reset();
    device_.reset();
}

std::string_view Session::transport_name() const { return uring_ ? uring_->name() : "dev"; }

RequestThread& Session::this_thread() {
    return *static_cast<Worker*>(::pthread_getspecific(thread_key_));
}

void Session::forget_attributes(NodeId id) {
    (void)fuse_lowlevel_notify_inval_inode(fuse_, id, -1, 0);
}

std::string Session::counters_json() {
    std::string json = "{\n";
    mount_.kernel().counters().each([&](std::string_view name, uint64_t value) {
        json += fmt::format("  \"{}\": {},\n", name, value);
    });
    json += fmt::format("  \"fuse.transport\": \"{}\"\n}}\n", transport_name());
    // Numbers grow between the question for the size and the one for the value.
    json.append(512 - json.size() % 512, ' ');
    return json;
}

} // namespace rump::p2k
