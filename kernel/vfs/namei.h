// Path lookup: POSIX.1-2017, 4.13 "Pathname Resolution".
#pragma once

#include "kernel/sys/cred.h"
#include "kernel/sys/vnode.h"

#include <string>
#include <string_view>

namespace rump::vfs {

/// Where paths start: "/…" at `root`, others at `cwd`. ".." of `root` is `root`.
struct LookupStart {
    VnodeRef root;
    VnodeRef cwd;
};

enum class FollowLast : uint8_t { yes, no };

/// The vnode of a path. A trailing slash demands a directory and follows a symlink.
/// Errors: ENOENT (also the empty path), ENOTDIR, EACCES, ELOOP (more than 40 symlinks),
/// ENAMETOOLONG (a name over traits().name_max bytes, a path over 4095), EIO, EUCLEAN.
Result<VnodeRef> namei(const LookupStart& start, std::string_view path, FollowLast follow,
                       const Cred& cred);

/// The directory in which the last component of a path would be made, removed or renamed.
struct ParentOf {
    VnodeRef dir;
    std::string name;            // may be "." or ".."
    bool trailing_slash = false; // only a directory will do
};
/// Errors: as namei; EEXIST, EINVAL: see vfs_ops.h, for a path that is "/" alone (EBUSY).
Result<ParentOf> namei_parent(const LookupStart& start, std::string_view path, const Cred& cred);

} // namespace rump::vfs
