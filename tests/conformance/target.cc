// The file system that an executable tests; compiled for each.
#include "tests/conformance/suite.h"
#include "tests/conformance/targets.h"

rump::conformance::Target& rump::conformance::target() { return CONFORMANCE_TARGET(); }
