// Devices over files: what is refused and how it is said, locks, windows, deltas that are found
// again.
#include "hostshim/faulty_device.h"
#include "hostshim/file_device.h"
#include "hostshim/memory_device.h"
#include "hostshim/overlay_device.h"
#include "hostshim/thread.h"
#include "tests/unit/skipped.h"
#include "tests/unit/temp_dir.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <fcntl.h>
#include <optional>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utility>

using namespace rump;
using namespace rump::host;
using Catch::Matchers::Contains;
using rump::test::make_file;
using rump::test::TempDir;

namespace {

using Bytes = std::vector<std::byte>;
constexpr FileDeviceOptions reading{.access = Access::read_only};
constexpr FileDeviceOptions writing{.access = Access::read_write};

Failure refusal(const std::string& path, const FileDeviceOptions& options) {
    auto device = open_file_device(path, options);
    REQUIRE_FALSE(device.ok());
    return device.release_error();
}

/// The exit status of `body` in a child process.
template<class Body>
int in_child(Body body) {
    pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) _exit(body());
    int status = -1;
    REQUIRE(waitpid(child, &status, 0) == child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

} // namespace

TEST_CASE("what is no image is refused with the reason") {
    TempDir dir;
    CHECK(refusal(dir / "missing", reading).code == Errno::noent);

    auto directory = refusal(dir.path(), reading);
    CHECK(directory.code == Errno::isdir);
    CHECK_THAT(directory.text, Contains("directory"));

    CHECK(refusal(make_file(dir, "empty", 0), writing).code == Errno::nxio);
    CHECK(refusal("/dev/null", reading).code == Errno::inval);
    REQUIRE(mkfifo((dir / "fifo").c_str(), 0644) == 0);
    CHECK(refusal(dir / "fifo", reading).code == Errno::inval);

    auto image = make_file(dir, "image", 4096);
    auto beyond = refusal(image, {.offset = 4096});
    CHECK(beyond.code == Errno::inval);
    CHECK_THAT(beyond.text, Contains("4096"));
    auto too_short = refusal(image, {.access = Access::read_write, .offset = 1024, .size = 3073});
    CHECK(too_short.code == Errno::inval);
    CHECK_THAT(too_short.text, Contains("too short"));
    CHECK(refusal(image, {.offset = 1, .size = UINT64_MAX}).code == Errno::inval);
}

TEST_CASE("a file that the user may not touch is EACCES") {
    TempDir dir;
    auto image = make_file(dir, "image", 4096);
    REQUIRE(chmod(image.c_str(), 0444) == 0);
    REQUIRE(chmod(dir.path().c_str(), 0755) == 0);
    // Root may anything, so ask as somebody else.
    CHECK(in_child([&] {
              if (geteuid() == 0 && setuid(65534) != 0) return 10;
              auto write = open_file_device(image, writing);
              if (write.ok() || write.error().code != Errno::acces) return 1;
              if (write.error().text.find("write") == std::string::npos) return 2;
              return open_file_device(image, reading).ok() ? 0 : 3;
          }) == 0);
}

TEST_CASE("a window shows its part of the file only") {
    TempDir dir;
    auto image = make_file(dir, "image", 10000);
    {
        auto window =
            open_file_device(image, {.access = Access::read_write, .offset = 1000, .size = 2000});
        REQUIRE(window.ok());
        CHECK((*window)->size() == 2000);
        REQUIRE((*window)->write(0, Bytes(2000, std::byte{9})).ok());
        CHECK((*window)->write(1999, Bytes(2)).error() == Errno::io);
        auto direct = (*window)->direct(10, 20, true);
        REQUIRE(direct);
        CHECK(direct->offset == 1010);
    }
    auto rest = open_file_device(image, {.offset = 999});
    REQUIRE(rest.ok());
    CHECK((*rest)->size() == 9001);
    Bytes seen(2002);
    REQUIRE((*rest)->read(0, seen).ok());
    CHECK(seen[0] == std::byte{0});
    CHECK(seen[1] == std::byte{9});
    CHECK(seen[2000] == std::byte{9});
    CHECK(seen[2001] == std::byte{0});
}

TEST_CASE("of an image whose end is missing the rest can be read") {
    TempDir dir;
    auto device = open_file_device(make_file(dir, "image", 8192), {.offset = 1024, .size = 16384});
    REQUIRE(device.ok());
    CHECK((*device)->size() == 16384);
    Bytes seen(4096);
    CHECK((*device)->read(3072, seen).ok());
    CHECK((*device)->read(3073, seen).error() == Errno::io);
    CHECK((*device)->read(12288, seen).error() == Errno::io);
}

TEST_CASE("a device opened for reading writes nothing") {
    TempDir dir;
    auto device = open_file_device(make_file(dir, "image", 4096), reading);
    REQUIRE(device.ok());
    CHECK((*device)->read_only());
    CHECK((*device)->write(0, Bytes(1)).error() == Errno::rofs);
    CHECK((*device)->write_zeros(0, 1).error() == Errno::rofs);
    CHECK((*device)->discard(0, 1).error() == Errno::rofs);
    CHECK((*device)->flush().ok());
    CHECK((*device)->direct(0, 4096, false).has_value());
    CHECK_FALSE((*device)->direct(0, 4096, true).has_value());
}

TEST_CASE("a file that shrinks under a device gives EIO, not stale bytes") {
    TempDir dir;
    auto image = make_file(dir, "image", 8192);
    auto device = open_file_device(image, reading);
    REQUIRE(device.ok());
    REQUIRE(truncate(image.c_str(), 4096) == 0);
    Bytes seen(8192);
    CHECK((*device)->read(0, seen).error() == Errno::io);
    ReadPiece pieces[] = {seen};
    CHECK((*device)->readv(0, pieces).error() == Errno::io);
}

TEST_CASE("a thread's observer hears of reads that wait for the disk, and of no others") {
    struct Counter final : WaitObserver {
        int waits = 0;
        void about_to_wait() override { ++waits; }
    } counter;
    TempDir dir;
    constexpr size_t file_size = 1u << 20;
    const std::string path = make_file(dir, "image", file_size);
    auto device = open_file_device(path, writing);
    REQUIRE(device.ok());
    Bytes data(file_size, std::byte{7});
    REQUIRE((*device)->write(0, data).ok());
    REQUIRE((*device)->flush().ok());
    const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    REQUIRE(fd >= 0);
    const auto forgotten = [fd] { // unless pages are just in use
        REQUIRE(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) == 0);
        void* pages = mmap(nullptr, file_size, PROT_READ, MAP_SHARED, fd, 0);
        REQUIRE(pages != MAP_FAILED);
        std::vector<unsigned char> resident(file_size / 4096);
        REQUIRE(mincore(pages, file_size, resident.data()) == 0);
        munmap(pages, file_size);
        return std::ranges::none_of(resident, [](unsigned char page) { return page & 1; });
    };
    // The question begins the reading, and a quick disk may be done before it is answered. So each
    // is tried time and again, and in turn with a question of our own; none: the host says too
    // seldom that a read would wait.
    const auto waits_of = [&](uint64_t offset, auto&& read) -> std::optional<int> {
        constexpr int attempts = 200;
        int told = 0;
        for (int i = 0; i < attempts && counter.waits == 0; ++i) {
            usleep(1000); // what goes on for long goes quicker
            if (!forgotten()) continue;
            std::byte byte;
            const iovec piece = {&byte, 1};
            const auto at = static_cast<off_t>(offset);
            if (i % 2 == 0)
                read();
            else if (preadv2(fd, &piece, 1, at, RWF_NOWAIT) < 0 && errno == EAGAIN)
                told++;
        }
        const int waits = std::exchange(counter.waits, 0);
        if (waits == 0 && told < attempts / 4) return std::nullopt;
        return waits;
    };

