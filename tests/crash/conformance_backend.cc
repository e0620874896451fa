// The bodies of the conformance suite as workloads of the crash explorer: when one has passed, some
// of the states that a cut could have left are looked at.
#include "tests/conformance/direct.h"
#include "tests/conformance/suite.h"
#include "tests/crash/judges.h"
#include "tests/support/ffs_volume.h"

#include "hostshim/overlay_device.h"

#include <cstdlib>
#include <stdexcept>

namespace rump::conformance {

namespace {

/// States of each body, at flushes and between.
uint64_t cuts() {
    const char* told = std::getenv("RUMP_CUTS");
    return told ? std::stoull(told) : 4;
}

/// Who says what a cut may leave of the type.
void set_judges(crash::Subject& subject) {
    if (subject.type.name() == "ext2fs") {
        subject.check = crash::mended_by_e2fsck();
        subject.ordered = false; // an entry, and a node of an index, may lie in two sectors
    } else if (subject.type.name() == "ffs") {
        const char* layout = std::getenv("RUMP_NEWFS");
        crash::judge_as_ffs(subject, layout && test::FfsLayout::parse(layout).log);
    } else {
        crash::judge_as_fat(subject, true);
    }
}

} // namespace

std::unique_ptr<Backend> make_backend(Target& target, ImageKind kind) {
    host::BlockDevice& image = *target.image(kind);
    auto device = std::make_unique<host::RecordingDevice>(host::make_memory_overlay(image));
    auto explore = [&target, &image, recorder = device.get()] {
        crash::Subject subject{.type = target.type(), .name = target.traits().name, .image = image};
        set_judges(subject);
        crash::Options options;
        options.states = options.flushes = cuts();
        const auto outcome = crash::explore_recorded(subject, recorder->events(), options);
        if (!outcome.complaints.empty()) throw std::runtime_error(outcome.complaints.front());
    };
    return make_direct_backend(target, kind, std::move(device), explore);
}

std::optional<std::string> backend_unavailable() { return std::nullopt; }

} // namespace rump::conformance
