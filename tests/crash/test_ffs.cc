// FFS after a cut of power. Without a log the own check mends it; with one a mount alone does.
#include "tests/crash/explorer.h"
#include "tests/support/long_run.h"

#include "hostshim/memory_device.h"
#include "kernel/fs/ffs/ffs.h"
#include "kernel/kern/kernel.h"

#include <catch2/catch.hpp>

using namespace rump;

namespace {

const std::vector<crash::Complaint> no_complaints;

struct Format {
    const char* format;
    const char* order;
    const char* block;
    const char* fragment;
    bool log;
};

std::string name_of(const Format& f) {
    return std::string("UFS") + f.format + " " + f.order + " " + f.block + "/" + f.fragment +
           (f.log ? ", log" : "");
}

std::vector<std::byte> empty_image(uint64_t size, const Format& f) {
    std::vector<std::byte> image(size);
    crash::poison(image);
    auto device = host::make_memory_device(image);
    host::SeededRandom random(3);
    Kernel kernel({nullptr, &random, nullptr, false});
    OptionSet options;
    const auto set = [&](const char* name, const char* value) {
        REQUIRE(options.set(ffs::type().newfs_options(), name, value).ok());
    };
    set("O", f.format);
    set("B", f.order);
    set("b", f.block);
    set("f", f.fragment);
    if (f.log) set("l", "1m");
    REQUIRE(ffs::type().newfs(kernel, *device, options).ok());
    REQUIRE(device->read(0, image).ok());
    return image;
}

/// All findings but notes; of a repair, those that it leaves.
crash::Complaint findings(host::BlockDevice& device, bool repair) {
    host::Log log(host::null_sink());
    CheckOptions options;
    options.force = true;
    options.repair = repair;
    auto report = ffs::type().check(device, options, log);
    if (!report) return "check: " + report.error().text;
    for (const Finding& f : report->findings)
        if (f.severity != Finding::Severity::note && !f.repaired)
            return "check: " + f.code + ", " + f.place + ": " + f.message;
    return {};
}

crash::Complaint mend(host::BlockDevice& device) {
    if (auto left = findings(device, true); !left.empty()) return left;
    return findings(device, false);
}

void explore(const Format& f) {
    crash::Subject subject{
        .type = ffs::type(), .name = name_of(f), .image = empty_image(12 << 20, f)};
    subject.check = mend;
    if (f.log) subject.verify_after_mount = [](host::BlockDevice& d) { return findings(d, false); };
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
