// What a file system type answers when it does not say otherwise.
#include "kernel/sys/filesystem.h"

#include <fmt/core.h>

namespace rump {

int CheckReport::exit_code() const {
    bool repaired = false;
    for (const Finding& finding : findings) {
        if (finding.severity == Finding::Severity::note) continue;
        if (!finding.repaired) return 4;
        repaired = true;
    }
    return repaired ? 1 : 0;
}

FailureOr<CheckReport> FileSystemType::check(host::BlockDevice&, const CheckOptions&,
                                             host::Log&) const {
    return Failure(Errno::opnotsupp, fmt::format("{} has no checker", name()));
}

FailureOr<void> FileSystemType::newfs(Kernel&, host::BlockDevice&, const OptionSet&) const {
    return Failure(Errno::opnotsupp, fmt::format("{} cannot make new file systems", name()));
}

} // namespace rump
