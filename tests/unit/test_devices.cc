// What every block device does alike, run over each kind; and what the kinds in memory do beyond
// it.
#include "hostshim/faulty_device.h"
#include "hostshim/file_device.h"
#include "hostshim/memory_device.h"
#include "hostshim/overlay_device.h"
#include "hostshim/random.h"
#include "hostshim/recording_device.h"
#include "hostshim/thread.h"
#include "tests/unit/temp_dir.h"

#include <catch2/catch.hpp>

#include <cstring>
#include <fcntl.h>
#include <functional>
#include <unistd.h>

using namespace rump;
using namespace rump::host;
using rump::test::TempDir;

namespace {

using Bytes = std::vector<std::byte>;

Bytes random_bytes(Random& random, size_t size) {
    Bytes bytes(size);
    random.fill(bytes);
    return bytes;
}

void make_file(const std::string& path, const Bytes& contents) {
    int fd = open(path.c_str(), O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0644);
    REQUIRE(fd >= 0);
    REQUIRE(write(fd, contents.data(), contents.size()) == static_cast<ssize_t>(contents.size()));
    close(fd);
}

Bytes read_all(BlockDevice& device) {
    Bytes bytes(device.size());
    REQUIRE(device.read(0, bytes).ok());
    return bytes;
}

// Not a multiple of any chunk: the last one is short everywhere.
constexpr uint64_t device_size = 300 * 1024 + 512;

/// Each kind over the same contents. What a kind keeps outside is in `dir`.
struct Kind {
    const char* name;
    std::function<std::unique_ptr<BlockDevice>(const TempDir& dir, const Bytes& contents)> make;
};

std::unique_ptr<BlockDevice> file_in(const TempDir& dir, const Bytes& contents, Access access,
                                     uint64_t margin) {
    Bytes padded(margin, std::byte{0xee});
    padded.insert(padded.end(), contents.begin(), contents.end());
    padded.resize(padded.size() + margin, std::byte{0xee});
    make_file(dir / "image", padded);
    auto device = open_file_device(dir / "image",
                                   {.access = access, .offset = margin, .size = contents.size()});
    REQUIRE(device.ok());
    return device.release_value();
}

const Kind kinds[] = {
    {"memory", [](const TempDir&, const Bytes& c) { return make_memory_device(c); }},
    {"file",
     [](const TempDir& dir, const Bytes& c) { return file_in(dir, c, Access::read_write, 0); }},
    {"file window",
     [](const TempDir& dir, const Bytes& c) { return file_in(dir, c, Access::read_write, 777); }},
    {"memory overlay",
     [](const TempDir&, const Bytes& c) { return make_memory_overlay(make_memory_device(c)); }},
    {"file overlay",
     [](const TempDir& dir, const Bytes& c) {
         auto overlay = open_file_overlay(make_memory_device(c), dir / "delta");
         REQUIRE(overlay.ok());
         return overlay.release_value();
     }},
    {"recording",
     [](const TempDir&, const Bytes& c) -> std::unique_ptr<BlockDevice> {
         return std::make_unique<RecordingDevice>(make_memory_device(c));
     }},
    {"faulty, not armed",
     [](const TempDir&, const Bytes& c) -> std::unique_ptr<BlockDevice> {
         return std::make_unique<FaultyDevice>(make_memory_device(c));
     }},
};

} // namespace

