// Holes: sparse files, punching, zeroing, preallocation, SEEK_DATA and SEEK_HOLE.
#include "tests/conformance/helpers.h"

using namespace rump;
using namespace rump::conformance;

namespace {

constexpr uint64_t kib = 1024;

} // namespace

CONFORMANCE("a hole takes no space and reads as zeros") {
    if (!fs.traits.holes) return;
    auto file = fs.open("f", O_RDWR | O_CREAT);
    file->truncate(10 << 20);
    const Attr attr = file->stat().take();
    CHECK(
        (attr.blocks == 0 || (!fs.traits.hole_at_end && attr.blocks * 512 < 5 * attr.block_size)));
    CHECK(file->read(5 << 20, 10'000) == zeros(10'000));
    file->write(3 << 20, "x");
    file->sync();
    CHECK(file->stat()->blocks * 512 <= 128 * kib);
    CHECK(file->read((3 << 20) - 5, 10) == zeros(5) + "x" + zeros(4));
}

CONFORMANCE("a punched range reads as zeros and gives its space back") {
    if (!fs.traits.holes) return;
    const std::string data = pattern(512 * kib);
    fs.write("f", data);
    auto file = fs.open("f");
    file->sync();
    const uint64_t before = file->stat()->blocks;
    CHECK(file->fallocate(Fallocate::punch_hole, 64 * kib, 256 * kib) == ok);
    CHECK(file->stat()->size == 512 * kib);
    CHECK(file->stat()->blocks <= before - 255 * 2);
    std::string model = data;
    model.replace(64 * kib, 256 * kib, zeros(256 * kib));
    CHECK((file->read() == model));
    file->close();
    if (fs.traits.persistent) fs.reopen();
    CHECK((fs.read("f") == model));
}

