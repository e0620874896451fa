// DirectBackend: test bodies over the kernel's own operations (kernel/vfs), in process, on an image
// in memory. Paths and open files are done here as system calls would.
#pragma once

#include "tests/conformance/fs.h"

namespace rump::conformance {

std::unique_ptr<Backend> make_direct_backend(Target& target, ImageKind kind);

} // namespace rump::conformance