TEST_CASE("a device gives back what was written, and keeps the rest") {
    for (const Kind& kind : kinds) {
        SECTION(kind.name) {
            TempDir dir;
            SeededRandom random(7);
            Bytes model = random_bytes(random, device_size);
            auto device = kind.make(dir, model);
            REQUIRE(device->size() == device_size);
            CHECK_FALSE(device->read_only());
            CHECK(device->sector_size() >= 512);
            CHECK_FALSE(device->name().empty());
            CHECK(read_all(*device) == model);

            for (int i = 0; i < 400; ++i) {
                uint64_t offset = random.below(device_size);
                uint64_t length = 1 + random.below(std::min<uint64_t>(device_size - offset, 70000));
                switch (random.below(6)) {
                case 0: {
                    REQUIRE(device->write_zeros(offset, length).ok());
                    std::memset(&model[offset], 0, length);
                    break;
                }
                case 1: {
                    Bytes seen(length);
                    REQUIRE(device->read(offset, seen).ok());
                    CHECK(std::memcmp(seen.data(), &model[offset], length) == 0);
                    break;
                }
                case 2:
                    REQUIRE(device->flush().ok());
                    break;
                case 3: {
                    Bytes data = random_bytes(random, length);
                    WritePiece pieces[] = {WritePiece(data).first(length / 3),
                                           {},
                                           WritePiece(data).subspan(length / 3)};
                    REQUIRE(device->writev(offset, pieces).ok());
                    std::memcpy(&model[offset], data.data(), length);
                    break;
                }
                case 4: {
                    Bytes seen(length);
                    ReadPiece pieces[] = {
                        ReadPiece(seen).first(length / 2), {}, ReadPiece(seen).subspan(length / 2)};
                    REQUIRE(device->readv(offset, pieces).ok());
                    CHECK(std::memcmp(seen.data(), &model[offset], length) == 0);
                    break;
                }
                default: {
                    Bytes data = random_bytes(random, length);
                    REQUIRE(device->write(offset, data).ok());
                    std::memcpy(&model[offset], data.data(), length);
                }
                }
            }
            REQUIRE(device->flush().ok());
            CHECK(read_all(*device) == model);
        }
    }
}

TEST_CASE("a request that reaches past the end fails and changes nothing") {
    for (const Kind& kind : kinds) {
        SECTION(kind.name) {
            TempDir dir;
            const Bytes contents(device_size, std::byte{0x11});
            auto device = kind.make(dir, contents);
            Bytes two(2);
            ReadPiece read_pieces[] = {two, two};
            WritePiece write_pieces[] = {two};
            const uint64_t last = device_size - 1;
            CHECK(device->read(last, two).error() == Errno::io);
            CHECK(device->write(last, two).error() == Errno::io);
            CHECK(device->write_zeros(last, 2).error() == Errno::io);
            CHECK(device->readv(device_size, read_pieces).error() == Errno::io);
            CHECK(device->writev(last, write_pieces).error() == Errno::io);
            CHECK(device->read(UINT64_MAX, two).error() == Errno::io);
            CHECK(device->write(UINT64_MAX - 1, two).error() == Errno::io);
            CHECK_FALSE(device->direct(last, 2, false).has_value());
            CHECK(device->read(device_size, {}).ok());
            device->read_ahead(last, 2);
            CHECK(read_all(*device) == contents);
        }
    }
}

TEST_CASE("discard leaves everything outside the range alone") {
    for (const Kind& kind : kinds) {
        SECTION(kind.name) {
            TempDir dir;
            SeededRandom random(3);
            const Bytes contents = random_bytes(random, device_size);
            auto device = kind.make(dir, contents);
            REQUIRE(device->write(0, contents).ok());
            auto discarded = device->discard(70000, 100000);
            if (!discarded.ok()) CHECK(discarded.error() == Errno::opnotsupp);
            Bytes seen = read_all(*device);
            CHECK(std::memcmp(seen.data(), contents.data(), 70000) == 0);
            CHECK(std::memcmp(&seen[170000], &contents[170000], device_size - 170000) == 0);
            CHECK(device->discard(device_size, 1).error() == Errno::io);
        }
    }
}

TEST_CASE("parallel requests that do not overlap do not disturb each other") {
    for (const Kind& kind : kinds) {
        SECTION(kind.name) {
            TempDir dir;
            auto device = kind.make(dir, Bytes(device_size, std::byte{0xff}));
            constexpr uint64_t stride = 1000; // several threads write into each chunk
            std::atomic<int> wrong{0};
            {
                std::vector<Thread> threads;
                for (uint64_t t = 0; t < 4; ++t) {
                    auto thread = Thread::start("writer", [&, t] {
                        for (uint64_t at = t * stride; at + stride <= device_size;
                             at += 4 * stride) {
                            Bytes data(stride, static_cast<std::byte>(at / stride % 251));
                            if (!device->write(at, data).ok()) ++wrong;
                            Bytes seen(stride);
                            if (!device->read(at, seen).ok() || seen != data) ++wrong;
                            if (at % 7 == 0 && !device->flush().ok()) ++wrong;
                        }
                    });
                    REQUIRE(thread.ok());
                    threads.push_back(thread.release_value());
                }
            }
            CHECK(wrong == 0);
            Bytes seen = read_all(*device);
            for (uint64_t at = 0; at + stride <= device_size; at += stride)
                if (seen[at] != static_cast<std::byte>(at / stride % 251) ||
                    seen[at + stride - 1] != seen[at])
                    ++wrong;
            CHECK(wrong == 0);
        }
    }
}

