// The bodies on a FUSE mount by our daemon.
#include "tests/conformance/posix.h"
#include "tests/conformance/suite.h"

#include <unistd.h>

namespace rump::conformance {

std::unique_ptr<Backend> make_backend(Target& target, ImageKind kind) {
    return make_posix_backend(Volume::Driver::daemon, target, kind);
}
std::optional<std::string> backend_unavailable() {
    if (::geteuid() != 0) return "the suite acts as several users, which only root can";
    return Volume::unavailable(Volume::Driver::daemon, target());
}

} // namespace rump::conformance
