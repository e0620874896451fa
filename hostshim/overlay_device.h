// Copy-on-write: reads fall through to `base`, writes go to a delta, the base never changes.
#pragma once

#include "hostshim/block_device.h"

#include <memory>

namespace rump::host {

/// The delta lives in memory and goes with the device. The device owns `base`.
std::unique_ptr<BlockDevice> make_memory_overlay(std::unique_ptr<BlockDevice> base);

/// As above over a base that somebody else owns and that outlives the overlay: thousands of
/// overlays of one image in a process.
std::unique_ptr<BlockDevice> make_memory_overlay(BlockDevice& base);

/// The delta lives in the sparse file `path`, made when missing, found again at the next opening;
/// it is removed when it still holds nothing at the end. Its format (header with magic, version,
/// base size and mark, chunk size; a bitmap; the chunks at their own offsets) is in
/// file_overlay.cc. flush() makes chunks durable before the bitmap that names them. Failures:
/// EINVAL (not a delta file, or for another base), EBUSY, EACCES, ENOSPC.
FailureOr<std::unique_ptr<BlockDevice>> open_file_overlay(std::unique_ptr<BlockDevice> base,
                                                          const std::string& path);

} // namespace rump::host
