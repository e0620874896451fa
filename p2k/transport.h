// Transports: how requests come from the host's kernel and answers go back. Each owns its threads.
#pragma once

#include "hostshim/log.h"
#include "p2k/anchor.h"
#include "p2k/worker.h"

#include <memory>

namespace rump::p2k {

using host::Log;

/// What a transport does with a request.
class RequestSink {
public:
    /// Runs one message and answers it through `port` before it returns. The calling thread serves
    /// no other request meanwhile.
    virtual void run(Worker& worker, std::span<const std::byte> message, ReplyPort& port) = 0;
    /// The host has unmounted, or the connection is broken.
    virtual void ended() = 0;
    virtual Log& log() = 0;

protected:
    ~RequestSink() = default;
};

struct TransportLimits {
    unsigned threads = 0;   // 0: by the number of CPUs
    unsigned poll_us = 50;  // longest busy wait for the next request
    size_t max_payload = 0; // of one request or answer
    unsigned rest_us = 0;   // after a forget, so that the next ones come together
};

class Transport {
public:
    virtual ~Transport() = default;
    virtual std::string_view name() const = 0;
    /// Makes what may fail before the host is told that this transport is used. ENOSYS: the host
    /// does not have it; ENOMEM.
    virtual Result<void> prepare() { return {}; }
    /// EAGAIN (no threads), ENOMEM.
    virtual Result<void> start() = 0;
    /// See RequestHost. Called by a thread that runs a request.
    virtual void settle_forgets() {}
    /// Ends and joins the threads. Answers of requests that run are still sent.
    virtual void stop() = 0;
};

/// /dev/fuse: `fd`, which stays the caller's.
std::unique_ptr<Transport> make_device_transport(int fd, RequestSink& sink,
                                                 const TransportLimits& limits, Anchor& anchor);

/// FUSE's io_uring queues. prepare() before the answer to INIT, start() after it. Forgets and
/// interrupts come by /dev/fuse as before.
std::unique_ptr<Transport> make_uring_transport(int fd, RequestSink& sink,
                                                const TransportLimits& limits, Anchor& anchor);

} // namespace rump::p2k
