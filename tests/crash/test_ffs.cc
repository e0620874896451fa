// FFS after a cut of power. Without a log the own check mends it; with one a mount alone does.
#include "tests/crash/explore_cuts.h"
#include "tests/crash/judges.h"
#include "tests/support/ffs_volume.h"

#include "kernel/fs/ffs/ffs.h"

#include <catch2/catch.hpp>

using namespace rump;

namespace {

void explore(const test::FfsLayout& layout, uint64_t seed) {
    const auto image = crash::poisoned(12 << 20);
    test::make_ffs(*image, layout);
    crash::Subject subject{.type = ffs::type(), .name = "FFS " + layout.name(), .image = *image};
    crash::judge_as_ffs(subject, layout.log);
    crash::explore_cuts(subject, 60, seed);
}

/// The seed decides about the layout, so that it is enough to repeat one.
void explore_all(bool log) {
    std::vector<test::FfsLayout> layouts;
    for (const auto& layout : test::ffs_layouts())
        if (layout.log == log) layouts.push_back(layout);
    const test::LongRun& run = test::long_run();
    for (uint64_t i = 0; i < run.workloads.value_or(layouts.size()); ++i)
        explore(layouts[(run.seed + i) % layouts.size()], run.seed + i);
}

} // namespace

TEST_CASE("FFS keeps what was synced through a cut of power") { explore_all(false); }

TEST_CASE("FFS with a log is whole after a cut of power when it is mounted") { explore_all(true); }
