// Catch2's own code, compiled once: running the cases that an executable has.
#pragma once

#include "tests/support/long_run.h"

namespace rump::test {

/// The exit status of all cases that the arguments choose. With `length` they may also say how long
/// to run: see long_run.h.
int run_cases(int argc, char** argv, LongRun* length = nullptr);

} // namespace rump::test
