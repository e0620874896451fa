// Becoming a daemon in such a way that the command returns when the mount is live, or with the
// reason why it is not.
//
// The process forks before anything is opened and before any thread starts. The child does all the
// work with the terminal's standard error; the parent waits for its word, or its death.
#pragma once

#include "daemons/common/exit_code.h"

#include <optional>

namespace rump {

class Launch {
public:
    /// In the foreground nothing forks. Returns in the child; in the parent, too, with the exit
    /// code once the child has reported: see parent_exit(). Error: system.
    static DaemonResult<Launch> begin(bool foreground);
    Launch(Launch&& other) noexcept;
    Launch& operator=(Launch&&) = delete;
    ~Launch();

    /// Set in the parent: what the command exits with.
    std::optional<int> parent_exit() const { return parent_exit_; }
    /// The mount is live: the parent exits with 0, this process leaves the terminal.
    void detach();

private:
    Launch() = default;
    int report_ = -1; // pipe to the parent
    std::optional<int> parent_exit_;
};

} // namespace rump
