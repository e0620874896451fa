// The host's side of put and get: descriptors, and what a file there looks like.
#pragma once

#include "ukfs/ukfs.h"

#include <cerrno>
#include <dirent.h>
#include <memory>
#include <string>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>

namespace rump::tool {

class Descriptor {
public:
    explicit Descriptor(int fd = -1) : fd_(fd) {}
    Descriptor(Descriptor&& other) noexcept : fd_(other.fd_) { other.fd_ = -1; }
    Descriptor& operator=(Descriptor&& other) noexcept {
        std::swap(fd_, other.fd_);
        return *this;
    }
    ~Descriptor() {
        if (fd_ >= 0) ::close(fd_);
    }
    explicit operator bool() const { return fd_ >= 0; }
    int get() const { return fd_; }

private:
    int fd_;
};

struct CloseDirectory {
    void operator()(DIR* dir) const { closedir(dir); }
};
using Directory = std::unique_ptr<DIR, CloseDirectory>;

struct CloseUkfsFile {
    void operator()(ukfs_file* file) const { ukfs_file_close(file); }
};
using UkfsFile = std::unique_ptr<ukfs_file, CloseUkfsFile>;

inline bool host_is_directory(const std::string& path) {
    struct stat status;
    return ::stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode);
}

inline std::string host_error(int error) { return std::generic_category().message(error); }

inline timespec to_host(const ukfs_time& time) {
    return {.tv_sec = static_cast<time_t>(time.sec), .tv_nsec = static_cast<long>(time.nsec)};
}
inline ukfs_time from_host(const timespec& time) {
    return {.sec = time.tv_sec, .nsec = static_cast<uint32_t>(time.tv_nsec)};
}

} // namespace rump::tool
