// Who else on the host uses a file or block device: loop devices, mounts, processes. For refusing
// an image in words that name the culprit.
#pragma once

#include <optional>
#include <string>
#include <sys/stat.h>

namespace rump::host {

/// "/dev/loop0" when that loop device is backed by the file.
std::optional<std::string> loop_device_over(const struct stat& file);

/// Where the host has mounted this block device for writing.
std::optional<std::string> writable_mount_of(const struct stat& block_device);

/// "process 123 (rump_ffs)" or "this process": one that has the file open; only processes that we
/// may look into are seen. The caller has closed its own attempt.
std::optional<std::string> process_using(const struct stat& file);

} // namespace rump::host
