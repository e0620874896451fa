// Test programs whose length is a choice: seeded, bounded when nothing is said, and as long as
// wanted with
//
//     --cases N      how many (default: the test's own)
//     --seed S       which ones (default 1)
//     --workloads N  how many seeds, from S on, where each stands for a workload with cases of its
//     own
//     --only N       nothing but case N: to look at a failure
//     --threads N    default 2
//
// beside Catch2's own options.
#pragma once

#include <cstdint>
#include <optional>

namespace rump::test {

struct LongRun {
    std::optional<uint64_t> cases;
    uint64_t seed = 1;
    std::optional<uint64_t> workloads;
    std::optional<uint64_t> only;
    unsigned threads = 2;
};

/// What the command line said.
const LongRun& long_run();

} // namespace rump::test
