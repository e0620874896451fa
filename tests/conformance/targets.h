// The file systems that tests can run on, each with its traits.
#pragma once

#include "tests/conformance/traits.h"

#include <string_view>

namespace rump::conformance {

Target& exfatfs_target();
Target& ext2fs_target();
Target& msdosfs_target();
Target& tmpfs_target();

/// By the type's name; null: no such file system in this build.
Target* find_target(std::string_view name);

} // namespace rump::conformance
