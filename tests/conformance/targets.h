// The file systems that tests can run on, each with its traits.
#pragma once

#include "tests/conformance/traits.h"

#include <string_view>

namespace rump::conformance {

Target& exfatfs_target();
Target& ext2fs_target();
Target& msdosfs_target();
/// The layout that the environment names, or any ("2/be/16k/2k/log").
Target& ffs_target();
Target& ffs_target(std::string_view layout);
Target& tmpfs_target();

/// By the type's name, for FFS with a layout behind it ("ffs/1/le/8k/1k"); null: no such file
/// system in this build.
Target* find_target(std::string_view name);

/// Our own check of an image that is not mounted, where the type has one. Throws
/// std::runtime_error with what it found.
void check_with_ours(const Target& target, host::BlockDevice& device);

} // namespace rump::conformance
