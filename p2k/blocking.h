// What is known of a request before it runs: whether it blocks, so that another thread should see
// to what comes meanwhile, and whether anybody waits for it.
#pragma once

#include <cstddef>
#include <span>

namespace rump::p2k {

/// fsync and its like, and everything whose size is not bounded. `message`: a whole request.
bool may_block(std::span<const std::byte> message);
/// A transfer that keeps a CPU busy copying.
bool is_large_transfer(std::span<const std::byte> message);

/// The host has forgotten nodes; nobody waits.
bool is_forget(std::span<const std::byte> message);

} // namespace rump::p2k
