// See blocking.h.
#include "p2k/blocking.h"

#include "p2k/message.h"

#include <cstring>

namespace rump::p2k {

namespace {

constexpr size_t large_transfer = 128u << 10;

} // namespace

bool may_block(std::span<const std::byte> message) {
    switch (header_of(message).opcode) {
    case FUSE_FLUSH:
    case FUSE_FSYNC:
    case FUSE_FSYNCDIR:
    case FUSE_SYNCFS:
    case FUSE_FALLOCATE:
    case FUSE_COPY_FILE_RANGE:
    case FUSE_IOCTL:
        return true;
    default:
        return false;
    }
}

bool is_large_transfer(std::span<const std::byte> message) {
    const fuse_in_header header = header_of(message);
    if (header.opcode == FUSE_WRITE) return message.size() > large_transfer;
    fuse_read_in in;
    if (header.opcode != FUSE_READ || message.size() < sizeof header + sizeof in) return false;
    std::memcpy(&in, message.data() + sizeof header, sizeof in);
    return in.size > large_transfer;
}

bool is_forget(std::span<const std::byte> message) {
    const uint32_t opcode = header_of(message).opcode;
    return opcode == FUSE_FORGET || opcode == FUSE_BATCH_FORGET;
}

} // namespace rump::p2k
