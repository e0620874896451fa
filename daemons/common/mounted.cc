// See mounted.h. By the host's table of mounts, and the attributes that a mount of ours has.
#include "daemons/common/mounted.h"

#include "hostshim/mountinfo.h"

#include <sys/pidfd.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <charconv>
#include <string_view>

namespace rump {

Mounted mounted_on(const std::string& path) {
    Mounted found;
    for (const host::MountEntry& mount : host::mount_table()) {
        if (mount.where != path) continue;
        constexpr std::string_view key = "user_id=";
        const std::string_view options = mount.super_options;
        const size_t at = options.find(key);
        const std::string_view user = at == options.npos ? "" : options.substr(at + key.size());
        found = {.type = mount.type,
                 .source = mount.source,
                 .options = mount.options,
                 .user = std::string(user.substr(0, user.find(',')))};
    }
    return found;
}

int open_daemon(const std::string& path) {
    const auto read_pid = [&] {
        char text[32];
        const ssize_t size = ::getxattr(path.c_str(), "user.rump.pid", text, sizeof text);
        pid_t pid = 0;
        if (size > 0) std::from_chars(text, text + size, pid);
        return pid;
    };
    const pid_t pid = read_pid();
    if (pid <= 0) return -1;
    const int fd = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
    // It answers still: the descriptor is of this daemon.
    if (fd >= 0 && read_pid() == pid) return fd;
    if (fd >= 0) ::close(fd);
    return -1;
}

} // namespace rump
