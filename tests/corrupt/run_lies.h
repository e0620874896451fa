// The end of every test of random lies: as many as the command line says, none of them harmful.
#pragma once

#include "tests/corrupt/driver.h"
#include "tests/support/long_run.h"

#include <catch2/catch.hpp>

namespace rump::corrupt {

/// Runs `cases` lies, unless the command line says otherwise, and requires that nobody complains.
inline Outcome run_lies(const Subject& subject, uint64_t cases) {
    const test::LongRun& told = test::long_run();
    Options options;
    options.cases = told.cases.value_or(cases);
    options.seed = told.seed;
    options.only = told.only;
    options.threads = told.threads;
    Outcome outcome = run(subject, options);
    REQUIRE(outcome.complaints == std::vector<std::string>{});
    return outcome;
}

} // namespace rump::corrupt
