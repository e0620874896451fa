// The bodies on the host's own driver: what proves the bodies themselves.
#include "tests/conformance/posix.h"
#include "tests/conformance/suite.h"

namespace rump::conformance {

std::unique_ptr<Backend> make_backend(Target& target, ImageKind kind) {
    return make_posix_backend(Volume::Driver::host, target, kind);
}
std::optional<std::string> backend_unavailable() {
    return Volume::unavailable(Volume::Driver::host, target());
}

} // namespace rump::conformance