    observe_waits(&counter);
    CHECK((*device)->read(4096, data).error() == Errno::io); // beyond the end: nobody waits
    CHECK(counter.waits == 0);
    const auto read_some = [&] { REQUIRE((*device)->read(0, std::span(data).first(4096)).ok()); };
    const auto about_some = waits_of(0, read_some);
    read_some(); // of what is in memory now
    CHECK(counter.waits == 0);
    const auto about_direct =
        waits_of(131071, [&] { CHECK((*device)->direct(65536, 65536, false).has_value()); });
    observe_waits(nullptr);
    CHECK(waits_of(0, read_some).value_or(0) == 0);
    close(fd);
    CHECK((*device)->read(0, data).ok());
    CHECK(data == Bytes(file_size, std::byte{7}));
    if (!about_some || !about_direct)
        return test::skipped("the host does not say, or not in time, whether a read would wait");
    CHECK(about_some == 1);
    CHECK(about_direct == 1);
}

TEST_CASE("one writer or many readers of an image, in this process") {
    TempDir dir;
    auto image = make_file(dir, "image", 8192);
    {
        auto first = open_file_device(image, reading);
        auto second = open_file_device(image, reading);
        REQUIRE(first.ok());
        REQUIRE(second.ok());
        auto writer = refusal(image, writing);
        CHECK(writer.code == Errno::busy);
        CHECK_THAT(writer.text, Contains("this process"));
    }
    auto writer = open_file_device(image, writing);
    REQUIRE(writer.ok());
    CHECK(refusal(image, reading).code == Errno::busy);
    CHECK(refusal(image, writing).code == Errno::busy);
}

