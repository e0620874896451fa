// Outside checkers: an image in a file in memory, and a program that is run on it.
#include "tests/crash/explorer.h"
#include "tests/support/memory_file.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <regex>
#include <sys/wait.h>

namespace rump::crash {

namespace {

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
        test::MemoryFile file(device.size());
        if (!file.take_from(device)) return "cannot write the state to a file";
        for (const OutsideRun& run : runs)
            if (auto complaint = run_outside(run, file.path()); !complaint.empty())
                return complaint;
        if (!file.give_to(device)) return "cannot read the checked state";
        return {};
    };
}

} // namespace rump::crash
