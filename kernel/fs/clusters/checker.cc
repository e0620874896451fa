// Checker: see checker.h.
#include "kernel/fs/clusters/checker.h"

#include <new>

namespace rump::clusters {

FailureOr<CheckReport> Checker::run() {
    if (repair_ && device_.read_only()) return Failure(Errno::rofs, "the image cannot be written");
    try {
        owned_.resize(uint64_t{cluster_count_} + first_cluster);
        auto done = check_all();
        if (done && repair_) done = device_.flush();
        if (!done) return Failure(done.error());
    } catch (const std::bad_alloc&) {
        return Failure(Errno::nomem);
    }
    return std::move(report_);
}

bool Checker::wrong(std::string code, std::string place, std::string message, bool mendable) {
    bool mended = repair_ && mendable;
    report_.findings.push_back(
        {Finding::Severity::wrong, std::move(code), std::move(place), std::move(message), mended});
    return mended;
}

bool Checker::second_name(uint32_t first, const std::string& path) {
    auto [other, alone] = paths_.emplace(first, path);
    return !alone && wrong("two-names", path, "is the same file as " + other->second);
}

} // namespace rump::clusters
