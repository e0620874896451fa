// Checking FAT file systems, and mending what can be mended.
#pragma once

#include "kernel/sys/filesystem.h"

namespace rump::msdosfs {

/// Looks at the boot sector, the copies of the FAT, every directory and chain, and FSInfo. Reads
/// and writes the device itself: none of the code that mounts and writes is used but for the boot
/// sector's validation and the conversion of names. Failures: EINVAL (no FAT), EUCLEAN (the boot
/// sector contradicts itself), EIO, ENOMEM.
FailureOr<CheckReport> check(host::BlockDevice& device, const CheckOptions& options);

} // namespace rump::msdosfs