TEST_CASE("a memory device is sparse: a huge one costs what is written") {
    auto device = make_memory_device(uint64_t{1} << 50);
    Bytes data(3, std::byte{5}), seen(3);
    const uint64_t far = (uint64_t{1} << 50) - 3;
    REQUIRE(device->write(far, data).ok());
    REQUIRE(device->read(far, seen).ok());
    CHECK(seen == data);
    REQUIRE(device->read(uint64_t{1} << 40, seen).ok());
    CHECK(seen == Bytes(3));
    REQUIRE(device->write_zeros(uint64_t{1} << 45, uint64_t{1} << 30).ok());
}

TEST_CASE("overlays of one base do not see each other, and the base stays") {
    const Bytes contents(device_size, std::byte{1});
    auto base = make_memory_device(contents);
    auto first = make_memory_overlay(*base);
    auto second = make_memory_overlay(*base);
    Bytes data(10, std::byte{2});
    REQUIRE(first->write(4090, data).ok());
    CHECK(read_all(*second) == contents);
    CHECK(read_all(*base) == contents);
    Bytes seen(12);
    REQUIRE(first->read(4089, seen).ok());
    CHECK(seen.front() == std::byte{1});
    CHECK(seen[10] == std::byte{2});
    CHECK(seen[11] == std::byte{1});
}

TEST_CASE("a recording replays to the same contents, in order, with its marks") {
    SeededRandom random(11);
    RecordingDevice device(make_memory_device(device_size));
    for (int i = 0; i < 50; ++i) {
        uint64_t offset = random.below(device_size - 5000);
        REQUIRE(device.write(offset, random_bytes(random, 1 + random.below(5000))).ok());
        if (i % 10 == 9) REQUIRE(device.flush().ok());
        if (i == 25) device.mark(42);
    }
    REQUIRE(device.discard(0, 512).ok());

    auto copy = make_memory_device(device_size);
    size_t flushes = 0, writes = 0, discards = 0;
    std::vector<uint64_t> marks;
    for (const RecordedEvent& event : device.events()) {
        flushes += event.kind == RecordedEvent::Kind::flush;
        writes += event.kind == RecordedEvent::Kind::write;
        discards += event.kind == RecordedEvent::Kind::discard;
        if (event.kind == RecordedEvent::Kind::mark) {
            marks.push_back(event.mark);
            CHECK(writes == 26);
        }
        REQUIRE(replay(event, *copy).ok());
    }
    CHECK(flushes == 5);
    CHECK(writes == 50);
    CHECK(discards == 1);
    CHECK(marks == std::vector<uint64_t>{42});
    CHECK(read_all(*copy) == read_all(device));
}

TEST_CASE("a faulty device fails at the n-th operation of its kind") {
    using Operation = FaultPlan::Operation;
    FaultyDevice device(make_memory_device(device_size));
    Bytes data(512);

    device.arm({.operation = Operation::write, .nth = 3});
    CHECK(device.write(0, data).ok());
    CHECK(device.read(0, data).ok());
    CHECK(device.write(0, data).ok());
    CHECK(device.write(0, data).error() == Errno::io);
    CHECK(device.write(0, data).ok());
    CHECK(device.strikes() == 1);

    device.arm(
        {.operation = Operation::flush, .nth = 2, .persistent = true, .error = Errno::nospc});
    CHECK(device.flush().ok());
    CHECK(device.flush().error() == Errno::nospc);
    CHECK(device.flush().error() == Errno::nospc);
    CHECK(device.strikes() == 2);

    device.arm({.operation = Operation::read, .nth = 1});
    CHECK(device.read(0, data).error() == Errno::io);
    device.arm({});
    CHECK(device.read(0, data).ok());
    CHECK(device.strikes() == 0);
}

TEST_CASE("a torn write leaves the first half of its sectors") {
    FaultyDevice device(make_memory_device(Bytes(8192, std::byte{1})));
    device.arm({.operation = FaultPlan::Operation::write, .nth = 1, .torn = true});
    CHECK(device.write(1024, Bytes(2560, std::byte{2})).error() == Errno::io);
    Bytes seen = read_all(device);
    CHECK(seen[1023] == std::byte{1});
    CHECK(seen[1024] == std::byte{2});
    CHECK(seen[1024 + 1023] == std::byte{2});
    CHECK(seen[1024 + 1024] == std::byte{1});
}
