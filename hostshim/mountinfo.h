// What the host has mounted: mountinfo (proc(5)).
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace rump::host {

/// One mount, in plain text: blanks and backslashes, escaped in the table, are themselves again.
struct MountEntry {
    std::string device;        // "8:1", of what is mounted
    std::string where;         // absolute
    std::string options;       // of the mount: "rw,nosuid"
    std::string type;          // "fuse.rump_ext2fs"
    std::string source;        // as whoever mounted it named it; may be empty
    std::string super_options; // of the file system behind the mount: "rw,user_id=0"
};

/// A table's lines; what is no line of one is left out.
std::vector<MountEntry> parse_mountinfo(std::string_view table);

/// Mounts that this process sees, in the host's order: of several at one place the last one shows.
/// Empty when there is no /proc.
std::vector<MountEntry> mount_table();

/// Whether a list "rw,nosuid,size=5" has the word.
bool has_mount_option(std::string_view options, std::string_view word);

} // namespace rump::host
