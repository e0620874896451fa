// FAT and exFAT after a cut of power: lost clusters at the worst, and nothing that was synced is
// lost.
#include "tests/crash/explore_cuts.h"
#include "tests/crash/fat_judges.h"

#include "hostshim/memory_device.h"
#include "kernel/fs/registry.h"
#include "kernel/kern/kernel.h"

#include <catch2/catch.hpp>

using namespace rump;

namespace {

struct Format {
    std::string name;
    const char* type;
    uint64_t size;
    std::vector<std::pair<const char*, const char*>> newfs;
};

std::vector<std::byte> empty_image(const Format& format) {
    std::vector<std::byte> image(format.size);
    crash::poison(image);
    auto device = host::make_memory_device(image);
    host::SeededRandom random(3);
    Kernel kernel({nullptr, &random, nullptr, false});
    const FileSystemType& type = *find_filesystem(format.type);
    OptionSet options;
    for (auto [name, value] : format.newfs)
        REQUIRE(options.set(type.newfs_options(), name, value).ok());
    REQUIRE(type.newfs(kernel, *device, options).ok());
    REQUIRE(device->read(0, image).ok());
    return image;
}

void explore(const Format& format) {
    const FileSystemType& type = *find_filesystem(format.type);
    crash::Subject subject{.type = type, .name = format.name, .image = empty_image(format)};
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
