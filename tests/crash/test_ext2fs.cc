// ext2 after a cut of power: no journal, so e2fsck mends it, and nothing that was synced is lost.
#include "tests/crash/explore_cuts.h"
#include "tests/crash/judges.h"

#include "kernel/fs/ext2fs/ext2fs.h"
#include "kernel/kern/kernel.h"

#include <catch2/catch.hpp>

using namespace rump;

namespace {

std::unique_ptr<host::BlockDevice> empty_image(uint64_t size, std::string_view block_size,
                                               std::string_view inode_size) {
    auto image = crash::poisoned(size);
    host::SeededRandom random(3);
    Kernel kernel({nullptr, &random, nullptr, false});
    OptionSet options;
    REQUIRE(options.set(ext2::type().newfs_options(), "block_size", block_size).ok());
    REQUIRE(options.set(ext2::type().newfs_options(), "inode_size", inode_size).ok());
    REQUIRE(ext2::type().newfs(kernel, *image, options).ok());
    return image;
}

using Check = std::function<crash::Complaint(host::BlockDevice&)>;

/// e2fsck has nothing to add to our own repair.
Check mended_by_us() {
    return [outside = crash::outside_check({{"e2fsck -fn {}", {0}}})](
               host::BlockDevice& device) -> crash::Complaint {
        host::Log log(host::null_sink());
        CheckOptions options;
        options.repair = options.force = true;
        auto report = ext2::type().check(device, options, log);
        if (!report) return report.error().text;
        std::string found;
        for (const Finding& f : report->findings)
            found += f.code + ": " + f.place + ": " + f.message + (f.repaired ? "\n" : ", left\n");
        if (report->exit_code() > 1) return "left: " + found;
        auto complaint = outside(device);
        return complaint.empty() ? complaint : complaint + "after repair of\n" + found;
    };
}

void explore(std::string name, std::unique_ptr<host::BlockDevice> image, Check check) {
    crash::Subject subject{.type = ext2::type(), .name = std::move(name), .image = *image};
    subject.check = std::move(check);
    crash::explore_cuts(subject, 150, test::long_run().seed);
}

} // namespace

TEST_CASE("ext2 with blocks of 1 KiB keeps what was synced through a cut of power") {
    explore("ext2, 1 KiB blocks", empty_image(12 << 20, "1024", "128"), crash::mended_by_e2fsck());
}

TEST_CASE("ext2 with blocks of 4 KiB keeps what was synced through a cut of power") {
    explore("ext2, 4 KiB blocks", empty_image(12 << 20, "4096", "256"), crash::mended_by_e2fsck());
}

TEST_CASE("ext2's own check mends what a cut of power leaves") {
    explore("ext2, 1 KiB blocks, own check", empty_image(12 << 20, "1024", "256"), mended_by_us());
    explore("ext2, 4 KiB blocks, own check", empty_image(12 << 20, "4096", "128"), mended_by_us());
}
