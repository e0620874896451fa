// Option values as users write them, and the exit codes of a check.
#include "images/image.h"
#include "kernel/sys/filesystem.h"
#include "kernel/sys/mount_options.h"

#include <catch2/catch.hpp>

using namespace rump;

TEST_CASE("sizes are numbers with a power of 1024 behind them") {
    CHECK(*parse_size("0") == 0);
    CHECK(*parse_size("512") == 512);
    CHECK(*parse_size("64k") == 65536);
    CHECK(*parse_size("10M") == 10u << 20);
    CHECK(*parse_size("1G") == 1u << 30);
    CHECK(*parse_size("2T") == 2ull << 40);
    CHECK(*parse_size("16777215T") == 16777215ull << 40);
    CHECK(parse_size("16777216T").error() == Errno::range);
    CHECK(parse_size("18446744073709551616").error() == Errno::range);
    for (const char* bad : {"", "k", "-1", "1.5M", "1kk", "1 k", "0x10", " 1", "1P"})
        CHECK(parse_size(bad).error() == Errno::inval);
}

TEST_CASE("options are checked against what the file system declares") {
    using Kind = OptionSpec::Kind;
    const OptionSpec specs[] = {
        {"fast", Kind::flag, "", ""},      {"utf8", Kind::flag, "1", ""},
        {"label", Kind::text, "NAME", ""}, {"count", Kind::number, "N", ""},
        {"size", Kind::size, "BYTES", ""}, {"mode", Kind::octal, "MODE", ""}};
    OptionSet set;
    REQUIRE(set.set(specs, "fast", std::nullopt).ok());
    REQUIRE(set.set(specs, "utf8", std::nullopt).ok());
    REQUIRE(set.set(specs, "utf8", "1").ok());
    REQUIRE(set.set(specs, "label", "a b").ok());
    REQUIRE(set.set(specs, "count", "0x1f").ok());
    REQUIRE(set.set(specs, "size", "4k").ok());
    REQUIRE(set.set(specs, "mode", "1777").ok());
    CHECK(set.has("fast"));
    CHECK_FALSE(set.has("slow"));
    CHECK(set.text("label") == "a b");
    CHECK(set.text("other", "none") == "none");
    CHECK(set.number("count", 0) == 31);
    CHECK(set.number("size", 0) == 4096);
    CHECK(set.number("mode", 0) == 01777);
    CHECK(set.number("other", 7) == 7);
    REQUIRE(set.set(specs, "count", "5").ok());
    CHECK(set.number("count", 0) == 5);

    const std::pair<const char*, std::optional<std::string_view>> refused[] = {
        {"slow", std::nullopt}, {"fast", "1"},     {"label", std::nullopt},
        {"fast", ""},           {"utf8", "0"},     {"utf8", ""},
        {"label", ""},          {"count", "many"}, {"count", ""},
        {"size", "4x"},         {"mode", "8"},     {"count", "99999999999999999999"}};
    for (auto [name, value] : refused) {
        auto result = set.set(specs, name, value);
        REQUIRE_FALSE(result.ok());
        CHECK(result.error().code == Errno::inval);
        CHECK(result.error().text.find(name) != std::string::npos);
    }
    CHECK(set.number("count", 0) == 5);
}

TEST_CASE("a list of options is split at commas that no backslash precedes") {
    CHECK(split_options("ro,uid=5") == std::vector<std::string>{"ro", "uid=5"});
    CHECK(split_options(R"(cow=a\,b,part=c\\,)") ==
          std::vector<std::string>{"cow=a,b", "part=c\\"});
    CHECK(split_options(",,").empty());
    CHECK(NamedOption("ro").value == std::nullopt);
    CHECK(NamedOption("cow=").value == "");
    CHECK(NamedOption("label=a=b").name == "label");
    CHECK(NamedOption("label=a=b").value == "a=b");
}

TEST_CASE("of mount options that exclude each other the last one counts") {
    MountOptions mount;
    for (const std::string& item : split_options("ro,noatime,errors=abort,cache=1M,umask=22,uid=7"))
        REQUIRE(set_mount_option(mount, NamedOption(item)).ok());
    CHECK(mount.read_only);
    CHECK(mount.atime == AtimePolicy::none);
    CHECK(mount.errors == ErrorPolicy::abort);
    CHECK(mount.cache_bytes == 1u << 20);
    CHECK(mount.umask == 022);
    CHECK(mount.uid == 7);
    CHECK_FALSE(mount.gid);
    for (const std::string& item : split_options("rw,relatime,errors=continue,acl,noacl"))
        REQUIRE(set_mount_option(mount, NamedOption(item)).ok());
    CHECK_FALSE(mount.read_only);
    CHECK(mount.atime == AtimePolicy::relative);
    CHECK(mount.errors == ErrorPolicy::carry_on);
    CHECK_FALSE(mount.acl);
}

TEST_CASE("a mount option that cannot be is refused by its name") {
    for (std::string_view item : {"uid=4294967295", "gid=x", "umask=1000", "errors=panic",
                                  "cache=255k", "cache=2048T", "ro=1", "sync=yes", "speed=high"}) {
        MountOptions mount;
        auto set = set_mount_option(mount, NamedOption(item));
        REQUIRE_FALSE(set.ok());
        CHECK(set.error().code == Errno::inval);
        CHECK(set.error().text.find(NamedOption(item).name) != std::string::npos);
    }
    MountOptions mount;
    mount.no_recovery = true;
    CHECK_FALSE(check_mount_options(mount).ok());
    mount.read_only = true;
    CHECK(check_mount_options(mount).ok());
}

TEST_CASE("cow= may name its delta file or not; other image options need a value") {
    images::ImageOptions image;
    REQUIRE(images::set_image_option(image, "cow", std::nullopt).ok());
    CHECK(image.cow);
    CHECK(image.cow_file.empty());
    REQUIRE(images::set_image_option(image, "cow", "delta").ok());
    CHECK(image.cow_file == "delta");
    REQUIRE(images::set_image_option(image, "offset", "1M").ok());
    CHECK(image.offset == 1u << 20);
    REQUIRE(images::set_image_option(image, "part", "e").ok());
    CHECK(image.partition == "e");
    for (const char* name : {"offset", "size", "part"})
        CHECK_FALSE(images::set_image_option(image, name, std::nullopt).ok());
}

TEST_CASE("the exit code of a check is fsck's") {
    CheckReport report;
    CHECK(report.exit_code() == 0);
    report.findings.push_back({.severity = Finding::Severity::note});
    CHECK(report.exit_code() == 0);
    report.findings.push_back({.repaired = true});
    CHECK(report.exit_code() == 1);
    report.findings.push_back({.severity = Finding::Severity::fatal});
    CHECK(report.exit_code() == 4);
}
