// Serves a libfuse session over this suite's own transports, so that the null server is the limit
// of the transports and not of libfuse's loop.
#pragma once

#include "p2k/fuse.h"
#include "p2k/transport.h"

#include <pthread.h>

#include <memory>
#include <string>

namespace bench {

class OwnTransport final : public rump::p2k::RequestSink {
public:
    OwnTransport(fuse_session* session, bool over_uring);
    ~OwnTransport();

    /// Answers INIT, then serves the session that is mounted there until the host unmounts it or a
    /// signal comes. False: it could not start.
    bool serve(const std::string& mountpoint);
    /// The session's way out: custom I/O calls it.
    ssize_t send(int fd, std::span<const iovec> parts);

    void run(rump::p2k::Worker& worker, std::span<const std::byte> message,
             rump::p2k::ReplyPort& port) override;
    void ended() override;
    rump::host::Log& log() override { return log_; }

private:
    bool answer_init();
    ssize_t send_init(rump::p2k::ReplyPort& port, std::span<const iovec> parts);

    fuse_session* const session_;
    const bool over_uring_;
    const int fd_;
    const int ended_fd_;
    const rump::p2k::TransportLimits limits_;
    pthread_key_t worker_key_{};
    rump::host::Log log_;
    rump::p2k::Anchor anchor_;
    std::unique_ptr<rump::p2k::Transport> uring_, device_;
};

} // namespace bench
