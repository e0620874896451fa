// Exit codes of mount(8), and the error that carries one to main.
#pragma once

#include "hostshim/result.h"

namespace rump {

enum class ExitCode : int {
    ok = 0,
    usage = 1,
    system = 2,
    internal = 4,
    interrupted = 8,
    pidfile =
        16, // mount(8): "problems writing or locking mtab", the file that lists what is mounted
    mount_failed = 32,
};

/// Why a daemon ends without a mount: one line for the user.
struct DaemonError {
    ExitCode code;
    std::string text;
};

template<class T>
using DaemonResult = Result<T, DaemonError>;

} // namespace rump