TEST_CASE("a writer keeps other processes out until it is gone") {
    TempDir dir;
    auto image = make_file(dir, "image", 8192);
    auto writer = open_file_device(image, writing);
    REQUIRE(writer.ok());
    CHECK(in_child([&] {
              // The child has inherited our descriptor; asking by one of its own must still fail.
              auto other = open_file_device(image, reading);
              if (other.ok() || other.error().code != Errno::busy) return 1;
              return 0;
          }) == 0);
    writer = Errno::busy; // ends the device
    CHECK(in_child([&] { return open_file_device(image, writing).ok() ? 0 : 1; }) == 0);
}

TEST_CASE("two windows that do not overlap are written at the same time") {
    TempDir dir;
    auto image = make_file(dir, "image", 8192);
    auto first = open_file_device(image, {.access = Access::read_write, .size = 4096});
    auto second = open_file_device(image, {.access = Access::read_write, .offset = 4096});
    CHECK(first.ok());
    CHECK(second.ok());
    CHECK(refusal(image, {.access = Access::read_write, .offset = 4095, .size = 1}).code ==
          Errno::busy);
}

TEST_CASE("discard and zeros give the host's space back") {
    TempDir dir;
    auto image = make_file(dir, "image", 1 << 20);
    auto device = open_file_device(image, writing);
    REQUIRE(device.ok());
    REQUIRE((*device)->write(0, Bytes(1 << 20, std::byte{1})).ok());
    REQUIRE((*device)->flush().ok());
    struct stat before, after;
    REQUIRE(stat(image.c_str(), &before) == 0);
    auto discarded = (*device)->discard(0, 512 * 1024);
    if (!discarded.ok()) {
        rump::test::skipped("the host cannot punch holes here");
        return;
    }
    REQUIRE((*device)->write_zeros(512 * 1024, 256 * 1024).ok());
    REQUIRE((*device)->flush().ok());
    REQUIRE(stat(image.c_str(), &after) == 0);
    CHECK(after.st_size == before.st_size);
    CHECK(after.st_blocks < before.st_blocks);
    Bytes seen(2);
    REQUIRE((*device)->read(768 * 1024 - 1, seen).ok());
    CHECK(seen[0] == std::byte{0});
    CHECK(seen[1] == std::byte{1});
}

// --- deltas -------------------------------------------------------------------------------------

namespace {

std::unique_ptr<BlockDevice> base_of(uint64_t size) {
    return make_memory_device(Bytes(size, std::byte{7}));
}

Failure delta_refusal(uint64_t base_size, const std::string& path) {
    auto overlay = open_file_overlay(base_of(base_size), path);
    REQUIRE_FALSE(overlay.ok());
    return overlay.release_error();
}

/// One that holds something.
void make_delta(uint64_t base_size, const std::string& path) {
    auto overlay = open_file_overlay(base_of(base_size), path);
    REQUIRE(overlay.ok());
    REQUIRE((*overlay)->write(100, Bytes(5, std::byte{1})).ok());
}

} // namespace

