// The main of test programs with a length: see long_run.h.
#include "tests/support/catch_runner.h"

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
    return rump::test::run_cases(argc, argv, &rump::test::arguments());
}
