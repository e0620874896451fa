// Who else on the host uses a file or block device: by sysfs(5) and proc(5).
#include "hostshim/file_users.h"

#include "hostshim/mountinfo.h"

#include <array>
#include <cstdio>
#include <cstdlib>
#include <dirent.h>
#include <fcntl.h>
#include <memory>
#include <string_view>
#include <sys/sysmacros.h>
#include <unistd.h>

namespace rump::host {
namespace {

struct CloseDir {
    void operator()(DIR* dir) const { closedir(dir); }
};

/// Names in a directory, without dot and dot-dot, in the order the host gives; none on any error.
template<class Visit>
void each_name(const std::string& path, Visit visit) {
    std::unique_ptr<DIR, CloseDir> dir(opendir(path.c_str()));
    if (!dir) return;
    while (const dirent* entry = readdir(dir.get())) {
        std::string_view name = entry->d_name;
        if (name != "." && name != ".." && visit(name)) return;
    }
}

/// A small file of sysfs or procfs, all of it; empty on any error.
std::string contents(const std::string& path) {
    int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) return {};
    std::string text;
    std::array<char, 4096> part;
    for (ssize_t got; (got = read(fd, part.data(), part.size())) > 0;)
        text.append(part.data(), static_cast<size_t>(got));
    close(fd);
    return text;
}

bool same_file(const struct stat& a, const struct stat& b) {
    return a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

} // namespace

std::optional<std::string> loop_device_over(const struct stat& file) {
    std::optional<std::string> found;
    each_name("/sys/block", [&](std::string_view name) {
        if (!name.starts_with("loop")) return false;
        std::string backing = contents("/sys/block/" + std::string(name) + "/loop/backing_file");
        if (backing.ends_with('\n')) backing.pop_back();
        struct stat status;
        if (backing.empty() || stat(backing.c_str(), &status) != 0 || !same_file(status, file))
            return false;
        found = "/dev/" + std::string(name);
        return true;
    });
    return found;
}

std::optional<std::string> writable_mount_of(const struct stat& block_device) {
    std::string device = std::to_string(major(block_device.st_rdev)) + ":" +
                         std::to_string(minor(block_device.st_rdev));
    // The mount may be read-only while the file system behind it is not.
    for (const MountEntry& mount : mount_table())
        if (mount.device == device && !has_mount_option(mount.super_options, "ro"))
            return mount.where;
    return std::nullopt;
}

std::optional<std::string> process_using(const struct stat& file) {
    std::optional<std::string> found;
    const std::string self = std::to_string(getpid());
    each_name("/proc", [&](std::string_view name) {
        if (name.find_first_not_of("0123456789") != name.npos) return false;
        const std::string process(name);
        each_name("/proc/" + process + "/fd", [&](std::string_view descriptor) {
            struct stat status;
            std::string path = "/proc/" + process + "/fd/" + std::string(descriptor);
            if (stat(path.c_str(), &status) != 0 || !same_file(status, file)) return false;
            std::string command = contents("/proc/" + process + "/comm");
            if (command.ends_with('\n')) command.pop_back();
            found = process == self ? "this process" : "process " + process + " (" + command + ")";
            return true;
        });
        return found.has_value();
    });
    return found;
}

} // namespace rump::host