TEST_CASE("a delta file is found again, with all that was written") {
    TempDir dir;
    constexpr uint64_t size = 100'000;
    {
        auto overlay = open_file_overlay(base_of(size), dir / "delta");
        REQUIRE(overlay.ok());
        REQUIRE((*overlay)->write(5000, Bytes(10, std::byte{1})).ok());
        REQUIRE((*overlay)->write(size - 3, Bytes(3, std::byte{2})).ok());
        REQUIRE((*overlay)->write_zeros(20'000, 30'000).ok());
        REQUIRE((*overlay)->flush().ok());
        REQUIRE((*overlay)->write(60'000, Bytes(1, std::byte{3})).ok());
    }
    Bytes expected(size, std::byte{7});
    std::fill_n(expected.begin() + 5000, 10, std::byte{1});
    std::fill_n(expected.begin() + 20'000, 30'000, std::byte{0});
    std::fill_n(expected.begin() + 60'000, 1, std::byte{3});
    std::fill_n(expected.end() - 3, 3, std::byte{2});
    auto again = open_file_overlay(base_of(size), dir / "delta");
    REQUIRE(again.ok());
    Bytes seen(size);
    REQUIRE((*again)->read(0, seen).ok());
    CHECK(seen == expected);
    CHECK((*again)->size() == size);
}

TEST_CASE("a delta survives a process that is killed, up to its last flush") {
    TempDir dir;
    CHECK(in_child([&] {
              auto overlay = open_file_overlay(base_of(50'000), dir / "delta");
              if (!overlay.ok() || !(*overlay)->write(100, Bytes(5, std::byte{1})).ok()) return 1;
              if (!(*overlay)->flush().ok()) return 2;
              if (!(*overlay)->write(9000, Bytes(5, std::byte{2})).ok()) return 3;
              _exit(0); // no destructor runs
          }) == 0);
    auto overlay = open_file_overlay(base_of(50'000), dir / "delta");
    REQUIRE(overlay.ok());
    Bytes seen(50'000);
    REQUIRE((*overlay)->read(0, seen).ok());
    CHECK(seen[99] == std::byte{7});
    CHECK(seen[100] == std::byte{1});
    CHECK(seen[105] == std::byte{7});
    // Not flushed: the old or the new bytes, never others.
    CHECK((seen[9000] == std::byte{7} || seen[9000] == std::byte{2}));
    // What the crash left behind does not shine through zeros.
    REQUIRE((*overlay)->write_zeros(8192, 4096).ok());
    REQUIRE((*overlay)->read(0, seen).ok());
    CHECK(seen[9000] == std::byte{0});
}

TEST_CASE("a delta that holds nothing is removed, one that holds something stays") {
    TempDir dir;
    { REQUIRE(open_file_overlay(base_of(50'000), dir / "delta").ok()); }
    CHECK(access((dir / "delta").c_str(), F_OK) != 0);
    make_delta(50'000, dir / "delta");
    { REQUIRE(open_file_overlay(base_of(50'000), dir / "delta").ok()); }
    CHECK(access((dir / "delta").c_str(), F_OK) == 0);
}

TEST_CASE("a delta of another image, or none at all, is refused and left alone") {
    TempDir dir;
    make_delta(50'000, dir / "delta");
    auto other = delta_refusal(50'001, dir / "delta");
    CHECK(other.code == Errno::inval);
    CHECK_THAT(other.text, Contains("50000") && Contains("50001"));

    const auto refused_for = [&](Bytes contents) {
        auto overlay = open_file_overlay(make_memory_device(std::move(contents)), dir / "delta");
        return !overlay.ok() && overlay.error().code == Errno::inval &&
               overlay.error().text.find("another image") != std::string::npos;
    };
    Bytes same(50'000, std::byte{7});
    CHECK_FALSE(refused_for(same));
    for (size_t at : {0u, 1024u, 8191u, 49'999u}) {
        Bytes changed = same;
        changed[at] = std::byte{8};
        CHECK(refused_for(changed));
    }
    CHECK(refused_for(Bytes(50'000)));

    auto text = make_file(dir, "letter", 5000);
    auto none = delta_refusal(50'000, text);
    CHECK(none.code == Errno::inval);
    CHECK_THAT(none.text, Contains("not a delta file") && Contains(text));
    struct stat status;
    REQUIRE(stat(text.c_str(), &status) == 0);
    CHECK(status.st_size == 5000);

    REQUIRE(truncate((dir / "delta").c_str(), 8191) == 0);
    CHECK_THAT(delta_refusal(50'000, dir / "delta").text, Contains("cut off"));

    CHECK(delta_refusal(50'000, dir / "no/such/dir").code == Errno::noent);
    CHECK(delta_refusal(50'000, dir.path()).code == Errno::isdir);
}

TEST_CASE("a delta serves an image of which parts cannot be read") {
    TempDir dir;
    const auto open_over_faults = [&] {
        auto base = std::make_unique<FaultyDevice>(base_of(8 << 20));
        base->arm({.operation = FaultPlan::Operation::read, .nth = 100, .persistent = true});
        return open_file_overlay(std::move(base), dir / "delta");
    };
    {
        auto overlay = open_over_faults();
        REQUIRE(overlay.ok());
        REQUIRE((*overlay)->write(0, Bytes(4096, std::byte{1})).ok());
    }
    auto again = open_over_faults();
    REQUIRE(again.ok());
    Bytes seen(1);
    REQUIRE((*again)->read(0, seen).ok());
    CHECK(seen[0] == std::byte{1});
}

TEST_CASE("a header that lies is refused, whatever byte it is") {
    TempDir dir;
    make_delta(50'000, dir / "delta");
    int fd = open((dir / "delta").c_str(), O_RDWR | O_CLOEXEC);
    REQUIRE(fd >= 0);
    for (off_t at = 0; at < 48; ++at) {
        unsigned char byte, wrong;
        REQUIRE(pread(fd, &byte, 1, at) == 1);
        wrong = byte ^ 0x41;
        REQUIRE(pwrite(fd, &wrong, 1, at) == 1);
        CHECK(delta_refusal(50'000, dir / "delta").code == Errno::inval);
        REQUIRE(pwrite(fd, &byte, 1, at) == 1);
    }
    close(fd);
    CHECK(open_file_overlay(base_of(50'000), dir / "delta").ok());
}

TEST_CASE("a delta is used by one mount at a time") {
    TempDir dir;
    auto first = open_file_overlay(base_of(50'000), dir / "delta");
    REQUIRE(first.ok());
    CHECK(delta_refusal(50'000, dir / "delta").code == Errno::busy);
}
