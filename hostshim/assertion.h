// ASSERT: what we ourselves guarantee. Never about bytes of an image, input of a user or a result
// of the host: those are errors. On in every build type but "release with NDEBUG".
#pragma once

namespace rump::host {
[[noreturn]] void assertion_failed(const char* expression, const char* file, int line);
}

#ifdef NDEBUG
#define ASSERT(expression) ((void)sizeof(!(expression)))
#else
#define ASSERT(expression)                                                                         \
    ((expression) ? (void)0 : ::rump::host::assertion_failed(#expression, __FILE__, __LINE__))
#endif
