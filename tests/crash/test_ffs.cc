// FFS after a cut of power. Without a log the own check mends it; with one a mount alone does.
#include "tests/crash/explorer.h"
#include "tests/support/ffs_volume.h"
#include "tests/support/long_run.h"

#include "hostshim/memory_device.h"
#include "kernel/fs/ffs/ffs.h"

#include <catch2/catch.hpp>

using namespace rump;

namespace {

const std::vector<crash::Complaint> no_complaints;

std::vector<std::byte> empty_image(uint64_t size, const test::FfsLayout& layout) {
    std::vector<std::byte> image(size);
    crash::poison(image);
    auto device = host::make_memory_device(image);
    test::make_ffs(*device, layout);
    REQUIRE(device->read(0, image).ok());
    return image;
}

crash::Complaint mend(host::BlockDevice& device) {
    if (auto left = test::ffs_findings(device, true); !left.empty()) return left;
    return test::ffs_findings(device);
}

void explore(const test::FfsLayout& layout) {
    crash::Subject subject{.type = ffs::type(),
                           .name = "FFS " + layout.name(),
                           .image = empty_image(12 << 20, layout)};
    subject.check = mend;
    if (layout.log)
        subject.verify_after_mount = [](host::BlockDevice& d) { return test::ffs_findings(d); };
    const test::LongRun& run = test::long_run();
    crash::Options options;
    options.states = run.cases.value_or(60);
    options.seed = run.seed;
    options.only = run.only;
    options.threads = run.threads;
    const crash::Outcome outcome = crash::explore(subject, options);
    CHECK(outcome.states > 0);
    REQUIRE(outcome.complaints == no_complaints);
}

} // namespace

TEST_CASE("FFS keeps what was synced through a cut of power") {
    explore({"1", "le", "8k", "1k", false});
    explore({"2", "be", "16k", "2k", false});
    explore({"2", "le", "4k", "4k", false});
    explore({"1", "be", "32k", "4k", false});
}

TEST_CASE("FFS with a log is whole after a cut of power when it is mounted") {
    explore({"1", "be", "8k", "1k", true});
    explore({"2", "le", "16k", "2k", true});
    explore({"2", "be", "4k", "4k", true});
    explore({"1", "le", "32k", "4k", true});
}
