// FAT and exFAT after a cut of power: lost clusters at the worst, and nothing that was synced is
// lost.
#include "tests/crash/explore_cuts.h"

#include "hostshim/memory_device.h"
#include "kernel/fs/registry.h"
#include "kernel/kern/kernel.h"

#include <catch2/catch.hpp>
#include <fmt/format.h>

#include <algorithm>

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

/// Our own check: what a cut may leave, and nothing left after mending.
crash::Complaint judge(const FileSystemType& type, host::BlockDevice& device) {
    host::Log log(host::null_sink());
    CheckOptions options;
    options.repair = true;
    auto first = type.check(device, options, log);
    if (!first) return first.error().text;
    options.repair = false;
    auto second = type.check(device, options, log);
    if (!second) return second.error().text;
    for (const Finding& finding : second->findings)
        return fmt::format("after mending: {}: {}: {}", finding.code, finding.place,
                           finding.message);
    return {};
}

/// What fsck.fat may say of a cut: it was dirty, clusters are lost, in chains that are longer than
/// their files or in none, and a rename between directories was cut between its two entries: then
/// a directory has two names, of which its ".." is right for one. The mark of a new last cluster
/// may stand in two sectors of a FAT12, of which one arrived.
constexpr const char* fsck_fat_output =
    "(fsck\\.fat .*\n|/proc/.*\n|Warning: Filesystem is FAT32 according.*\n"
    " *but has only .*\n *This may lead to problems.*\n| *There are differences between boot.*\n"
    "This is mostly harmless.*\n( +[0-9:/a-f, ]+\n)+ *Not automatically fixing this\\.\n"
    "|Dirty bit is set.*\n *Automatically removing dirty bit\\.\n"
    "|Reclaimed \\d+ unused clusters? .*\n|Free cluster summary wrong .*\n *Auto-correcting\\.\n"
    "|FATs differ but appear to be intact.*\n *Using first FAT\\.\n"
    "|/.*\n +File size is .* cluster chain length is > .*\n +Truncating file to .*\n"
    "|(/.*\n +Invalid '\\.\\.' entry in the second slot\\. +Fixing\\.\n)?"
    "/.* +and\n/.*\n +share clusters\\.\n +Truncating second to .*\n"
    "(/.*\n +File size is .* cluster chain length is .*\n +Truncating file to .*\n)?"
    "(/.*\n +Invalid '\\.\\.' entry in the second slot\\. +Fixing\\.\n)?"
    "|Cluster [0-9]+ out of range \\((4080|3840) > [0-9]+\\)\\. Setting to EOF\\.\n"
    "|\n|Leaving filesystem unchanged\\.\n)*";
/// The same for fsck.exfat.
constexpr const char* fsck_exfat_output =
    "(exfatprogs version .*\n|/proc/.*\n"
    "|ERROR: .* (more clusters are allocated|cluster is already allocated for the other file)\\. "
    "truncated? to .* Truncate \\(y/N\\)\\? n\n)*";

/// Looks with the format's own program.
std::function<crash::Complaint(host::BlockDevice&)> outside_look(std::string_view type) {
    const bool fat = type == "msdosfs";
    const std::string program = fat ? "fsck.fat" : "fsck.exfat";
    return crash::outside_check(
        {{program + " -n {}", {0, 1, 4}, fat ? fsck_fat_output : fsck_exfat_output}});
}

void explore(const Format& format) {
    const FileSystemType& type = *find_filesystem(format.type);
    crash::Subject subject{.type = type, .name = format.name, .image = empty_image(format)};
    subject.hard_links = false;
    subject.symlinks = false;
    subject.check = [&](host::BlockDevice& device) { return judge(type, device); };
    subject.look_at_cut = outside_look(type.name());
    const test::LongRun& run = test::long_run();
    for (uint64_t i = 0; i < run.workloads.value_or(1); ++i) {
        subject.directory_renames = false;
        subject.ordered = true;
        crash::explore_cuts(subject, 100, run.seed + i);
        // A rename whose two entries stand in different sectors can be cut in between: then a
        // directory has two names, and under the second one that is met nothing can be read until a
        // check has run.
        subject.directory_renames = true;
        subject.ordered = false;
        crash::explore_cuts(subject, 50, run.seed + i);
    }
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
