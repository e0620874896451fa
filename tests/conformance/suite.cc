// Running one body.
#include "tests/conformance/suite.h"

namespace rump::conformance {

void run_body(ImageKind kind, void (*body)(Fs&)) {
    auto backend = make_backend(target(), kind);
    Fs fs(*backend, target().traits());
    body(fs);
    backend->finish();
}

} // namespace rump::conformance
