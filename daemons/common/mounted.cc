// See mounted.h. By mountinfo (proc(5)), and the attributes that a mount of ours has.
#include "daemons/common/mounted.h"

#include "hostshim/file_users.h"

#include <sys/pidfd.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <sstream>
#include <string_view>

namespace rump {

Mounted mounted_on(const std::string& path) {
    std::ifstream table("/proc/self/mountinfo");
    Mounted found;
    for (std::string line; std::getline(table, line);) {
        std::istringstream fields(line);
        std::string field, where, mount_options;
        for (int i = 0; i < 5; ++i) fields >> where;
        fields >> mount_options;
        while (fields >> field && field != "-") {
        }
        if (host::unescape_mountinfo(where) != path) continue;
        std::string source, options;
        fields >> found.type >> source >> options;
        found.source = host::unescape_mountinfo(source);
        found.options = mount_options;
        constexpr std::string_view key = "user_id=";
        const size_t at = options.find(key);
        found.user = at == options.npos ? "" : options.substr(at + key.size());
        found.user.resize(std::min(found.user.find(','), found.user.size()));
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
