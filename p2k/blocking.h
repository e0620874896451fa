// Which requests are known to block, so that another thread should see to what comes meanwhile.
#pragma once

#include <cstddef>
#include <span>

namespace rump::p2k {

/// fsync and its like, and everything whose size is not bounded. `message`: a whole request.
bool may_block(std::span<const std::byte> message);
/// A transfer that keeps a CPU busy copying.
bool is_large_transfer(std::span<const std::byte> message);

} // namespace rump::p2k
