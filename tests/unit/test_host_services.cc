// Clocks, random numbers, the log and the host's table of mounts.
#include "hostshim/clock.h"
#include "hostshim/log.h"
#include "hostshim/mountinfo.h"
#include "hostshim/random.h"

#include <catch2/catch.hpp>

#include <array>
#include <set>
#include <vector>

using namespace rump;
using namespace rump::host;

TEST_CASE("the real clock is valid and never goes backwards") {
    Timespec now = real_clock().realtime();
    CHECK(now.sec > 1'600'000'000);
    CHECK(now.nsec < 1'000'000'000);
    uint64_t first = real_clock().monotonic_ns();
    CHECK(real_clock().monotonic_ns() >= first);
}

TEST_CASE("a virtual clock moves by its step and when told to") {
    VirtualClock clock({-1, 999'999'999}, 1);
    CHECK(clock.realtime() == Timespec{-1, 999'999'999});
    CHECK(clock.realtime() == Timespec{0, 0});
    clock.advance(3'000'000'005);
    CHECK(clock.realtime() == Timespec{3, 6});

    VirtualClock still({100, 5});
    CHECK(still.realtime() == still.realtime());
    CHECK(still.monotonic_ns() == 0);
}

TEST_CASE("a seed gives the same numbers everywhere") {
    SeededRandom random(0);
    // The first outputs of splitmix64 from 0, as its authors publish them.
    CHECK(random.next() == 0xe220a8397b1dcdafull);
    CHECK(random.next() == 0x6e789e6aa1b965f4ull);
    CHECK(random.next() == 0x06c45d188009454full);
}

TEST_CASE("below() stays below and reaches every value") {
    SeededRandom random(1);
    std::set<uint64_t> seen;
    for (int i = 0; i < 200; ++i) seen.insert(random.below(7));
    CHECK(seen == std::set<uint64_t>{0, 1, 2, 3, 4, 5, 6});
    CHECK(random.below(1) == 0);
    CHECK(real_random().below(10) < 10);
}

TEST_CASE("fill() writes every byte and no other") {
    SeededRandom random(2);
    std::array<std::byte, 16> bytes{};
    random.fill(std::span(bytes).subspan(1, 13));
    CHECK(bytes.front() == std::byte{0});
    CHECK(bytes[14] == std::byte{0});
    CHECK(bytes[15] == std::byte{0});
    CHECK(std::span(bytes).subspan(1, 13).size() == 13);
    CHECK((bytes[9] != std::byte{0} || bytes[13] != std::byte{0}));
}

TEST_CASE("a log passes on what is at its level or above") {
    std::vector<std::string> lines;
    Log log([&](LogLevel, std::string_view text) { lines.emplace_back(text); }, LogLevel::warning);
    log.info("hidden {}", 1);
    log.warning("block {}", 7);
    log.error("{} of {}", "inode", 12u);
    CHECK(lines == std::vector<std::string>{"block 7", "inode of 12"});
    log.set_threshold(LogLevel::off);
    log.error("hidden");
    CHECK(lines.size() == 2);
    CHECK_FALSE(log.enabled(LogLevel::error));
}

TEST_CASE("a message shows control characters as escapes and stays one line") {
    std::string line;
    Log log([&](LogLevel, std::string_view text) { line = text; });
    log.error("{}", "a\033[2J\nb\tc\x7f\302\233d\\é");
    CHECK(line == "a\\033[2J\\nb\\tc\\177\\302\\233d\\é");
}

TEST_CASE("a table of mounts is taken apart, whatever stands in its fields") {
    const auto mounts = parse_mountinfo(
        "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue\n"
        "40 36 0:52 / /a\\040b\\134c\\011\\012 ro shared:3 master:1 - fuse.x  ro,user_id=7\n"
        "a line that is none\n"
        "41 36 7:0 / /- rw - tmpfs - ro_not,rw");
    REQUIRE(mounts.size() == 3);
    CHECK(mounts[0].device == "98:0");
    CHECK(mounts[0].where == "/mnt2");
    CHECK(mounts[0].options == "rw,noatime");
    CHECK(mounts[0].type == "ext3");
    CHECK(mounts[0].source == "/dev/root");
    CHECK(mounts[0].super_options == "rw,errors=continue");
    CHECK(mounts[1].where == "/a b\\c\t\n");
    CHECK(mounts[1].type == "fuse.x");
    CHECK(mounts[1].source.empty());
    CHECK(has_mount_option(mounts[1].super_options, "ro"));
    CHECK(mounts[2].where == "/-");
    CHECK(mounts[2].source == "-");
    CHECK_FALSE(has_mount_option(mounts[2].super_options, "ro"));

    // That of this process has a root.
    bool root = false;
    for (const MountEntry& mount : mount_table()) root = root || mount.where == "/";
    CHECK(root);
}
