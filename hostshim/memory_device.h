// A block device in memory, for tests, fuzzing and cow mounts. Sparse: only chunks that were
// written take memory.
#pragma once

#include "hostshim/block_device.h"

#include <memory>
#include <vector>

namespace rump::host {

/// Zeros of `size` bytes.
std::unique_ptr<BlockDevice> make_memory_device(uint64_t size);
/// Holds a copy of `contents`.
std::unique_ptr<BlockDevice> make_memory_device(std::span<const std::byte> contents);

} // namespace rump::host
