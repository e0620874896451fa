// PosixBackend: test bodies over system calls on a mounted volume.
#pragma once

#include "tests/conformance/fs.h"
#include "tests/conformance/volume.h"

namespace rump::conformance {

std::unique_ptr<Backend> make_posix_backend(Volume::Driver driver, Target& target, ImageKind kind);

} // namespace rump::conformance
