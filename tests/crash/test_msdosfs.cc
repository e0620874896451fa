// FAT and exFAT after a cut of power: lost clusters at the worst, and nothing that was synced is
// lost.
#include "tests/crash/explore_cuts.h"
#include "tests/crash/judges.h"
#include "tests/support/fat_image.h"

#include <catch2/catch.hpp>

using namespace rump;

namespace {

void explore(const test::FatFormat& format) {
    const auto image = crash::poisoned(format.size);
    test::make_fat(format, *image);
    crash::Subject subject{
        .type = *find_filesystem(format.type), .name = format.name, .image = *image};
    subject.hard_links = false;
    subject.symlinks = false;
    subject.long_names = true;
    crash::judge_as_fat(subject);
    const test::LongRun& run = test::long_run();
    for (uint64_t i = 0; i < run.workloads.value_or(1); ++i)
        crash::explore_cuts(subject, 150, run.seed + i);
}

} // namespace

TEST_CASE("FAT12 keeps what was synced through a cut of power") {
    explore({"FAT12", "msdosfs", 4 << 20, {{"fat", "12"}, {"cluster", "2048"}}});
}

TEST_CASE("FAT16 keeps what was synced through a cut of power") {
    explore({"FAT16", "msdosfs", 10 << 20, {{"fat", "16"}, {"cluster", "1024"}}});
}

TEST_CASE("FAT32 keeps what was synced through a cut of power") {
    explore({"FAT32", "msdosfs", 10 << 20, {{"fat", "32"}, {"cluster", "512"}}});
}

TEST_CASE("exFAT keeps what was synced through a cut of power") {
    explore({"exFAT", "exfatfs", 10 << 20, {{"cluster", "1024"}}});
}
