// See read_ahead.h.
#include "p2k/read_ahead.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

namespace rump::p2k {

void raise_read_ahead(const std::string& mountpoint, size_t bytes) {
    struct stat st = {};
    if (::stat(mountpoint.c_str(), &st) != 0) return;
    const std::string path =
        fmt::format("/sys/class/bdi/{}:{}/read_ahead_kb", major(st.st_dev), minor(st.st_dev));
    const int fd = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
    if (fd < 0) return;
    const std::string value = fmt::format("{}", bytes / 1024);
    (void)!::write(fd, value.data(), value.size());
    ::close(fd);
}

} // namespace rump::p2k
