// ASSERT's last words.
#include "hostshim/assertion.h"

#include <cstdio>
#include <cstdlib>

namespace rump::host {

void assertion_failed(const char* expression, const char* file, int line) {
    std::fprintf(stderr, "%s:%d: assertion failed: %s\n", file, line, expression);
    std::abort();
}

} // namespace rump::host
