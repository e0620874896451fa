// FAT after a cut of power: lost clusters at the worst, and nothing that was synced is lost.
#include "tests/crash/explorer.h"
#include "tests/support/long_run.h"

#include "hostshim/memory_device.h"
#include "kernel/fs/msdosfs/vfsops.h"
#include "kernel/kern/kernel.h"

#include <catch2/catch.hpp>
#include <fmt/format.h>

using namespace rump;

namespace {

const std::vector<crash::Complaint> no_complaints;

std::vector<std::byte> empty_image(uint64_t size, std::string_view bits, std::string_view cluster) {
    std::vector<std::byte> image(size);
    crash::poison(image);
    auto device = host::make_memory_device(image);
    host::SeededRandom random(3);
    Kernel kernel({nullptr, &random, nullptr, false});
    OptionSet options;
    REQUIRE(options.set(msdosfs::type().newfs_options(), "fat", bits).ok());
    REQUIRE(options.set(msdosfs::type().newfs_options(), "cluster", cluster).ok());
    REQUIRE(msdosfs::type().newfs(kernel, *device, options).ok());
    REQUIRE(device->read(0, image).ok());
    return image;
}

/// Our own check: what a cut may leave, and nothing left after mending.
crash::Complaint judge(host::BlockDevice& device) {
    host::Log log(host::null_sink());
    CheckOptions options;
    options.repair = true;
    auto first = msdosfs::type().check(device, options, log);
    if (!first) return first.error().text;
    options.repair = false;
    auto second = msdosfs::type().check(device, options, log);
    if (!second) return second.error().text;
    for (const Finding& finding : second->findings)
        return fmt::format("after mending: {}: {}: {}", finding.code, finding.place,
                           finding.message);
    return {};
}

void explore(std::string name, std::vector<std::byte> image) {
    crash::Subject subject{
        .type = msdosfs::type(), .name = std::move(name), .image = std::move(image)};
    subject.hard_links = false;
    subject.symlinks = false;
    // A rename whose two entries stand in different sectors can be cut in between: then a directory
    // has two names, and under the second one that is met nothing can be read until a check has
    // run.
    subject.ordered = false;
    subject.check = judge;
    const test::LongRun& run = test::long_run();
    crash::Options options;
    options.states = run.cases.value_or(150);
    options.seed = run.seed;
    options.only = run.only;
    options.threads = run.threads;
    const crash::Outcome outcome = crash::explore(subject, options);
    CHECK(outcome.states > 0);
    REQUIRE(outcome.complaints == no_complaints);
}

} // namespace

TEST_CASE("FAT12 keeps what was synced through a cut of power") {
    explore("FAT12", empty_image(4 << 20, "12", "2048"));
}

TEST_CASE("FAT16 keeps what was synced through a cut of power") {
    explore("FAT16", empty_image(10 << 20, "16", "1024"));
}

TEST_CASE("FAT32 keeps what was synced through a cut of power") {
    explore("FAT32", empty_image(10 << 20, "32", "512"));
}
