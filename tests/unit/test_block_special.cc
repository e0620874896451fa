// Block special files: loop devices, where the host lets us make some (root only; else skipped).
#include "hostshim/file_device.h"
#include "tests/unit/skipped.h"
#include "tests/unit/temp_dir.h"

#include <catch2/catch.hpp>

#include <cstdio>
#include <fcntl.h>
#include <optional>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace rump;
using namespace rump::host;
using Catch::Matchers::Contains;
using rump::test::TempDir;

namespace {

using Bytes = std::vector<std::byte>;
constexpr FileDeviceOptions writing{.access = Access::read_write};

/// A command's output up to the first line end; none when it fails.
std::optional<std::string> output_of(const std::string& command) {
    FILE* pipe = popen((command + " 2>/dev/null").c_str(), "re");
    if (!pipe) return std::nullopt;
    char line[4096] = "";
    bool any = fgets(line, sizeof line, pipe) != nullptr;
    int status = pclose(pipe);
    if (status != 0) return std::nullopt;
    std::string text = any ? line : "";
    if (text.ends_with('\n')) text.pop_back();
    return text;
}

/// A loop device over an image of 4 MiB; given back at the end.
class Loop {
public:
    explicit Loop(const std::string& options = "") {
        FILE* file = fopen((dir_ / "image").c_str(), "we");
        REQUIRE(file);
        const bool sized = ftruncate(fileno(file), 4 << 20) == 0;
        fclose(file);
        REQUIRE(sized);
        if (geteuid() != 0) {
            rump::test::skipped("loop devices are made by root");
            return;
        }
        if (auto name = output_of("losetup --find --show " + options + " " + image())) {
            device_ = *name;
            return;
        }
        rump::test::skipped("no loop device to be had");
    }
    ~Loop() {
        if (!device_.empty()) (void)output_of("losetup --detach " + device_);
    }
    Loop(const Loop&) = delete;
    Loop& operator=(const Loop&) = delete;

    std::string image() const { return dir_ / "image"; }
    const std::string& device() const { return device_; }
    std::string mount_point() const { return dir_ / "mnt"; }
    explicit operator bool() const { return !device_.empty(); }

private:
    TempDir dir_;
    std::string device_;
};

} // namespace

TEST_CASE("a file that backs a loop device is not written, and the device is named") {
    Loop loop;
    if (!loop) return;
    auto refused = open_file_device(loop.image(), writing);
    REQUIRE_FALSE(refused.ok());
    CHECK(refused.error().code == Errno::busy);
    CHECK_THAT(refused.error().text, Contains(loop.device()));
    CHECK(open_file_device(loop.image(), {}).ok());
}

TEST_CASE("a block device has its size, keeps what is written, and is written by one") {
    Loop loop;
    if (!loop) return;
    auto device = open_file_device(loop.device(), writing);
    REQUIRE(device.ok());
    CHECK((*device)->size() == 4 << 20);
    REQUIRE((*device)->write(100'000, Bytes(100'000, std::byte{1})).ok());
    REQUIRE((*device)->write_zeros(102'400, 4096).ok());
    REQUIRE((*device)->write_zeros(110'001, 3).ok());
    auto discarded = (*device)->discard(150'001, 20'000);
    if (!discarded.ok()) CHECK(discarded.error() == Errno::opnotsupp);
    REQUIRE((*device)->flush().ok());
    Bytes seen(100'000);
    REQUIRE((*device)->read(100'000, seen).ok());
    CHECK(seen[0] == std::byte{1});
    CHECK(seen[2400] == std::byte{0});
    CHECK(seen[2400 + 4095] == std::byte{0});
    CHECK(seen[2400 + 4096] == std::byte{1});
    CHECK(seen[10'001] == std::byte{0});
    CHECK(seen[10'004] == std::byte{1});
    CHECK(seen[50'000] == std::byte{1});
    CHECK(seen[71'000] == std::byte{1});

    auto second = open_file_device(loop.device(), writing);
    REQUIRE_FALSE(second.ok());
    CHECK(second.error().code == Errno::busy);
}

TEST_CASE("a write-protected block device is EROFS for writing") {
    Loop loop("--read-only");
    if (!loop) return;
    auto refused = open_file_device(loop.device(), writing);
    REQUIRE_FALSE(refused.ok());
    CHECK(refused.error().code == Errno::rofs);
    CHECK(open_file_device(loop.device(), {}).ok());
}

TEST_CASE(
    "a block device that the host has mounted is refused, for reading too when it is written") {
    Loop loop;
    if (!loop) return;
    REQUIRE(output_of("mke2fs -q -F -t ext2 " + loop.device()));
    REQUIRE(mkdir(loop.mount_point().c_str(), 0755) == 0);
    if (mount(loop.device().c_str(), loop.mount_point().c_str(), "ext2", 0, nullptr) != 0) {
        rump::test::skipped("the host cannot mount ext2");
        return;
    }
    auto write = open_file_device(loop.device(), writing);
    auto read = open_file_device(loop.device(), {});
    REQUIRE(umount(loop.mount_point().c_str()) == 0);
    REQUIRE_FALSE(write.ok());
    CHECK(write.error().code == Errno::busy);
    REQUIRE_FALSE(read.ok());
    CHECK(read.error().code == Errno::busy);
    CHECK_THAT(read.error().text, Contains(loop.mount_point()));
    CHECK(open_file_device(loop.device(), writing).ok());
}
