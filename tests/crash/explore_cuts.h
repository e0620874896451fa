// The end of every crash test: as many states as the command line says, nothing lost in any.
#pragma once

#include "tests/crash/explorer.h"
#include "tests/support/long_run.h"

#include <catch2/catch.hpp>

namespace rump::crash {

/// Explores `states` states of the workload of `seed`, unless the command line says how many, and
/// requires that nobody complains.
inline void explore_cuts(const Subject& subject, uint64_t states, uint64_t seed) {
    const test::LongRun& told = test::long_run();
    Options options;
    options.states = told.cases.value_or(states);
    options.seed = seed;
    options.only = told.only;
    options.threads = told.threads;
    const Outcome outcome = explore(subject, options);
    CHECK(outcome.states > 0);
    REQUIRE(outcome.complaints == std::vector<std::string>{});
}

} // namespace rump::crash
