// How much memory the host has: what a limit stated in per cent means.
#pragma once

#include <cstdint>

namespace rump::host {

/// Bytes of physical memory; at least 64 MiB, also where the host does not say.
uint64_t memory_bytes();

} // namespace rump::host
