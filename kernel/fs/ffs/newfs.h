// Making an empty FFS.
#pragma once

#include "kernel/fs/ffs/geometry.h"

#include "kernel/sys/filesystem.h"

namespace rump::ffs {

std::span<const OptionSpec> newfs_specs();
/// EINVAL: an option, in words; EIO.
FailureOr<void> make_volume(Kernel& kernel, host::BlockDevice& device, const OptionSet& options);

} // namespace rump::ffs
