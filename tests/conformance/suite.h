// CONFORMANCE("what a user relies on") { … }: one body, run on a fresh image of the file system
// that the executable tests, over the backend that it has. After the body: unmount, our own check,
// the outside one.
#pragma once

#include "tests/conformance/fs.h"

#include <optional>
#include <string>

namespace rump::conformance {

/// Runs `body` between a mount and an unmount with check.
void run_body(ImageKind kind, void (*body)(Fs&));

/// The file system that this executable tests: the one that it was built for (target.cc).
Target& target();
/// Defined by the backend that the executable is linked with: backend_<name>.cc.
std::unique_ptr<Backend> make_backend(Target& target, ImageKind kind);
/// Why this backend cannot be run here, for the message of the skipped test; none: it can.
std::optional<std::string> backend_unavailable();

} // namespace rump::conformance

#define CONFORMANCE_BODY_(name, kind, id)                                                          \
    static void id(rump::conformance::Fs& fs);                                                     \
    TEST_CASE(name) { rump::conformance::run_body(kind, id); }                                     \
    static void id([[maybe_unused]] rump::conformance::Fs& fs)

#define CONFORMANCE(name)                                                                          \
    CONFORMANCE_BODY_(name, rump::conformance::ImageKind::standard,                                \
                      INTERNAL_CATCH_UNIQUE_NAME(conformance_body_))

/// On an image that is soon full.
#define CONFORMANCE_TINY(name)                                                                     \
    CONFORMANCE_BODY_(name, rump::conformance::ImageKind::tiny,                                    \
                      INTERNAL_CATCH_UNIQUE_NAME(conformance_body_))
