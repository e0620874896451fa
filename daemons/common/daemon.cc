// A daemon's life:
//
//     parse ──> check ──> fork ──> open the image ──> mount in our kernel ──> mount in the host
//       ──> answer INIT, start threads ──> report, detach ──> wait: unmounted, or a signal
//       ──> unmount in the host ──> unmount in our kernel ──> close the image
#include "daemons/common/daemon.h"

#include "daemons/common/command_line.h"
#include "daemons/common/launch.h"
#include "daemons/common/mountpoint.h"
#include "daemons/common/remount.h"
#include "hostshim/printable.h"
#include "hostshim/standard_descriptors.h"
#include "images/identify.h"
#include "images/image.h"
#include "kernel/fs/registry.h"
#include "kernel/kern/kernel.h"
#include "p2k/session.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <utility>

namespace rump {

namespace {

/// How long users of a mount that is taken away may go on.
constexpr int grace_ms = 1000;

void print(FILE* to, std::string_view text) { fmt::print(to, "{}", text); }

DaemonError failed(const std::string& image, const Failure& failure) {
    return {ExitCode::mount_failed,
            image.empty() ? failure.text : fmt::format("{}: {}", image, failure.text)};
}

/// The daemon works in "/", and the host's table of mounts shows whole paths.
DaemonResult<std::string> absolute(const std::string& path) {
    if (path.starts_with('/')) return path;
    const std::unique_ptr<char, decltype(&::free)> here(::getcwd(nullptr, 0), ::free);
    if (!here) return DaemonError{ExitCode::system, "the current directory has no path"};
    return fmt::format("{}/{}", here.get(), path);
}

class Daemon {
public:
    Daemon(const DaemonSpec& spec, CommandLine line)
        : spec_(spec), line_(std::move(line)), log_(sink(), line_.log_level) {}

    /// Until the mount is gone. The exit code.
    DaemonResult<int> run(Launch& launch);

private:
    host::Log::Sink sink();
    DaemonResult<void> block_signals();
    DaemonResult<std::unique_ptr<host::BlockDevice>> open_image();
    DaemonResult<void> refuse_other_type(host::BlockDevice& device);
    DaemonResult<void> mount_kernel();
    DaemonResult<void> mount_host();
    DaemonResult<void> begin_service();
    DaemonResult<void> write_pidfile();
    void remove_pidfile();
    void report_ready(Launch& launch);
    void hint_unwritable();
    /// Until the host has unmounted; a signal makes it.
    void wait_for_end();
    void take_away();
    bool wait_ended(int timeout_ms, bool or_signal);
    bool interrupted() const;
    int finish();

