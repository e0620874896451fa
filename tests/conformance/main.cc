// The main program of every conformance executable.
#include "tests/conformance/suite.h"
#include "tests/support/catch_runner.h"

#include <cstdio>
#include <exception>

int main(int argc, char** argv) {
    try {
        if (auto why = rump::conformance::backend_unavailable()) {
            std::printf("skipped: %s\n", why->c_str());
            return 77;
        }
    } catch (const std::exception& error) {
        std::printf("%s\n", error.what());
        return 1;
    }
    return rump::test::run_cases(argc, argv);
}
