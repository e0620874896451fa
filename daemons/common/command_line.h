// The command line of a daemon, as mount(8) helpers take it:
//
//     rump_ext2fs [-dfhrV] [-o option[,option...]]... image mountpoint
//
// Options may stand before or after the two arguments; the image is left out where the file system
// has no device.
#pragma once

#include "daemons/common/daemon.h"
#include "daemons/common/exit_code.h"
#include "images/image.h"
#include "p2k/session.h"

#include <optional>
#include <string>

namespace rump {

struct CommandLine {
    enum class What : uint8_t { mount, help, version } what = What::mount;
    std::string image; // empty: a file system without a device
    std::string mountpoint;
    bool foreground = false;
    bool debug = false;

    MountOptions mount;
    images::ImageOptions image_options;    // all but the access
    std::vector<std::string> host_options; // handed to the host's mount: "ro", "nosuid"
    bool flush = false;
    bool fakeroot = false;
    bool allow_root = false;
    p2k::Permissions permissions = p2k::Permissions::host;
    p2k::TransportChoice transport = p2k::TransportChoice::automatic;
    p2k::TransportLimits limits;
    host::LogLevel log_level = host::LogLevel::info;
    bool remount = false;           // of what is mounted already
    bool all_options = false;       // and `words` are all that are to hold: mount(8) asks
    std::vector<std::string> words; // the options in their order
    std::string pidfile;
    std::optional<int> ready_fd;
};

/// Errors: usage, with what is wrong in one line.
DaemonResult<CommandLine> parse_command_line(int argc, char** argv, const DaemonSpec& spec);

/// What --help prints.
std::string help_text(const DaemonSpec& spec);

} // namespace rump
