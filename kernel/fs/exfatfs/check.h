// Checking exFAT file systems, and mending what can be mended.
#pragma once

#include "kernel/sys/filesystem.h"

namespace rump::exfatfs {

/// Looks at both boot regions, the allocation bitmap, the up-case table, every directory, entry set
/// and chain. Reads and writes the device itself: none of the code that mounts and writes is used
/// but for the boot sector's validation and the conversion of names. Of a TexFAT volume the active
/// table and bitmap are looked at; the others are copies of an earlier time. Failures: EINVAL (no
/// exFAT), EUCLEAN (the boot regions or the root directory say nothing that can be checked), EROFS,
/// EIO, ENOMEM.
FailureOr<CheckReport> check(host::BlockDevice& device, const CheckOptions& options);

} // namespace rump::exfatfs
