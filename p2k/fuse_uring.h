// FUSE over io_uring as Linux has it since 6.14: the facts of its interface (linux/fuse.h,
// Documentation/filesystems/fuse-io-uring.rst), which the headers of older systems lack.
//
// The server registers entries, each with a place for headers and one for the payload, in one queue
// per possible CPU. A completion hands over a request in its entry; the server answers and asks for
// the next one by one command. Forgets, interrupts and INIT stay with /dev/fuse.
#pragma once

#include <cstddef>
#include <cstdint>

namespace rump::p2k::uapi {

/// INIT flag, bit 41: offered by a host whose fuse module has enable_uring set.
inline constexpr uint64_t over_io_uring = uint64_t{1} << 41;

enum UringCommand : uint32_t {
    uring_register = 1,
    uring_commit_and_fetch = 2,
};

struct UringEntryInOut {
    uint64_t flags;
    uint64_t commit_id;    // names the request when it is answered
    uint32_t payload_size; // bytes, of the request and of the answer
    uint32_t padding;
    uint64_t reserved;
};

/// The first of the two areas that an entry is registered with; the other is the payload's.
struct UringHeaders {
    std::byte in_out[128];    // fuse_in_header, and fuse_out_header in its place
    std::byte operation[128]; // the operation's own structure
    UringEntryInOut entry;
};
static_assert(sizeof(UringHeaders) == 288 && offsetof(UringHeaders, entry) == 256);

/// Stands in the command area of the submission.
struct UringCommandArguments {
    uint64_t flags;
    uint64_t commit_id;
    uint16_t queue;
    uint8_t padding[6];
};
static_assert(sizeof(UringCommandArguments) == 24);

} // namespace rump::p2k::uapi
