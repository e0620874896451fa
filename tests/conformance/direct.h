// DirectBackend: test bodies over the kernel's own operations (kernel/vfs), in process, on an image
// in memory. Paths and open files are done here as system calls would.
#pragma once

#include "hostshim/block_device.h"
#include "tests/conformance/fs.h"

#include <functional>

namespace rump::conformance {

std::unique_ptr<Backend> make_direct_backend(Target& target, ImageKind kind);
/// On `device`, which has the image of that kind; `finished` is called when all is unmounted.
std::unique_ptr<Backend> make_direct_backend(Target& target, ImageKind kind,
                                             std::unique_ptr<host::BlockDevice> device,
                                             std::function<void()> finished);

} // namespace rump::conformance
