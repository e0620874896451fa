// -o remount: other options for a mount that is live, as `mount -o remount,ro /mnt` asks for.
//
//     mount(8) ──> mount.fuse ──> rump_ext2fs -o remount,ro …  ──> the host: mount(2)
//                                          └──── signal ─────> the daemon: Mount::remount()
//
// Read-only means that the image is written and marked as clean, though the daemon goes on.
#pragma once

#include "daemons/common/command_line.h"
#include "kernel/kern/kernel.h"

#include <signal.h>

namespace rump {

/// What the daemon is told by.
inline constexpr int signal_read_only = SIGUSR1, signal_read_write = SIGUSR2;

/// In the daemon: does what it is told, and counts, so that who asked can see that it is done.
class Remounter {
public:
    explicit Remounter(Mount& mount);

    void remount(bool read_only);

private:
    Mount& mount_;
    Counter asked_, read_only_;
    Counters::Enrolment asked_enrolment_, read_only_enrolment_;
};

/// In the command: changes the mount on `line.mountpoint`, a path without symbolic links. Errors:
/// nothing of this daemon is mounted there, the caller is not root, the daemon refuses.
DaemonResult<void> remount(const CommandLine& line, const DaemonSpec& spec);

} // namespace rump
