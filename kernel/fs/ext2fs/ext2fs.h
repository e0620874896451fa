// ext2fs: the second extended file system, revisions 0 and 1.
#pragma once

#include "kernel/sys/filesystem.h"

namespace rump::ext2 {

const FileSystemType& type();

/// What newfs is asked for, and what mke2fs(8) would choose where it is not said.
FailureOr<void> make_filesystem(Kernel& kernel, host::BlockDevice& device,
                                const OptionSet& options);
std::span<const OptionSpec> newfs_option_specs();

/// See FileSystemType::check.
FailureOr<CheckReport> check_filesystem(host::BlockDevice& device, const CheckOptions& options,
                                        host::Log& log);

} // namespace rump::ext2
