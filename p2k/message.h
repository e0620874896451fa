// A request as the host sends it.
#pragma once

#include <linux/fuse.h>

#include <cstddef>
#include <cstring>
#include <span>

namespace rump::p2k {

/// Zeros when the message is too short to have one.
inline fuse_in_header header_of(std::span<const std::byte> message) {
    fuse_in_header header = {};
    if (message.size() >= sizeof header) std::memcpy(&header, message.data(), sizeof header);
    return header;
}

} // namespace rump::p2k
