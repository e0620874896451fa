// Division that rounds up.
#pragma once

#include <cstdint>

namespace rump {

/// How many `unit`s hold `n`.
constexpr uint64_t howmany(uint64_t n, uint64_t unit) { return (n + unit - 1) / unit; }
/// The next multiple of `unit`, or `n`.
constexpr uint64_t round_up(uint64_t n, uint64_t unit) { return howmany(n, unit) * unit; }

} // namespace rump
