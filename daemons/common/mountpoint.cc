// See mountpoint.h.
#include "daemons/common/mountpoint.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/magic.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <memory>

namespace rump {

DaemonError refused(const std::string& path, std::string_view why) {
    return {ExitCode::mount_failed, fmt::format("{}: {}", path, why)};
}

namespace {

/// fusermount3's own rule, said before it is asked: the directory must be the user's.
DaemonResult<void> check_owner(const std::string& path, const struct stat& st) {
    if (::geteuid() == 0) return {};
    if (::access(path.c_str(), W_OK) != 0)
        return refused(path, fmt::format("you may not write in this directory (owner: user {}); "
                                         "choose one of yours",
                                         st.st_uid));
    if ((st.st_mode & S_ISVTX) && st.st_uid != ::geteuid())
        return refused(path, fmt::format("you do not own this directory (owner: user {}); "
                                         "choose one of yours",
                                         st.st_uid));
    return {};
}

int run_fusermount(const std::string& mountpoint, bool lazily) {
    std::string name = "fusermount3", u = "-u", q = "-q", z = "-z", end = "--", path = mountpoint;
    char* argv[] = {name.data(), u.data(),    q.data(), lazily ? z.data() : q.data(),
                    end.data(),  path.data(), nullptr};
    pid_t child = 0;
    if (::posix_spawnp(&child, "fusermount3", nullptr, nullptr, argv, environ) != 0) return -1;
    int status = 0;
    while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/// Without symbolic links; empty: errno says why there is none.
std::string real_path(const std::string& path) {
    const std::unique_ptr<char, decltype(&::free)> real(::realpath(path.c_str(), nullptr), ::free);
    return real ? real.get() : std::string();
}

} // namespace

DaemonResult<std::string> check_mountpoint(const std::string& path) {
    struct stat st = {};
    struct statfs fs = {};
    // The host may remember the attributes of a mount that is dead; statfs always asks.
    if (::stat(path.c_str(), &st) != 0 || ::statfs(path.c_str(), &fs) != 0) {
        // ECONNABORTED: it went while we asked.
        if (errno == ENOTCONN || errno == ECONNABORTED)
            return refused(path, "a FUSE mount whose daemon is gone is here; "
                                 "remove it first with fusermount3 -u");
        return refused(path,
                       fmt::format("cannot mount here: {}", errno_message(errno_from_host(errno))));
    }
    if (!S_ISDIR(st.st_mode)) return refused(path, "cannot mount here: not a directory");
    struct stat above = {};
    if (fs.f_type == FUSE_SUPER_MAGIC && ::stat((path + "/..").c_str(), &above) == 0 &&
        above.st_dev != st.st_dev)
        return refused(path, "something is mounted here already; unmount it first");
    TRY(check_owner(path, st));
    std::string real = real_path(path);
    if (real.empty()) return refused(path, errno_message(errno_from_host(errno)));
    return real;
}

DaemonResult<std::string> check_mounted(const std::string& path) {
    std::string real = real_path(path);
    if (real.empty()) return refused(path, errno_message(errno_from_host(errno)));
    return real;
}

DaemonResult<void> check_not_hidden(const std::string& mountpoint, const std::string& file) {
    const std::string below = mountpoint == "/" ? mountpoint : mountpoint + "/";
    std::string real = real_path(file);
    if (real.empty()) // it is still to be made: in which directory?
        real = real_path(file.substr(0, file.rfind('/') + 1)) + "/";
    if (!real.starts_with(below)) return {};
    return refused(mountpoint, fmt::format("cannot mount here: it would hide {}", file));
}

Result<void> unmount_host(const std::string& mountpoint, bool lazily) {
    if (::geteuid() != 0)
        return run_fusermount(mountpoint, lazily) == 0 ? Result<void>() : Errno::busy;
    const int flags = UMOUNT_NOFOLLOW | (lazily ? MNT_DETACH : 0);
    if (::umount2(mountpoint.c_str(), flags) != 0) return errno_from_host(errno);
    return {};
}

void sync_host(const std::string& mountpoint) {
    const int fd = ::open(mountpoint.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return;
    (void)::syncfs(fd);
    ::close(fd);
}

} // namespace rump
