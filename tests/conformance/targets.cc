// The list of targets. See targets.h.
#include "tests/conformance/targets.h"

#include "kernel/fs/registry.h"

#include <stdexcept>

namespace rump::conformance {

Target* find_target(std::string_view name) {
    const std::string_view type = name.substr(0, name.find('/'));
    if (find_filesystem(type) == nullptr) return nullptr;
    if (type == "ffs")
        return type == name ? &ffs_target() : &ffs_target(name.substr(type.size() + 1));
    // Only the one that is asked for: RUMP_NEWFS is meant for it.
    if (name == "tmpfs") return &tmpfs_target();
    if (name == "ext2fs") return &ext2fs_target();
    if (name == "msdosfs") return &msdosfs_target();
    if (name == "exfatfs") return &exfatfs_target();
    return nullptr;
}

void check_with_ours(const Target& target, host::BlockDevice& device) {
    if (!target.type().can_check()) return;
    host::Log log(host::null_sink());
    auto report = target.type().check(device, {.force = true}, log);
    if (!report.ok()) throw std::runtime_error("check: " + report.error().text);
    for (const Finding& finding : report->findings)
        if (finding.severity != Finding::Severity::note)
            throw std::runtime_error("check: " + finding.place + ": " + finding.message);
}

} // namespace rump::conformance
