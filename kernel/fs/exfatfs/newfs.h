// Making exFAT file systems.
#pragma once

#include "kernel/sys/filesystem.h"

namespace rump::exfatfs {

std::span<const OptionSpec> newfs_options();
/// An empty file system over all of `device`. Failures: EINVAL (options that contradict each other
/// or the device's size, in words), EROFS, EIO, ENOSPC.
FailureOr<void> newfs(Kernel& kernel, host::BlockDevice& device, const OptionSet& options);

} // namespace rump::exfatfs
