// Outside checkers: an image in a file in memory, and a program that is run on it.
#include "tests/crash/explorer.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <regex>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

namespace rump::crash {

namespace {

/// A file without a name: gone with its descriptor, whatever happens to us.
class MemoryFile {
public:
    MemoryFile() : fd_(::memfd_create("crash-state", 0)) {}
    ~MemoryFile() {
        if (fd_ >= 0) ::close(fd_);
    }
    MemoryFile(const MemoryFile&) = delete;
    MemoryFile& operator=(const MemoryFile&) = delete;
    std::string path() const { return fmt::format("/proc/{}/fd/{}", ::getpid(), fd_); }

    bool take_from(host::BlockDevice& device) {
        return each(device, [&](uint64_t at, std::span<std::byte> piece) {
            return device.read(at, piece).ok() &&
                   ::pwrite(fd_, piece.data(), piece.size(), static_cast<off_t>(at)) ==
                       static_cast<ssize_t>(piece.size());
        });
    }
    /// Writes only what differs.
    bool give_to(host::BlockDevice& device) {
        std::vector<std::byte> old(piece_size);
        return each(device, [&](uint64_t at, std::span<std::byte> piece) {
            auto before = std::span(old).first(piece.size());
            if (::pread(fd_, piece.data(), piece.size(), static_cast<off_t>(at)) !=
                static_cast<ssize_t>(piece.size()))
                return false;
            if (!device.read(at, before)) return false;
            return std::equal(piece.begin(), piece.end(), before.begin()) ||
                   device.write(at, piece).ok();
        });
    }

private:
    static constexpr size_t piece_size = 1u << 16;
    template<class F>
    bool each(host::BlockDevice& device, F&& move) {
        std::vector<std::byte> buffer(piece_size);
        for (uint64_t at = 0; at < device.size(); at += piece_size) {
            auto n = std::min<uint64_t>(piece_size, device.size() - at);
            if (!move(at, std::span(buffer).first(n))) return false;
        }
        return true;
    }
    int fd_;
};

Complaint run_outside(const OutsideRun& run, const std::string& path) {
    std::string command = run.command;
    if (size_t at = command.find("{}"); at != command.npos) command.replace(at, 2, path);
    std::FILE* pipe = ::popen((command + " 2>&1").c_str(), "r");
    if (!pipe) return "cannot run " + command;
    std::string said;
    char line[512];
    while (std::fgets(line, sizeof line, pipe))
        if (said.size() < 2000) said += line;
    int status = ::pclose(pipe);
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    if (std::find(run.exit_codes.begin(), run.exit_codes.end(), code) != run.exit_codes.end())
        return run.output.empty() || std::regex_match(said, std::regex(run.output))
                   ? Complaint()
                   : run.command + ": " + said;
    return fmt::format("{}: exit code {}: {}", run.command, code, said);
}

} // namespace

std::function<Complaint(host::BlockDevice&)> outside_check(std::vector<OutsideRun> runs) {
    return [runs = std::move(runs)](host::BlockDevice& device) -> Complaint {
        MemoryFile file;
        if (!file.take_from(device)) return "cannot write the state to a file";
        for (const OutsideRun& run : runs)
            if (auto complaint = run_outside(run, file.path()); !complaint.empty())
                return complaint;
        if (!file.give_to(device)) return "cannot read the checked state";
        return {};
    };
}

} // namespace rump::crash
