// See launch.h.
#include "daemons/common/launch.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <utility>

namespace rump {

namespace {

/// The child's report, or what its end without one means.
int await_report(int pipe, pid_t child) {
    char word = 0;
    ssize_t got;
    while ((got = ::read(pipe, &word, 1)) < 0 && errno == EINTR) {
    }
    if (got == 1) return static_cast<int>(ExitCode::ok);
    int status = 0;
    while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) != 0) return WEXITSTATUS(status);
    if (WIFSIGNALED(status) && (WTERMSIG(status) == SIGINT || WTERMSIG(status) == SIGTERM))
        return static_cast<int>(ExitCode::interrupted);
    return static_cast<int>(ExitCode::internal);
}

} // namespace

DaemonResult<Launch> Launch::begin(bool foreground) {
    Launch launch;
    if (foreground) return launch;
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0)
        return DaemonError{ExitCode::system, fmt::format("cannot make a pipe: {}",
                                                         errno_message(errno_from_host(errno)))};
    const pid_t child = ::fork();
    if (child < 0)
        return DaemonError{ExitCode::system,
                           fmt::format("cannot fork: {}", errno_message(errno_from_host(errno)))};
    if (child == 0) {
        ::close(ends[0]);
        launch.report_ = ends[1];
        return launch;
    }
    ::close(ends[1]);
    // Ctrl-C reaches the child too, which takes back what it did and says so.
    ::signal(SIGINT, SIG_IGN);
    ::signal(SIGTERM, SIG_IGN);
    launch.parent_exit_ = await_report(ends[0], child);
    ::close(ends[0]);
    return launch;
}

Launch::Launch(Launch&& other) noexcept
    : report_(std::exchange(other.report_, -1)), parent_exit_(other.parent_exit_) {}

Launch::~Launch() {
    if (report_ >= 0) ::close(report_);
}

void Launch::detach() {
    if (report_ < 0) return;
    ::setsid();
    (void)!::chdir("/");
    const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null >= 0) {
        for (int fd = 0; fd < 3; ++fd) ::dup2(null, fd);
        if (null > 2) ::close(null);
    }
    (void)!::write(report_, "+", 1);
    ::close(std::exchange(report_, -1));
}

} // namespace rump
