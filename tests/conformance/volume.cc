// Mounting and unmounting for tests. See volume.h.
#include "tests/conformance/volume.h"

#include "hostshim/file_device.h"
#include "tests/conformance/targets.h"
#include "tests/support/memory_file.h"

#include <cstdlib>
#include <fstream>
#include <stdexcept>
#include <sys/stat.h>
#include <unistd.h>

namespace rump::conformance {

namespace {

void must_run(const std::vector<std::string>& command) {
    const Exit exit = run(command);
    if (exit.code != 0)
        throw std::runtime_error(joined(command) + ": exit " + std::to_string(exit.code) + ": " +
                                 exit.output);
}

/// Root of a container may not, without CAP_SYS_ADMIN.
bool may_mount() {
    std::ifstream status("/proc/self/status");
    constexpr std::string_view key = "CapEff:";
    constexpr unsigned sys_admin = 21; // capabilities(7)
    for (std::string line; std::getline(status, line);)
        if (line.starts_with(key))
            return std::stoull(line.substr(key.size()), nullptr, 16) >> sys_admin & 1;
    return true;
}

} // namespace

std::string Volume::daemon_path(const std::string& name) {
    const char* directory = std::getenv("RUMP_DAEMONS");
    return directory != nullptr ? std::string(directory) + "/" + name : name;
}

std::optional<std::string> Volume::unavailable(Driver driver, Target& target) {
    if (geteuid() == 0 && !may_mount()) return "this root may not mount";
    if (driver == Driver::host) {
        if (geteuid() != 0) return "the host's own driver is mounted by root only";
        if (target.type().needs_device() && access("/dev/loop-control", R_OK | W_OK) != 0)
            return "there are no loop devices";
        return std::nullopt;
    }
    if (access("/dev/fuse", R_OK | W_OK) != 0) return "/dev/fuse is not there or closed to you";
    if (const std::string daemon = daemon_path(target.daemon()); access(daemon.c_str(), X_OK) != 0)
        throw std::runtime_error(daemon + " is not built");
    return std::nullopt;
}

Volume::Volume(Driver driver, Target& target, ImageKind kind)
    : driver_(driver), target_(target), kind_(kind), mountpoint_(scratch_.path() + "/mnt") {
    if (::mkdir(mountpoint_.c_str(), 0755) != 0) throw std::runtime_error("mkdir " + mountpoint_);
    if (host::BlockDevice* image = target.image(kind)) {
        image_ = scratch_.path() + "/image";
        test::write_file(image_, *image);
    }
    mount();
}

Volume::~Volume() {
    if (mounted_ && !unmount().empty())
        run({"umount", "-l", mountpoint_}); // not to leave it behind
}

void Volume::mount() {
    std::string options = target_.mount_options(kind_);
    auto add = [&](std::string_view more) {
        options += options.empty() ? "" : ",";
        options += more;
    };
    if (driver_ == Driver::host) {
        if (!image_.empty()) add("loop");
        if (options.empty()) add("defaults");
        must_run({"mount", "-t", target_.host_type(), "-o", options,
                  image_.empty() ? "none" : image_, mountpoint_});
    } else {
        // A user may let others in only where the host's configuration says so.
        if (geteuid() == 0) add("allow_other,default_permissions");
        std::vector<std::string> command{daemon_path(target_.daemon())};
        if (!options.empty()) command.insert(command.end(), {"-o", options});
        if (!image_.empty()) command.push_back(image_);
        command.push_back(mountpoint_);
        must_run(command);
    }
    mounted_ = true;
}

/// Why it cannot be; empty: it is done.
std::string Volume::unmount() {
    const Exit exit = driver_ == Driver::host ? run({"umount", mountpoint_})
                                              : run({daemon_path("rump_umount"), mountpoint_});
    mounted_ = exit.code != 0;
    return mounted_ ? "cannot unmount " + mountpoint_ + ": " + exit.output : std::string();
}

void Volume::unmount_and_check() {
    if (const std::string why = unmount(); !why.empty()) throw std::runtime_error(why);
    check_image();
}

void Volume::check_image() {
    if (image_.empty()) return;
    auto device = host::open_file_device(image_, {});
    if (!device) throw std::runtime_error(image_ + ": " + device.error().text);
    check_with_ours(target_, **device);
    for (std::vector<std::string> command : target_.checkers()) {
        command.push_back(image_);
        must_run(command);
    }
}

void Volume::remount(bool read_only) {
    must_run({"mount", "-o", read_only ? "remount,ro" : "remount,rw", mountpoint_});
}

} // namespace rump::conformance
