// A worker: one thread that runs requests, with the buffers that it uses over and over. Where its
// answers go is the transport's (ReplyPort).
#pragma once

#include "p2k/adapter.h"
#include "p2k/page_buffer.h"

#include <sys/uio.h>

namespace rump::p2k {

/// How the answer to the request at hand leaves.
class ReplyPort {
public:
    /// As writev(2): the bytes, or -1 and errno. ENOENT: the request was taken back.
    virtual ssize_t send(std::span<const iovec> parts) = 0;
    /// Where a payload of the answer may be built so that it need not be copied; empty: nowhere.
    virtual std::span<std::byte> payload() { return {}; }
    /// Answers may go to the device by splice(2) too.
    virtual bool takes_splice() const { return false; }

protected:
    ~ReplyPort() = default;
};

class Worker final : public RequestThread {
public:
    /// `max_payload`: of one request or answer. ENOMEM.
    static Result<Worker> create(size_t max_payload);

    Result<std::span<std::byte>> reply_buffer(size_t size) override;
    std::span<const std::byte> message() const override { return message_; }
    bool may_splice() const override { return port_->takes_splice(); }

    /// Room for one message read from /dev/fuse.
    std::span<std::byte> message_buffer() const { return in_.bytes(); }
    /// The request that the following answers belong to. Ended by end().
    void begin(std::span<const std::byte> message, ReplyPort& port) {
        message_ = message;
        port_ = &port;
    }
    void end() { port_ = nullptr; }
    /// Null between requests.
    ReplyPort* port() const { return port_; }

private:
    Worker(PageBuffer in, PageBuffer out) : in_(std::move(in)), out_(std::move(out)) {}

    PageBuffer in_, out_;
    std::span<const std::byte> message_;
    ReplyPort* port_ = nullptr;
};

} // namespace rump::p2k
