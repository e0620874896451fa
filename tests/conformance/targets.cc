// The list of targets. See targets.h.
#include "tests/conformance/targets.h"

#include "kernel/fs/registry.h"

namespace rump::conformance {

Target* find_target(std::string_view name) {
    if (find_filesystem(name) == nullptr) return nullptr;
    for (Target* target : {&tmpfs_target(), &ext2fs_target(), &msdosfs_target(), &exfatfs_target()})
        if (target->traits().name == name) return target;
    return nullptr;
}

} // namespace rump::conformance
