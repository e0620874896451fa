// See worker.h.
#include "p2k/worker.h"

namespace rump::p2k {

namespace {
/// What stands before a payload: headers of the message and of the operation, names.
constexpr size_t header_room = 64u << 10;
} // namespace

Result<Worker> Worker::create(size_t max_payload) {
    auto in = TRY(PageBuffer::create(max_payload + header_room));
    auto out = TRY(PageBuffer::create(max_payload + header_room));
    return Worker(std::move(in), std::move(out));
}

Result<std::span<std::byte>> Worker::reply_buffer(size_t size) {
    if (port_)
        if (auto payload = port_->payload(); payload.size() >= size) return payload;
    if (out_.bytes().size() < size) return Errno::nomem;
    return out_.bytes();
}

} // namespace rump::p2k