    const DaemonSpec& spec_;
    CommandLine line_;
    std::string ident_;
    std::atomic<bool> detached_{false};
    host::Log log_;
    std::unique_ptr<Kernel> kernel_;
    Mount* mount_ = nullptr;
    std::unique_ptr<p2k::Session> session_;
    std::optional<Remounter> remounter_;
    int signals_ = -1;
    bool has_pidfile_ = false;
};

/// Standard error while somebody is looking, the system's log afterwards.
host::Log::Sink Daemon::sink() {
    ident_ = std::string(spec_.name);
    if (!line_.image.empty()) ident_ += ": " + line_.image;
    return [this, to_terminal = host::stderr_sink(ident_),
            to_system = host::Log::Sink()](host::LogLevel level, std::string_view text) mutable {
        if (!detached_.load()) return to_terminal(level, text);
        if (!to_system) to_system = host::syslog_sink(ident_);
        to_system(level, text);
    };
}

/// Threads inherit the mask: signals come to the descriptor only.
DaemonResult<void> Daemon::block_signals() {
    sigset_t set;
    sigemptyset(&set);
    for (int signal :
         {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGALRM, signal_read_only, signal_read_write})
        sigaddset(&set, signal);
    ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
    for (int signal : {SIGPIPE, SIGXFSZ}) ::signal(signal, SIG_IGN); // the call's errno says it
    signals_ = ::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (signals_ < 0) return DaemonError{ExitCode::system, "cannot make a signal descriptor"};
    return {};
}

/// Nothing that this process runs gets privileges that it lacks. Before any thread starts, as
/// threads inherit it. Not for ordinary users, whose mounts come and go by fusermount3, which is
/// set-user-ID.
void confine() {
    if (::geteuid() == 0) (void)::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

DaemonResult<std::unique_ptr<host::BlockDevice>> Daemon::open_image() {
    images::ImageOptions options = line_.image_options;
    options.access = line_.mount.read_only ? host::Access::read_only : host::Access::read_write;
    auto device = images::open(line_.image, options);
    if (!device.ok()) return failed(line_.image, device.error());
    return device.release_value();
}

std::string daemon_name(std::string_view type) {
    return type == "msdosfs" ? "rump_msdos" : fmt::format("rump_{}", type);
}

/// An image that is none of this daemon's: say what it is, and who mounts it.
DaemonResult<void> Daemon::refuse_other_type(host::BlockDevice& device) {
    auto probed = spec_.type.probe(device);
    if (!probed.ok() || *probed) return {}; // mounting says what is wrong with it
    if (auto lost = spec_.type.recoverable(device); lost && *lost && images::is_unknown(device))
        return {};
    std::string text = images::what_it_is(device);
    if (auto identity = images::identify(device); identity.ok()) {
        const FileSystemType* type = find_filesystem(images::filesystem_name(identity->type));
        if (type == &spec_.type) return {};
        if (type) text += fmt::format(", use {}", daemon_name(type->name()));
    }
    return failed(line_.image, Failure(Errno::inval, text));
}

DaemonResult<void> Daemon::mount_kernel() {
    MountArgs args;
    args.options = line_.mount;
    args.options.mounted_on = line_.mountpoint;
    std::string image = spec_.type.needs_device() ? line_.image : std::string();
    if (spec_.type.needs_device()) {
        args.device = TRY(open_image());
        TRY(refuse_other_type(*args.device));
    }
    kernel_ = std::make_unique<Kernel>(KernelConfig{.log = &log_, .background = true});
    auto mounted = kernel_->attach(spec_.type, std::move(args));
    if (!mounted.ok()) return failed(image, mounted.error());
    mount_ = *mounted;
    return {};
}

DaemonResult<void> Daemon::mount_host() {
    const p2k::SessionOptions options = {
        .source = line_.image.empty() ? std::string(spec_.type.name()) : line_.image,
        .subtype = std::string(spec_.name),
        .mount_options = line_.host_options,
        .transport = line_.transport,
        .limits = line_.limits,
        .adapter = {.permissions = line_.permissions,
                    .cache_forever = !line_.allow_root,
                    .flush_on_close = line_.flush},
    };
    auto session = p2k::Session::create(*mount_, options);
    if (!session.ok()) return failed(line_.image, session.error());
    session_ = std::move(*session);
    if (auto mounted = session_->mount(line_.mountpoint); !mounted.ok())
        return failed(line_.mountpoint, mounted.error());
    auto begun = begin_service();
    if (begun.ok()) return {};
    (void)unmount_host(line_.mountpoint, true);
    remove_pidfile();
    return begun;
}

/// Only once the host has agreed to everything is the image changed.
DaemonResult<void> Daemon::begin_service() {
    if (auto agreed = session_->negotiate(); !agreed.ok())
        return failed(line_.mountpoint, agreed.error());
    TRY(write_pidfile());
    if (auto live = mount_->go_live(); !live.ok()) return failed(line_.image, live.error());
    remounter_.emplace(*mount_);
    if (auto served = session_->serve(); !served.ok())
        return failed(line_.mountpoint, served.error());
    return {};
}

DaemonResult<void> Daemon::write_pidfile() {
    if (line_.pidfile.empty()) return {};
    const std::string text = fmt::format("{}\n", ::getpid());
    FILE* file = ::fopen(line_.pidfile.c_str(), "we");
    if (file) {
        const bool written = ::fwrite(text.data(), 1, text.size(), file) == text.size();
        has_pidfile_ = true;
        if (::fclose(file) == 0 && written) return {};
    }
    return DaemonError{ExitCode::pidfile,
                       fmt::format("{}: cannot write the pid file: {}", line_.pidfile,
                                   errno_message(errno_from_host(errno)))};
}

void Daemon::remove_pidfile() {
    if (std::exchange(has_pidfile_, false)) ::unlink(line_.pidfile.c_str());
}

void Daemon::report_ready(Launch& launch) {
    if (line_.ready_fd) {
        (void)!::write(*line_.ready_fd, "\n", 1);
        ::close(*line_.ready_fd);
    }
    if (!line_.foreground) {
        detached_.store(true);
        launch.detach();
    }
}

/// An image that root filled looks read-only to the user who mounts it: say what helps.
void Daemon::hint_unwritable() {
    if (line_.mount.read_only || line_.fakeroot || ::geteuid() == 0) return;
    auto root = mount_->root();
    if (!root.ok()) return;
    gid_t groups[64];
    const int count = ::getgroups(64, groups);
    const Cred me(::geteuid(), ::getegid(),
                  std::vector<uint32_t>(groups, groups + (count > 0 ? count : 0)));
    auto attr = vfs::getattr(**root);
    if (!attr.ok() || vfs::access(**root, vfs::may_write, me).ok()) return;
    print(stderr, fmt::format("{}: {}: note: the root directory belongs to user {} and you may not "
                              "write in it; -o fakeroot or -o uid={} let you\n",
                              spec_.name, line_.image, attr->uid, ::geteuid()));
}

/// False on time-out, or when a signal came first.
bool Daemon::wait_ended(int timeout_ms, bool or_signal) {
    pollfd fds[] = {{.fd = session_->ended_fd(), .events = POLLIN, .revents = 0},
                    {.fd = signals_, .events = POLLIN, .revents = 0}};
    while (::poll(fds, or_signal ? 2 : 1, timeout_ms) < 0)
        if (errno != EINTR) return true;
    return fds[0].revents != 0;
}

bool Daemon::interrupted() const {
    pollfd signal = {.fd = signals_, .events = POLLIN, .revents = 0};
    return ::poll(&signal, 1, 0) > 0;
}

void Daemon::wait_for_end() {
    while (!wait_ended(-1, true)) {
        signalfd_siginfo info;
        if (::read(signals_, &info, sizeof info) != sizeof info) continue;
        const auto signal = static_cast<int>(info.ssi_signo);
        if (signal != signal_read_only && signal != signal_read_write) return take_away();
        remounter_->remount(signal == signal_read_only);
    }
}

/// A signal: the mount goes, whoever uses it. First the host hands over what it holds back.
void Daemon::take_away() {
    log_.debug("signal received, unmounting");
    if (unmount_host(line_.mountpoint, false).ok()) {
        (void)wait_ended(-1, false);
        return;
    }
    sync_host(line_.mountpoint);
    auto gone = unmount_host(line_.mountpoint, true);
    if (!gone.ok() && gone.error() != Errno::inval) // EINVAL: somebody else was faster
        log_.warning("cannot unmount {}: {}", line_.mountpoint, errno_message(gone.error()));
    (void)wait_ended(grace_ms, false);
}

int Daemon::finish() {
    session_->stop();
    session_.reset();
    remounter_.reset();
    auto unmounted = kernel_->unmount(*mount_, true);
    if (!unmounted.ok())
        log_.error("the image was not written to its end: {}", errno_message(unmounted.error()));
    kernel_.reset();
    remove_pidfile();
    return static_cast<int>(unmounted.ok() ? ExitCode::ok : ExitCode::mount_failed);
}

DaemonResult<int> Daemon::run(Launch& launch) {
    confine();
    TRY(block_signals());
    TRY(mount_kernel());
    TRY(mount_host());
    if (interrupted()) {
        take_away();
        (void)finish();
        return DaemonError{ExitCode::interrupted, "interrupted"};
    }
    hint_unwritable();
    log_.debug("mounted on {}, transport {}", line_.mountpoint, session_->transport_name());
    report_ready(launch);
    wait_for_end();
    return finish();
}

DaemonResult<int> start(int argc, char** argv, const DaemonSpec& spec) {
    CommandLine line = TRY(parse_command_line(argc, argv, spec));
    if (line.what == CommandLine::What::help) {
        print(stdout, help_text(spec));
        return 0;
    }
    if (line.what == CommandLine::What::version) {
        print(stdout, fmt::format("{} {}\n", spec.name, RUMP_VERSION));
        return 0;
    }
    if (line.remount) {
        line.mountpoint = TRY(check_mounted(line.mountpoint));
        TRY(remount(line, spec));
        return 0;
    }
    line.mountpoint = TRY(check_mountpoint(line.mountpoint));
    if (spec.type.needs_device()) line.image = TRY(absolute(line.image));
    for (std::string* path : {&line.image_options.cow_file, &line.pidfile})
        if (!path->empty()) *path = TRY(absolute(*path));
    for (const std::string& path : {line.image, line.image_options.cow_file, line.pidfile})
        if (!path.empty()) TRY(check_not_hidden(line.mountpoint, path));
    Launch launch = TRY(Launch::begin(line.foreground));
    if (auto code = launch.parent_exit()) return *code;
    Daemon daemon(spec, std::move(line));
    return daemon.run(launch);
}

} // namespace

int daemon_main(int argc, char** argv, const DaemonSpec& spec) {
    host::keep_standard_descriptors();
    DaemonResult<int> result = DaemonError{ExitCode::system, "out of memory"};
    try {
        result = start(argc, argv, spec);
    } catch (const std::bad_alloc&) { // stays what it is
    }
    if (result.ok()) return *result;
    print(stderr, host::printable(fmt::format("{}: {}", spec.name, result.error().text)) + "\n");
    return static_cast<int>(result.error().code);
}

} // namespace rump
