// Running other programs from a test: a daemon, mkfs, fsck.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace rump::conformance {

struct Exit {
    int code = -1;      // 128 + signal when killed by one
    std::string output; // standard output and error
};

/// Runs `command` (found by PATH) and waits for it. 127: it could not be started.
Exit run(const std::vector<std::string>& command);

/// "a b c", for messages.
std::string joined(const std::vector<std::string>& command);

/// A directory that is gone, with all in it, when the object is.
class TemporaryDirectory {
public:
    TemporaryDirectory();
    ~TemporaryDirectory();
    TemporaryDirectory(const TemporaryDirectory&) = delete;
    TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
    const std::string& path() const { return path_; }

private:
    std::string path_;
};

} // namespace rump::conformance
