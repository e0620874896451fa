// What a file system's daemon is: its main is one call.
//
//     int main(int argc, char** argv) {
//         return rump::daemon_main(argc, argv, {.name = "rump_ext2fs", .type =
//         rump::ext2fs::type()});
//     }
#pragma once

#include "kernel/sys/filesystem.h"

#include <string_view>
#include <vector>

namespace rump {

struct DaemonSpec {
    std::string_view name; // "rump_ext2fs": for messages, and the mount's type "fuse.rump_ext2fs"
    const FileSystemType& type;
    /// Other names that it is installed under: for --help.
    std::vector<std::string_view> aliases = {};
    /// False: files are shown as of who mounts, unless uid= and gid= are given.
    bool stores_owners = true;
};

/// Parses, mounts, serves until the mount is gone. Returns the exit code, as mount(8): 0 mounted
/// (in the foreground: and unmounted again), 1 usage, 2 system error, 4 internal error, 8
/// interrupted by the user, 16 the pid file, 32 the mount failed.
int daemon_main(int argc, char** argv, const DaemonSpec& spec);

} // namespace rump
