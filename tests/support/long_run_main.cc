// The main of test programs with a length: see long_run.h.
#define CATCH_CONFIG_RUNNER
#include "tests/support/long_run.h"

#include <catch2/catch.hpp>

namespace rump::test {

namespace {
LongRun& arguments() {
    static LongRun instance;
    return instance;
}
} // namespace

const LongRun& long_run() { return arguments(); }

} // namespace rump::test

int main(int argc, char** argv) {
    using namespace Catch::clara;
    rump::test::LongRun& arguments = rump::test::arguments();
    uint64_t cases = UINT64_MAX, only = UINT64_MAX, workloads = UINT64_MAX;
    Catch::Session session;
    session.cli(session.cli() | Opt(cases, "N")["--cases"]("how many cases") |
                Opt(arguments.seed, "S")["--seed"]("which cases") |
                Opt(workloads, "N")["--workloads"]("how many seeds, from S on") |
                Opt(only, "N")["--only"]("this case alone") |
                Opt(arguments.threads, "N")["--threads"]("threads to run them on"));
    if (int wrong = session.applyCommandLine(argc, argv)) return wrong;
    if (cases != UINT64_MAX) arguments.cases = cases;
    if (workloads != UINT64_MAX) arguments.workloads = workloads;
    if (only != UINT64_MAX) arguments.only = only;
    if (arguments.threads == 0) arguments.threads = 1;
    return session.run();
}
