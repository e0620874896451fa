// How far the host reads ahead in files of a mount.
#pragma once

#include <string>

namespace rump::p2k {

/// Raises the host's read-ahead for the mount, where this process may (root may). FUSE starts with
/// 128 KiB. Never fails.
void raise_read_ahead(const std::string& mountpoint, size_t bytes);

} // namespace rump::p2k
