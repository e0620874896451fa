// rump_umount [-l] DIR...: unmounts, and returns when the image is written and closed.
//
// The daemon's process id is an attribute of the mount's root. It is held by a descriptor (pidfd)
// before the host is asked to unmount, so that a process that gets the same number later is not
// mistaken for it; the descriptor becomes readable when the daemon has ended, and the daemon ends
// when the image is closed.
#include "daemons/common/exit_code.h"
#include "daemons/common/mounted.h"
#include "daemons/common/mountpoint.h"
#include "hostshim/printable.h"
#include "hostshim/standard_descriptors.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>

namespace {

using rump::DaemonError;
using rump::DaemonResult;
using rump::ExitCode;
using rump::Mounted;

DaemonError failed(const std::string& path, std::string_view why) {
    return {ExitCode::mount_failed, fmt::format("{}: {}", path, why)};
}

/// The path of a mount point without touching what is mounted, which may be dead.
std::string resolve(const std::string& path) {
    char* real = ::realpath(path.c_str(), nullptr);
    if (real) {
        std::string result(real);
        ::free(real);
        return result;
    }
    return path;
}

bool may_unmount(const Mounted& mount) {
    return ::geteuid() == 0 || mount.user == std::to_string(::geteuid());
}

/// Who only looked in (df, a file manager, a search) is gone the next moment.
rump::Result<void> unmount_soon(const std::string& path, const Mounted& mount, bool lazily) {
    auto done = rump::unmount_host(path, lazily);
    for (long wait_ms = 10; wait_ms < 500; wait_ms *= 2) {
        if (done.ok() || done.error() != rump::Errno::busy || !may_unmount(mount)) break;
        const timespec pause{.tv_sec = 0, .tv_nsec = wait_ms * 1'000'000};
        ::nanosleep(&pause, nullptr);
        done = rump::unmount_host(path, lazily);
    }
    return done;
}

/// Why the host would not unmount.
std::string reason(rump::Errno error, const Mounted& mount, bool lazily) {
    if (error != rump::Errno::busy) return std::string(rump::errno_message(error));
    if (!may_unmount(mount))
        return fmt::format("it is not yours, user {} has mounted it", mount.user);
    return lazily ? "cannot be unmounted" : "in use (rump_umount -l takes it away all the same)";
}

DaemonResult<void> unmount(const std::string& given, bool lazily) {
    const std::string path = resolve(given);
    const Mounted mount = rump::mounted_on(path);
    struct stat status;
    if (mount.type.empty() && ::lstat(given.c_str(), &status) != 0)
        return failed(given, rump::errno_message(rump::errno_from_host(errno)));
    if (mount.type.empty()) return failed(given, "nothing is mounted here");
    if (!mount.type.starts_with("fuse.rump_"))
        return failed(given,
                      fmt::format("a mount of type {} is here, not one of ours", mount.type));
    const int daemon = rump::open_daemon(path);
    if (auto done = unmount_soon(path, mount, lazily); !done.ok()) {
        if (daemon >= 0) ::close(daemon);
        return failed(given, reason(done.error(), mount, lazily));
    }
    if (daemon < 0) return {};
    pollfd end = {.fd = daemon, .events = POLLIN, .revents = 0};
    while (::poll(&end, 1, -1) < 0 && errno == EINTR) {
    }
    ::close(daemon);
    return {};
}

int usage(FILE* to, ExitCode code) {
    fmt::print(to, "usage: rump_umount [-l] directory...\n"
                   "Unmounts, and returns when the images are written and closed.\n"
                   "    -l  also what is in use: waits for its last user\n");
    return static_cast<int>(code);
}

} // namespace

int main(int argc, char** argv) {
    rump::host::keep_standard_descriptors();
    bool lazily = false;
    for (int letter; (letter = ::getopt(argc, argv, "lhV")) != -1;) {
        switch (letter) {
        case 'l':
            lazily = true;
            break;
        case 'h':
            return usage(stdout, ExitCode::ok);
        case 'V':
            fmt::print("rump_umount {}\n", RUMP_VERSION);
            return 0;
        default:
            return usage(stderr, ExitCode::usage);
        }
    }
    if (optind == argc) return usage(stderr, ExitCode::usage);
    ExitCode code = ExitCode::ok;
    for (int i = optind; i < argc; ++i) {
        if (auto done = unmount(argv[i], lazily); !done.ok()) {
            fmt::print(stderr, "rump_umount: {}\n", rump::host::printable(done.error().text));
            code = done.error().code;
        }
    }
    return static_cast<int>(code);
}
