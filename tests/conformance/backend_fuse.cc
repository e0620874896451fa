// The bodies on a FUSE mount by our daemon.
#include "tests/conformance/posix.h"
#include "tests/conformance/suite.h"

namespace rump::conformance {

std::unique_ptr<Backend> make_backend(Target& target, ImageKind kind) {
    return make_posix_backend(Volume::Driver::daemon, target, kind);
}
std::optional<std::string> backend_unavailable() {
    return Volume::unavailable(Volume::Driver::daemon, target());
}

} // namespace rump::conformance
