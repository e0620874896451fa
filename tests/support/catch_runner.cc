// See catch_runner.h.
#define CATCH_CONFIG_RUNNER
#include "tests/support/catch_runner.h"

#include <catch2/catch.hpp>

namespace rump::test {

int run_cases(int argc, char** argv, LongRun* length) {
    using namespace Catch::clara;
    uint64_t cases = UINT64_MAX, only = UINT64_MAX, workloads = UINT64_MAX;
    Catch::Session session;
    if (length)
        session.cli(session.cli() | Opt(cases, "N")["--cases"]("how many cases") |
                    Opt(length->seed, "S")["--seed"]("which cases") |
                    Opt(workloads, "N")["--workloads"]("how many seeds, from S on") |
                    Opt(only, "N")["--only"]("this case alone") |
                    Opt(length->threads, "N")["--threads"]("threads to run them on"));
    if (int wrong = session.applyCommandLine(argc, argv)) return wrong;
    if (cases != UINT64_MAX) length->cases = cases;
    if (workloads != UINT64_MAX) length->workloads = workloads;
    if (only != UINT64_MAX) length->only = only;
    if (length && length->threads == 0) length->threads = 1;
    return session.run();
}

} // namespace rump::test
