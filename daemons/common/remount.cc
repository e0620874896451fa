// See remount.h.
#include "daemons/common/remount.h"

#include "daemons/common/mounted.h"
#include "daemons/common/mountpoint.h"
#include "kernel/sys/mount_options.h"

#include <fmt/format.h>
#include <sys/mount.h>
#include <sys/pidfd.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include <charconv>
#include <optional>

namespace rump {

namespace {

constexpr std::string_view asked_counter = "mount.remounts", read_only_counter = "mount.read_only";

/// A removed file is in use until the host has let go of it, which it does in its own time.
constexpr int tries = 100;

void pause_briefly() {
    const timespec pause{.tv_sec = 0, .tv_nsec = 10'000'000};
    ::nanosleep(&pause, nullptr);
}

struct Flag {
    std::string_view name;
    unsigned long set, clear;
};
constexpr unsigned long atime_flags = MS_NOATIME | MS_RELATIME | MS_STRICTATIME;
constexpr Flag flags[] = {
    {"ro", MS_RDONLY, 0},
    {"rw", 0, MS_RDONLY},
    {"nosuid", MS_NOSUID, 0},
    {"suid", 0, MS_NOSUID},
    {"nodev", MS_NODEV, 0},
    {"dev", 0, MS_NODEV},
    {"noexec", MS_NOEXEC, 0},
    {"exec", 0, MS_NOEXEC},
    {"sync", MS_SYNCHRONOUS, 0},
    {"async", 0, MS_SYNCHRONOUS},
    {"dirsync", MS_DIRSYNC, 0},
    {"nodiratime", MS_NODIRATIME, 0},
    {"diratime", 0, MS_NODIRATIME},
    {"noatime", MS_NOATIME, atime_flags},
    {"relatime", MS_RELATIME, atime_flags},
    {"strictatime", MS_STRICTATIME, atime_flags},
    {"atime", MS_RELATIME, atime_flags},
};

unsigned long with_words(unsigned long to, std::span<const std::string> words) {
    for (const std::string& word : words)
        for (const Flag& flag : flags)
            if (flag.name == word) to = (to & ~flag.clear) | flag.set;
    return to;
}

struct DaemonState {
    uint64_t asked, read_only;
};

std::optional<uint64_t> counter(std::string_view json, std::string_view name) {
    const std::string key = fmt::format("\"{}\": ", name);
    const size_t at = json.find(key);
    uint64_t value = 0;
    if (at == json.npos) return std::nullopt;
    std::from_chars(json.data() + at + key.size(), json.data() + json.size(), value);
    return value;
}

std::optional<DaemonState> state_of(const std::string& path) {
    std::string json(65536, '\0');
    const ssize_t size = ::getxattr(path.c_str(), "user.rump.counters", json.data(), json.size());
    json.resize(size > 0 ? static_cast<size_t>(size) : 0);
    const auto asked = counter(json, asked_counter), read_only = counter(json, read_only_counter);
    if (!asked || !read_only) return std::nullopt;
    return DaemonState{*asked, *read_only};
}

/// Tells the daemon, and waits until it has done so or refused.
bool tell(const std::string& path, bool read_only) {
    const auto before = state_of(path);
    const int daemon = open_daemon(path);
    const int signal = read_only ? signal_read_only : signal_read_write;
    const bool sent =
        before && daemon >= 0 && ::syscall(SYS_pidfd_send_signal, daemon, signal, nullptr, 0) == 0;
    if (daemon >= 0) ::close(daemon);
    if (!sent) return false;
    for (auto now = before; now; now = state_of(path)) {
        if (now->asked != before->asked) return (now->read_only != 0) == read_only;
        pause_briefly();
    }
    return false;
}

} // namespace

Remounter::Remounter(Mount& mount)
    : mount_(mount),
      asked_enrolment_(mount.kernel().counters().enrol(std::string(asked_counter), asked_)),
      read_only_enrolment_(
          mount.kernel().counters().enrol(std::string(read_only_counter), read_only_)) {
    if (mount.read_only()) read_only_.add();
}

void Remounter::remount(bool read_only) {
    auto done = mount_.remount(read_only);
    for (int i = 1; i < tries && !done.ok() && done.error().code == Errno::busy; ++i) {
        pause_briefly();
        done = mount_.remount(read_only);
    }
    if (!done.ok())
        mount_.kernel().log().warning("cannot become {}: {}", read_only ? "read-only" : "writable",
                                      done.error().text);
    read_only_.sub(read_only_.value());
    if (mount_.read_only()) read_only_.add();
    asked_.add();
}

DaemonResult<void> remount(const CommandLine& line, const DaemonSpec& spec) {
    const std::string& path = line.mountpoint;
    const Mounted mount = mounted_on(path);
    if (mount.type != fmt::format("fuse.{}", spec.name))
        return refused(path, fmt::format("no mount of {} is here", spec.name));
    const auto now = split_options(mount.options);
    // mount(8) passes all options that are to hold, others those that change.
    const unsigned long before = with_words(0, now);
    const unsigned long after = with_words(line.all_options ? 0 : before, line.words);
    const bool read_only = after & MS_RDONLY;
    const auto change = [&](unsigned long to) {
        return ::mount(mount.source.c_str(), path.c_str(), nullptr, MS_REMOUNT | to, nullptr) == 0;
    };
    // Nobody writes when the daemon stops, and it is ready before anybody can.
    if (!read_only && before & MS_RDONLY && ::geteuid() == 0 && !tell(path, false))
        return refused(path, "it was mounted read-only, or errors were found; mount it anew");
    if (!change(after))
        return refused(
            path, fmt::format("cannot be remounted: {}", errno_message(errno_from_host(errno))));
    if (read_only && !(before & MS_RDONLY) && !tell(path, true)) {
        (void)change(before);
        return refused(path, "the daemon cannot become read-only; its log says why");
    }
    return {};
}

} // namespace rump
