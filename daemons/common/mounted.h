// What the host has mounted, and the daemon behind it: for rump_umount and remounts.
#pragma once

#include <string>

namespace rump {

/// What is mounted last on exactly a path.
struct Mounted {
    std::string type; // empty: nothing
    std::string source;
    std::string options; // of the mount: "rw,nosuid"
    std::string user;    // who mounted it, a number; empty: not told
};

/// `path` is absolute, without symbolic links. What is mounted is not touched: it may be dead.
Mounted mounted_on(const std::string& path);

/// A descriptor (pidfd) of the daemon that serves a mount, or -1 when the mount does not tell: it
/// is dead, or another user's. The caller closes it.
int open_daemon(const std::string& path);

} // namespace rump
