// The bodies in process.
#include "tests/conformance/direct.h"
#include "tests/conformance/suite.h"

namespace rump::conformance {

std::unique_ptr<Backend> make_backend(Target& target, ImageKind kind) {
    return make_direct_backend(target, kind);
}
std::optional<std::string> backend_unavailable() { return std::nullopt; }

} // namespace rump::conformance
