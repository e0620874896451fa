// FUSE_STATX as Linux has it since 6.6: the facts of its interface (linux/fuse.h), which the
// headers and the libfuse of older systems lack.
#pragma once

#include <cstdint>

namespace rump::p2k::uapi {

inline constexpr uint32_t opcode_statx = 52;

struct StatxTime {
    int64_t seconds;
    uint32_t nanoseconds;
    int32_t reserved;
};

struct Statx {
    uint32_t mask; // STATX_*: what is filled in
    uint32_t block_size;
    uint64_t attributes;
    uint32_t links;
    uint32_t uid;
    uint32_t gid;
    uint16_t mode;
    uint16_t spare;
    uint64_t inode;
    uint64_t size;
    uint64_t blocks; // 512 bytes each
    uint64_t attributes_mask;
    StatxTime atime, btime, ctime, mtime;
    uint32_t rdev_major, rdev_minor;
    uint32_t dev_major, dev_minor;
    uint64_t spares[14];
};
static_assert(sizeof(Statx) == 256);

struct StatxOut {
    uint64_t valid_seconds;
    uint32_t valid_nanoseconds;
    uint32_t flags;
    uint64_t spares[2];
    Statx stat;
};
static_assert(sizeof(StatxOut) == 288);

} // namespace rump::p2k::uapi
