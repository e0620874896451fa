// Making NetBSD's log (wapbl(4)) for a file system that has none.
#pragma once

#include "kernel/fs/ffs/volume.h"

namespace rump::ffs {

/// How large a log NetBSD makes for a file system of so many bytes.
uint64_t usual_log_bytes(uint64_t file_system_bytes);

/// Behind the file system when the device goes on there, else a file without a name, in one run of
/// blocks; the inode is on the device when this returns. `sb` says where, and is the caller's to
/// write. Before the mount writes through a log. Failure: ENOSPC; EINVAL: a format without a log.
FailureOr<LogPlace> create_log(Volume& volume, disk::Superblock& sb);

} // namespace rump::ffs
