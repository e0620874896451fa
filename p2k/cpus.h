// CPUs of the host: which there are, and which thread is on which.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace rump::p2k {

/// The highest CPU that the host may ever have, plus one; 0: it does not say.
unsigned possible_cpus();
/// Those that the calling thread may run on.
std::vector<unsigned> allowed_cpus();
/// The calling thread runs on these from now on. False: it may not.
bool bind_to(const std::vector<unsigned>& cpus);
/// How many threads of the host run or want to, at this moment; nothing: it does not say.
std::optional<unsigned> running_threads();
/// Where the host's thread `id` runs, or ran last; nothing: there is none that we can see.
std::optional<unsigned> cpu_of(uint32_t id);

} // namespace rump::p2k