CONFORMANCE("punching goes to the byte") {
    if (!fs.traits.holes) return;
    std::string model = pattern(40'000);
    fs.write("f", model);
    auto file = fs.open("f");
    const std::pair<size_t, size_t> ranges[] = {{0, 1},      {100, 50},     {1000, 3000},
                                                {4095, 2},   {8192, 4096},  {12'287, 10},
                                                {39'999, 1}, {20'000, 9999}};
    for (const auto& [offset, length] : ranges) {
        REQUIRE(file->fallocate(Fallocate::punch_hole, offset, length) == ok);
        model.replace(offset, length, zeros(length));
        CHECK((file->read() == model));
    }
}

CONFORMANCE("punching behind the end, or into a hole, changes nothing") {
    if (!fs.traits.holes) return;
    fs.write("f", "text");
    auto file = fs.open("f");
    CHECK(file->fallocate(Fallocate::punch_hole, 4, 10'000) == ok);
    CHECK(file->fallocate(Fallocate::punch_hole, 1 << 20, 10'000) == ok);
    CHECK(file->read() == "text");
    CHECK(file->stat()->size == 4);
    CHECK(file->fallocate(Fallocate::punch_hole, 2, 1 << 30) == ok);
    CHECK(file->read() == "te" + zeros(2));
    file->truncate(1 << 20);
    CHECK(file->fallocate(Fallocate::punch_hole, 100'000, 100'000) == ok);
    CHECK(file->stat()->size == 1 << 20);
}

CONFORMANCE("all of a file can be punched away") {
    if (!fs.traits.holes) return;
    fs.write("f", pattern(300'000));
    auto file = fs.open("f");
    CHECK(file->fallocate(Fallocate::punch_hole, 0, 300'000) == ok);
    CHECK((file->read() == zeros(300'000)));
    // A last block may stay, and what leads to it.
    const Attr attr = file->stat().take();
    CHECK(attr.blocks * 512 <= std::max<uint64_t>(8 * kib, 2 * attr.block_size));
    file->write(150'000, "again");
    CHECK(file->read(150'000, 5) == "again");
}

CONFORMANCE("random punches and writes agree with a model") {
    if (!fs.traits.holes) return;
    std::mt19937 random(23);
    std::string model = pattern(200'000);
    fs.write("f", model);
    auto file = fs.open("f");
    for (int i = 0; i < 150; ++i) {
        const size_t length = random() % 20'000 + 1;
        const size_t offset = random() % (model.size() - length);
        if (random() % 2) {
            REQUIRE(file->fallocate(Fallocate::punch_hole, offset, length) == ok);
            model.replace(offset, length, zeros(length));
        } else {
            const std::string data = pattern(length, random());
            REQUIRE(file->write(offset, data) == length);
            model.replace(offset, length, data);
        }
    }
    CHECK((file->read() == model));
    file->close();
    if (fs.traits.persistent) fs.reopen();
    CHECK((fs.read("f") == model));
}

CONFORMANCE("zeroing a range keeps or extends the size as asked") {
    std::string model = pattern(20'000);
    fs.write("f", model);
    auto file = fs.open("f");
    auto zeroed = file->fallocate(Fallocate::zero_range, 500, 10'000);
    if (fails_with_one_of(zeroed, {Errno::opnotsupp})) return; // not every format has it
    REQUIRE(zeroed == ok);
    model.replace(500, 10'000, zeros(10'000));
    CHECK((file->read() == model));
    const uint64_t behind = fs.traits.preallocation_behind_end || !fs.is_ours() ? 50'000 : 1000;
    CHECK(file->fallocate(Fallocate::zero_keep_size, 19'000, behind) == ok);
    model.replace(19'000, 1000, zeros(1000));
    CHECK((file->read() == model));
    CHECK(file->fallocate(Fallocate::zero_range, 19'500, 10'500) == ok);
    CHECK((file->read() == model + zeros(10'000)));
}

CONFORMANCE("preallocation extends the file with zeros, or leaves its size") {
    auto file = fs.open("f", O_RDWR | O_CREAT);
    file->write(0, "text");
    auto allocated = file->fallocate(Fallocate::allocate, 0, 100'000);
    if (!fs.traits.preallocation || !fs.is_ours()) {
        CHECK((allocated == ok || allocated == Errno::opnotsupp));
        return;
    }
    REQUIRE(allocated == ok);
    CHECK(file->stat()->size == 100'000);
    CHECK(file->stat()->blocks * 512 >= 100'000);
    CHECK((file->read() == "text" + zeros(99'996)));
    auto behind = file->fallocate(Fallocate::keep_size, 100'000, 100'000);
    CHECK((fs.traits.preallocation_behind_end ? behind == ok : behind == Errno::opnotsupp));
    CHECK(file->stat()->size == 100'000);
    CHECK(file->fallocate(Fallocate::allocate, 10, 10) == ok);
    CHECK(file->stat()->size == 100'000);
    file->write(150'000, "x");
    CHECK((file->read(100'000) == zeros(50'000) + "x"));
    file->close();
    if (fs.traits.persistent) fs.reopen();
    CHECK((fs.read("f") == "text" + zeros(149'996) + "x"));
}

CONFORMANCE("fallocate refuses nothing at all, and more than a file can hold") {
    auto file = fs.open("f", O_RDWR | O_CREAT);
    if (file->fallocate(Fallocate::allocate, 0, 1).error() == Errno::opnotsupp) return;
    CHECK(file->fallocate(Fallocate::allocate, 0, 0) == Errno::inval);
    CHECK(file->fallocate(Fallocate::punch_hole, 0, 0) == Errno::inval);
    CHECK(file->fallocate(Fallocate::allocate, INT64_MAX - 100, 200) == Errno::fbig);
    CHECK(file->stat()->size == 1);
    CHECK(fs.open("f", O_RDONLY)->fallocate(Fallocate::allocate, 0, 10) == Errno::badf);
}

CONFORMANCE("data and holes are told apart") {
    if (!fs.traits.holes) return;
    auto file = fs.open("f", O_RDWR | O_CREAT);
    file->truncate(1 << 20);
    file->write(256 * kib, std::string(64 * kib, 'd'));
    file->sync();
    const uint64_t data = file->seek_data(0).take();
    // A system that cannot tell calls all of it data.
    if (data == 0) {
        CHECK(file->seek_hole(0) == uint64_t{1} << 20);
        return;
    }
    CHECK(data == 256 * kib);
    CHECK(file->seek_hole(0) == 0u);
    CHECK(file->seek_hole(256 * kib) == 320 * kib);
    CHECK(file->seek_hole(300'000) == 320 * kib);
    CHECK(file->seek_data(300'000) == 300'000u);
    if (fs.traits.hole_at_end)
        CHECK(file->seek_data(320 * kib) == Errno::nxio);
    else
        CHECK(*file->seek_data(320 * kib) > 900 * kib);
    CHECK(file->seek_hole(320 * kib) == 320 * kib);
}

CONFORMANCE("the end of a file is a hole, behind it is ENXIO") {
    auto file = fs.open("f", O_RDWR | O_CREAT);
    CHECK(file->seek_data(0) == Errno::nxio);
    CHECK(file->seek_hole(0) == Errno::nxio);
    file->write(0, pattern(10'000));
    CHECK(file->seek_data(0) == 0u);
    CHECK(file->seek_data(9999) == 9999u);
    CHECK(file->seek_hole(0) == 10'000u);
    CHECK(file->seek_hole(9999) == 10'000u);
    CHECK(file->seek_data(10'000) == Errno::nxio);
    CHECK(file->seek_hole(10'000) == Errno::nxio);
    CHECK(file->seek_data(1 << 30) == Errno::nxio);
}

CONFORMANCE("a punched hole is found by seek") {
    if (!fs.traits.holes) return;
    fs.write("f", pattern(512 * kib));
    auto file = fs.open("f");
    file->fallocate(Fallocate::punch_hole, 128 * kib, 128 * kib);
    file->sync();
    const uint64_t hole = file->seek_hole(0).take();
    if (hole == 512 * kib) return; // cannot tell
    CHECK(hole == 128 * kib);
    CHECK(file->seek_data(128 * kib) == 256 * kib);
    CHECK(file->seek_hole(256 * kib) == 512 * kib);
}

CONFORMANCE("punching moves mtime and ctime") {
    if (!fs.traits.holes) return;
    fs.write("f", pattern(50'000));
    const Attr before = fs.attr("f");
    fs.tick();
    fs.open("f")->fallocate(Fallocate::punch_hole, 10, 30'000);
    CHECK(fs.attr("f").mtime > before.mtime);
    CHECK(fs.attr("f").ctime > before.ctime);
}

CONFORMANCE_TINY("preallocation that does not fit leaves the space as it was") {
    if (!fs.traits.preallocation || !fs.is_ours()) return;
    auto file = fs.open("f", O_RDWR | O_CREAT);
    file->write(0, "text");
    CHECK(file->sync() == ok); // the host's syncfs(2) does not wait for the data of open files
    const StatVfs before = fs.statvfs().take();
    CHECK(file->fallocate(Fallocate::allocate, 0, 64 << 20) == Errno::nospc);
    CHECK(file->read() == "text");
    CHECK(file->stat()->size == 4);
    file->truncate(4);
    fs.sync();
    CHECK(fs.space_is_back(before));
}
