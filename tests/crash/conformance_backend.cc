// The bodies of the conformance suite as workloads of the crash explorer: when one has passed, some
// of the states that a cut could have left are looked at.
#include "tests/conformance/direct.h"
#include "tests/conformance/suite.h"
#include "tests/crash/fat_judges.h"

#include "hostshim/memory_device.h"

#include <stdexcept>

namespace rump::conformance {

std::unique_ptr<Backend> make_backend(Target& target, ImageKind kind) {
    const auto& image = target.image(kind);
    auto device = std::make_unique<host::RecordingDevice>(host::make_memory_device(image));
    auto explore = [&target, &image, recorder = device.get()] {
        crash::Subject subject{.type = target.type(), .name = target.traits().name, .image = image};
        crash::judge_as_fat(subject, true);
        crash::Options options;
        options.states = options.flushes = 8;
        const auto outcome = crash::explore_recorded(subject, recorder->events(), options);
        if (!outcome.complaints.empty()) throw std::runtime_error(outcome.complaints.front());
    };
    return make_direct_backend(target, kind, std::move(device), explore);
}

std::optional<std::string> backend_unavailable() { return std::nullopt; }

} // namespace rump::conformance
