// The mount point: what must be true of it before, and unmounting it from within the daemon.
#pragma once

#include "daemons/common/exit_code.h"

#include <string>
#include <string_view>

namespace rump {

/// What a user reads when nothing can be done with this path.
DaemonError refused(const std::string& path, std::string_view why);

/// The absolute path of a directory that this user may mount on. Error: why not (it is missing, no
/// directory, a FUSE mount already, alive or dead, not the user's).
DaemonResult<std::string> check_mountpoint(const std::string& path);

/// The absolute path of a directory that something is mounted on already.
DaemonResult<std::string> check_mounted(const std::string& path);

/// Error: `file`, an absolute path that the daemon goes on using, or is about to make, would be
/// hidden by the mount: to open it there, the daemon would have to serve itself.
DaemonResult<void> check_not_hidden(const std::string& mountpoint, const std::string& file);

/// Asks the host to unmount; as root by itself, otherwise by fusermount3. With `lazily` also what
/// is in use: it vanishes from the tree now, and goes with its last user. Errno: EBUSY, EPERM …
Result<void> unmount_host(const std::string& mountpoint, bool lazily);

/// Makes the host hand over what it has not written back yet. Never fails: what cannot be written
/// is reported to those who wrote it.
void sync_host(const std::string& mountpoint);

} // namespace rump
