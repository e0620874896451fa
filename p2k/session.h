// Session: one FUSE mount that is served. Owns libfuse's low-level session (which speaks the
// protocol), the adapter (which runs requests) and the transports with their threads (which fetch
// requests and bring answers back).
//
//     created ──mount──> mounted ──serve──> serving ──the host unmounts, or stop──> ended
#pragma once

#include "p2k/adapter.h"
#include "p2k/request_counts.h"
#include "p2k/transport.h"
#include "p2k/worker.h"

#include <pthread.h>

#include <memory>
#include <string>
#include <vector>

namespace rump::p2k {

enum class TransportChoice : uint8_t { automatic, uring, device };

struct SessionOptions {
    std::string source;                     // the mount's fsname
    std::string subtype;                    // the mount's type is "fuse." and this
    std::vector<std::string> mount_options; // libfuse's and mount(2)'s: "ro", "allow_other"
    TransportChoice transport = TransportChoice::automatic;
    TransportLimits limits;
    AdapterOptions adapter;
};

class Session final : public RequestHost, public RequestSink {
public:
    /// Failures: EINVAL (an option that libfuse refuses), ENOMEM, what reading the root said.
    static FailureOr<std::unique_ptr<Session>> create(Mount& mount, const SessionOptions& options);
    ~Session();

    /// Makes the host mount it. Failure: the reason in the words of libfuse or fusermount3.
    FailureOr<void> mount(const std::string& mountpoint);
    /// Settles with the host what both can do; the file system is not asked for anything yet, nor
    /// written to. Failure: the host gave up, or lacks what was asked for.
    FailureOr<void> negotiate();
    /// Starts the threads; the mount is live when this returns. Failure: no threads.
    FailureOr<void> serve();
    /// Readable once the host has unmounted, or broken off.
    int ended_fd() const { return ended_fd_; }
    /// Stops serving: the host breaks the connection off if it has not unmounted.
    void stop();
    /// "dev" or "uring", once serving.
    std::string_view transport_name() const;

    // RequestHost
    RequestThread& this_thread() override;
    std::string counters_json() override;
    void settle_forgets() override { device_->settle_forgets(); }
    void forget_attributes(NodeId id) override;

    // RequestSink
    void run(Worker& worker, std::span<const std::byte> message, ReplyPort& port) override;
    void ended() override;
    Log& log() override { return mount_.kernel().log(); }

private:
    Session(Mount& mount, const SessionOptions& options);
    static ssize_t send(int fd, iovec* parts, int count, void* self);
    static ssize_t receive(int fd, void* buffer, size_t size, void* self);
    static ssize_t splice_send(int from, off_t* from_offset, int to, off_t* to_offset, size_t size,
                               unsigned flags, void* user);
    ssize_t send_init(ReplyPort& port, std::span<const iovec> parts);
    TransportLimits limits() const;
    void answer_statx(std::span<const std::byte> message, ReplyPort& port);
    void answer_syncfs(std::span<const std::byte> message, ReplyPort& port);

    // constant once serving
    Mount& mount_;
    const SessionOptions options_;
    RequestCounts counts_;
    pthread_key_t thread_key_{};
    int ended_fd_ = -1;
    int fd_ = -1;
    fuse_session* fuse_ = nullptr;
    std::string mountpoint_;
    std::unique_ptr<Adapter> adapter_;
    Anchor anchor_;
    std::unique_ptr<Transport> device_;
    std::unique_ptr<Transport> uring_;
};

} // namespace rump::p2k
