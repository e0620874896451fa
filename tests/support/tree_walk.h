// Walks everything in a mount: entries, attributes, data, links, extended attributes. Bounded, so
// that it ends on any image.
#pragma once

#include "hostshim/function_ref.h"
#include "kernel/sys/mount.h"

#include <string>
#include <vector>

namespace rump::test {

struct WalkLimits {
    uint64_t entries = 100000;
    uint64_t bytes_per_file = UINT64_MAX; // read from the beginning, and as many from the end
    unsigned depth = 1000;
};

struct WalkResult {
    uint64_t entries = 0;
    /// "path: operation: errno", in the order in which they were met.
    std::vector<std::string> errors;
    bool limited = false; // a limit was met
};

/// Called for each entry but "." and "..", a directory before what it contains.
using WalkVisit = FunctionRef<void(const std::string& path, Vnode& vnode, const Attr& attr)>;

/// Each directory is entered once, whatever the image says.
WalkResult walk(Mount& mount, const WalkLimits& limits, WalkVisit visit);
WalkResult walk(Mount& mount, const WalkLimits& limits = {});

/// All of a regular file. EFBIG when it is larger than `most`.
Result<std::vector<std::byte>> read_all(Vnode& vnode, uint64_t most = 64u << 20);

/// The vnode at a path from the root, symbolic links not followed at the end.
Result<VnodeRef> at_path(Mount& mount, std::string_view path);

} // namespace rump::test
