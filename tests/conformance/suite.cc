// Running one body, and the main program of every conformance executable.
#define CATCH_CONFIG_RUNNER
#include "tests/conformance/suite.h"
#include "tests/conformance/targets.h"

#include <cstdio>
#include <exception>

namespace rump::conformance {

Target& target() { return CONFORMANCE_TARGET(); }

void run_body(ImageKind kind, void (*body)(Fs&)) {
    auto backend = make_backend(target(), kind);
    Fs fs(*backend, target().traits());
    body(fs);
    backend->finish();
}

} // namespace rump::conformance

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
    return Catch::Session().run(argc, argv);
}
