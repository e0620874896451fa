// The file systems of this build.
#pragma once

#include "kernel/sys/filesystem.h"

#include <span>

namespace rump {

std::span<const FileSystemType* const> filesystem_types();
/// By name or alias; null when there is none.
const FileSystemType* find_filesystem(std::string_view name);
/// The type that recognises the device; an empty type name when none does. EIO.
Result<ProbeResult> probe_filesystems(host::BlockDevice& device);

} // namespace rump
