// The main of all unit tests.
#include "tests/support/catch_runner.h"

int main(int argc, char** argv) { return rump::test::run_cases(argc, argv); }
