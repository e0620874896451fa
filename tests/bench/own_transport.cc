// See own_transport.h.
#include "tests/bench/own_transport.h"

#include "p2k/fuse_uring.h"
#include "p2k/message.h"
#include "p2k/read_ahead.h"

#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>

namespace bench {

using namespace rump::p2k;

namespace {

constexpr unsigned poll_us = 50; // as the daemons' default
constexpr size_t largest_request = 1u << 20;

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

OwnTransport::OwnTransport(fuse_session* session, bool over_uring)
    : session_(session), over_uring_(over_uring), fd_(fuse_session_fd(session)),
      ended_fd_(::eventfd(0, EFD_CLOEXEC)), limits_{.threads = 0,
                                                    .poll_us = poll_us,
                                                    .max_payload = largest_request,
                                                    .rest_us = 0},
      log_([](rump::host::LogLevel, std::string_view message) {
          std::fprintf(stderr, "null_server: %.*s\n", static_cast<int>(message.size()),
                       message.data());
      }),
      anchor_(uint64_t{2} * poll_us * 1000) {
    (void)::pthread_key_create(&worker_key_, nullptr);
}

OwnTransport::~OwnTransport() {
    if (uring_) uring_->stop();
    if (device_) device_->stop();
    anchor_.stop();
    ::close(ended_fd_);
    ::pthread_key_delete(worker_key_);
}

bool OwnTransport::serve(const std::string& mountpoint) {
    sigset_t signals;
    ::sigemptyset(&signals);
    for (int number : {SIGINT, SIGTERM, SIGHUP}) ::sigaddset(&signals, number);
    ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
    const int signal_fd = ::signalfd(-1, &signals, SFD_CLOEXEC);
    if (!answer_init() || !anchor_.start().ok()) return false;
    TransportLimits limits = limits_;
    if (uring_) {
        if (!uring_->start().ok()) return false;
        limits.threads = 2;
        limits.poll_us = 0;
        limits.rest_us = 500;
    }
    device_ = make_device_transport(fd_, *this, limits, anchor_);
    if (!device_->start().ok()) return false;
    raise_read_ahead(mountpoint, largest_request);
    pollfd fds[] = {{.fd = ended_fd_, .events = POLLIN, .revents = 0},
                    {.fd = signal_fd, .events = POLLIN, .revents = 0}};
    (void)::poll(fds, 2, -1);
    ::close(signal_fd);
    return true;
}

bool OwnTransport::answer_init() {
    auto worker = Worker::create(largest_request);
    if (!worker.ok()) return false;
    DevicePort port(fd_);
    for (;;) {
        const ssize_t got =
            ::read(fd_, worker->message_buffer().data(), worker->message_buffer().size());
        if (got < static_cast<ssize_t>(sizeof(fuse_in_header))) return false;
        const auto message = worker->message_buffer().first(static_cast<size_t>(got));
        run(*worker, message, port);
        if (header_of(message).opcode == FUSE_INIT) return !over_uring_ || uring_;
    }
}

void OwnTransport::run(Worker& worker, std::span<const std::byte> message, ReplyPort& port) {
    worker.begin(message, port);
    ::pthread_setspecific(worker_key_, &worker);
    fuse_buf buf = {};
    buf.size = message.size();
    buf.mem = const_cast<std::byte*>(message.data());
    fuse_session_process_buf(session_, &buf);
    worker.end();
}

ssize_t OwnTransport::send(int fd, std::span<const iovec> parts) {
    auto* worker = static_cast<Worker*>(::pthread_getspecific(worker_key_));
    if (!worker || !worker->port())
        return ::writev(fd, parts.data(), static_cast<int>(parts.size()));
    if (over_uring_ && header_of(worker->message()).opcode == FUSE_INIT)
        return send_init(*worker->port(), parts);
    return worker->port()->send(parts);
}

/// Adds what libfuse does not know of: queues.
ssize_t OwnTransport::send_init(ReplyPort& port, std::span<const iovec> parts) {
    fuse_init_out out = {};
    if (parts.size() != 2 || parts[1].iov_len > sizeof out) return port.send(parts);
    std::memcpy(&out, parts[1].iov_base, parts[1].iov_len);
    uring_ = make_uring_transport(fd_, *this, limits_, anchor_);
    if (uring_->prepare().ok()) {
        out.flags |= FUSE_INIT_EXT;
        out.flags2 |= static_cast<uint32_t>(uapi::over_io_uring >> 32);
    } else {
        uring_.reset();
    }
    const iovec patched[] = {parts[0], {.iov_base = &out, .iov_len = parts[1].iov_len}};
    return port.send(patched);
}

void OwnTransport::ended() {
    const uint64_t one = 1;
    (void)!::write(ended_fd_, &one, sizeof one);
}

} // namespace bench
