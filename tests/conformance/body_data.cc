// File data: reading, writing, truncating, big offsets, copying.
#include "tests/conformance/helpers.h"

using namespace rump;
using namespace rump::conformance;

CONFORMANCE("what is written at random offsets is read back, now and after a remount") {
    std::mt19937 random(17);
    std::string model;
    auto file = fs.open("f", O_RDWR | O_CREAT);
    for (int step = 0; step < 400; ++step) {
        const uint64_t offset = random() % 300'000;
        const std::string data = pattern(random() % 9000 + 1, random());
        REQUIRE(file->write(offset, data) == data.size());
        if (model.size() < offset + data.size()) model.resize(offset + data.size());
        model.replace(offset, data.size(), data);
        const uint64_t from = random() % (model.size() + 1000);
        const size_t length = random() % 20'000;
        CHECK(file->read(from, length) ==
              (from < model.size() ? model.substr(from, length) : std::string()));
    }
    CHECK(file->stat()->size == model.size());
    file->close();
    if (fs.traits.persistent) fs.reopen();
    CHECK((fs.read("f") == model));
}

CONFORMANCE("writes of every small size at every small offset land where they should") {
    std::string model(20'000, '\0');
    auto file = fs.open("f", O_RDWR | O_CREAT);
    file->truncate(model.size());
    uint32_t seed = 0;
    for (size_t offset : {0u, 1u, 511u, 512u, 1023u, 1024u, 1025u, 4095u, 4096u, 4097u, 8191u})
        for (size_t length : {1u, 2u, 511u, 512u, 513u, 1024u, 2049u, 4096u, 4097u}) {
            const std::string data = pattern(length, ++seed);
            REQUIRE(file->write(offset, data) == length);
            model.replace(offset, length, data);
        }
    CHECK((file->read() == model));
}

CONFORMANCE("a file of several megabytes survives") {
    const StatVfs room = fs.statvfs().take(); // a volume of FAT12 may be smaller
    const std::string big =
        pattern(std::min<uint64_t>(5'000'000, room.blocks_free * room.fragment_size / 4 * 3), 99);
    fs.write("f", big);
    if (fs.traits.persistent) fs.reopen();
    CHECK((fs.read("f") == big));
    CHECK(fs.attr("f").size == big.size());
    CHECK(fs.attr("f").blocks * 512 >= big.size());
}

CONFORMANCE("reading at and behind the end gives nothing") {
    fs.write("f", "12345");
    auto file = fs.open("f", O_RDONLY);
    CHECK(file->read(5) == "");
    CHECK(file->read(6) == "");
    CHECK(file->read(1ull << 40) == "");
    CHECK(file->read(3, 100) == "45");
    CHECK(file->read(2, 0) == "");
}

CONFORMANCE("what lies between the old end and a write behind it is zeros") {
    auto file = fs.open("f", O_RDWR | O_CREAT);
    file->write(0, "head");
    file->write(100'000, "tail");
    CHECK(file->stat()->size == 100'004);
    CHECK(file->read(0, 200'000) == "head" + zeros(99'996) + "tail");
    if (!fs.traits.persistent) return;
    file->close();
    fs.reopen();
    CHECK(fs.read("f") == "head" + zeros(99'996) + "tail");
}

CONFORMANCE("a file that shrank and grew shows zeros, not what was there") {
    for (size_t size : {1u, 100u, 1023u, 1024u, 1025u, 4095u, 4096u, 5000u, 12'288u, 30'000u}) {
        fs.write("f", std::string(40'000, 'x'));
        auto file = fs.open("f");
        REQUIRE(file->truncate(size) == ok);
        CHECK(file->stat()->size == size);
        REQUIRE(file->truncate(40'000) == ok);
        CHECK((file->read() == std::string(size, 'x') + zeros(40'000 - size)));
        REQUIRE(file->truncate(size) == ok);
        file->write(size + 3000, "y");
        CHECK((file->read() == std::string(size, 'x') + zeros(3000) + "y"));
    }
}

CONFORMANCE("truncation by a path does what the one by a descriptor does") {
    fs.write("f", pattern(20'000));
    CHECK(fs.truncate("f", 7000) == ok);
    CHECK((fs.read("f") == pattern(20'000).substr(0, 7000)));
    CHECK(fs.truncate("f", 0) == ok);
    CHECK(fs.read("f") == "");
    CHECK(fs.attr("f").size == 0);
    CHECK(fs.truncate("f", 10) == ok);
    CHECK(fs.read("f") == zeros(10));
}

CONFORMANCE("only regular files have a size to set") {
    fs.mkdir("d");
    CHECK(fs.truncate("d", 0) == Errno::isdir);
    CHECK(fs.truncate("missing", 0) == Errno::noent);
    if (!fs.traits.special_files) return;
    fs.mknod("p", FileType::fifo);
    CHECK(fs.truncate("p", 0) == Errno::inval);
}

CONFORMANCE("an appending descriptor always writes at the end") {
    fs.write("f", "start");
    auto one = fs.open("f", O_WRONLY | O_APPEND);
    auto two = fs.open("f", O_WRONLY | O_APPEND);
    std::string model = "start";
    for (int i = 0; i < 50; ++i) {
        const std::string text = "line " + std::to_string(i) + "\n";
        CHECK((i % 2 ? one : two)->append(text) == text.size());
        model += text;
    }
    CHECK(fs.read("f") == model);
    fs.truncate("f", 2);
    one->append("x");
    CHECK(fs.read("f") == "stx");
}

CONFORMANCE("a file grows to the format's limit and not beyond") {
    if (!fs.traits.holes) return;
    const uint64_t max = fs.traits.max_file_size;
    auto file = fs.open("f", O_RDWR | O_CREAT | fs.write_through());
    CHECK(file->truncate(max) == ok);
    CHECK(file->stat()->size == max);
    CHECK(file->read(max - 10, 10) == zeros(10));
    CHECK(file->write(max - 1, "z") == 1u);
    CHECK(file->read(max - 1, 1) == "z");
    // Where the format's limit is that of offsets, the host refuses the sum first.
    CHECK(fails_with_one_of(file->write(max, "z"), {Errno::fbig, Errno::inval}));
    CHECK(file->stat()->size == max);
    if (max == INT64_MAX) return;
    CHECK(file->write(max, "z") == Errno::fbig);
    CHECK(file->truncate(max + 1) == Errno::fbig);
    // A write across the limit stops there.
    const auto across = file->write(max - 2, "abcd");
    // Linux makes EIO of a direct write that a FUSE server could do in part.
    CHECK((across == 2u || (!fs.asks_at_open() && across == Errno::io)));
    CHECK(file->read(max - 2, 100) == "ab");
    CHECK(file->stat()->size == max);
}

CONFORMANCE("what a cache took beyond the format's limit is refused when it is synced") {
    if (!fs.traits.holes || fs.traits.max_file_size == INT64_MAX) return;
    const uint64_t max = fs.traits.max_file_size;
    fs.write("f", "before");
    {
        auto file = fs.open("f", O_RDWR);
        const auto written = file->write(max, "z");
        const Status synced = file->sync();
        CHECK((written == Errno::fbig || (!fs.asks_at_open() && synced == Errno::fbig)));
    }
    if (fs.traits.persistent) fs.reopen();
    CHECK(fs.attr("f").size <= max);
    CHECK(fs.read("f").take().substr(0, 6) == "before");
    CHECK(fs.write("f", "after") == ok);
    CHECK(fs.read("f") == "after");
}

CONFORMANCE("the time of a write is that of the call, whenever a cache hands it over") {
    if (!fs.traits.persistent) return;
    // New files: what made them may have been as late as the write.
    for (int i = 0; i < 8; ++i) {
        auto file = fs.open("f" + std::to_string(i), O_RDWR | O_CREAT);
        file->write(0, "content");
        const Timespec shown = file->stat()->mtime;
        fs.tick();
        file->close();
        fs.reopen();
        CHECK(fs.attr("f" + std::to_string(i)).mtime == as_stored(fs, shown));
    }
}

CONFORMANCE("bytes far apart in a sparse file keep to their places") {
    if (!fs.traits.holes) return;
    auto file = fs.open("f", O_RDWR | O_CREAT);
    // Around the places where formats begin another level of indirection.
    std::vector<uint64_t> places{0,          5000,       11'264,     12'288,     13'000,
                                 49'152,     60'000,     274'432,    280'000,    4'243'456,
                                 67'383'296, 68'000'000, 1ull << 30, 3ull << 30, 9ull << 30};
    std::erase_if(places, [&](uint64_t at) { return at + 100 > fs.traits.max_file_size; });
    for (uint64_t at : places) REQUIRE(file->write(at, "at " + std::to_string(at)) == ok);
    file->close();
    if (fs.traits.persistent) fs.reopen();
    auto again = fs.open("f", O_RDWR);
    for (uint64_t at : places) {
        const std::string text = "at " + std::to_string(at);
        CHECK(again->read(at, text.size()) == text);
        if (at > 20'000) CHECK(again->read(at - 600, 600) == zeros(600));
    }
    again->truncate(5002);
    CHECK(again->read(5000) == "at");
    again->truncate(0);
    CHECK(again->stat()->blocks == 0);
}

CONFORMANCE("a write of nothing changes nothing") {
    fs.write("f", "x");
    const Attr before = fs.attr("f");
    fs.tick();
    auto file = fs.open("f");
    CHECK(file->write(0, "") == 0u);
    CHECK(file->write(1000, "") == 0u);
    CHECK(file->stat()->size == 1);
    CHECK(fs.attr("f").mtime == before.mtime);
}

CONFORMANCE("writing moves mtime and ctime") {
    fs.write("f", "x");
    const Attr before = fs.attr("f");
    fs.tick();
    {
        auto file = fs.open("f");
        file->write(0, "y");
        file->sync();
    }
    const Attr after = fs.attr("f");
    CHECK(after.mtime > before.mtime);
    CHECK(after.ctime > before.ctime);
    if (fs.traits.btime) CHECK(after.btime == before.btime);
}

CONFORMANCE("truncation moves mtime and ctime") {
    fs.write("f", "12345");
    Attr before = fs.attr("f");
    for (uint64_t size : {3u, 9u, 0u}) {
        fs.tick();
        fs.truncate("f", size);
        const Attr after = fs.attr("f");
        CHECK(after.mtime > before.mtime);
        CHECK(after.ctime > before.ctime);
        before = after;
    }
}

CONFORMANCE("allocated space follows the data") {
    fs.write("f", "");
    const uint64_t empty = fs.attr("f").blocks;
    fs.write("f", pattern(200'000));
    fs.sync();
    const uint64_t full = fs.attr("f").blocks;
    CHECK(full * 512 >= 200'000);
    CHECK(full * 512 < 300'000);
    fs.truncate("f", 100'000);
    CHECK(fs.attr("f").blocks < full);
    CHECK(fs.attr("f").blocks * 512 >= 100'000);
    fs.truncate("f", 0);
    CHECK(fs.attr("f").blocks == empty);
}

CONFORMANCE("fsync and fdatasync succeed on files and directories") {
    fs.mkdir("d");
    auto file = fs.open("d/f", O_RDWR | O_CREAT);
    file->write(0, pattern(30'000));
    CHECK(file->sync() == ok);
    file->write(5, "x");
    CHECK(file->sync(true) == ok);
    CHECK(fs.open("d", O_RDONLY | O_DIRECTORY)->sync() == ok);
    CHECK(fs.sync() == ok);
}

CONFORMANCE("a range is copied from file to file") {
    fs.write("a", pattern(50'000));
    fs.write("b", std::string(1000, 'b'));
    auto a = fs.open("a");
    auto b = fs.open("b");
    uint64_t copied = 0;
    while (copied < 30'000) {
        const uint64_t n = a->copy_to(100 + copied, *b, 500 + copied, 30'000 - copied).take();
        REQUIRE(n > 0);
        copied += n;
    }
    CHECK((b->read() == std::string(500, 'b') + pattern(50'000).substr(100, 30'000)));
    CHECK(a->copy_to(50'000, *b, 0, 100) == 0u);
    CHECK(a->copy_to(49'990, *b, 0, 100) == 10u);
    CHECK((b->read(0, 12) == pattern(50'000).substr(49'990) + "bb"));
}

CONFORMANCE("a range is copied within a file when the two do not overlap") {
    fs.write("f", pattern(10'000));
    auto from = fs.open("f");
    auto to = fs.open("f");
    CHECK(from->copy_to(0, *to, 20'000, 5000) == 5000u);
    CHECK((from->read(20'000) == pattern(10'000).substr(0, 5000)));
    CHECK(from->read(10'000, 10'000) == zeros(10'000));
    CHECK(from->copy_to(0, *to, 100, 5000) == Errno::inval);
    CHECK(from->copy_to(100, *to, 0, 5000) == Errno::inval);
}

CONFORMANCE("overwriting keeps the size and the rest") {
    std::string model = pattern(70'000);
    fs.write("f", model);
    auto file = fs.open("f");
    std::mt19937 random(3);
    for (int i = 0; i < 200; ++i) {
        const size_t length = random() % 3000 + 1;
        const size_t offset = random() % (model.size() - length);
        const std::string data = pattern(length, random());
        file->write(offset, data);
        model.replace(offset, length, data);
    }
    CHECK((file->read() == model));
    CHECK(file->stat()->size == 70'000);
}

CONFORMANCE("files written side by side do not mix") {
    std::vector<File> files;
    for (int i = 0; i < 8; ++i)
        files.push_back(fs.open("f" + std::to_string(i), O_RDWR | O_CREAT).take());
    for (int round = 0; round < 60; ++round)
        for (int i = 0; i < 8; ++i)
            files[static_cast<size_t>(i)].write(static_cast<uint64_t>(round) * 1500,
                                                std::string(1500, static_cast<char>('a' + i)));
    files.clear();
    if (fs.traits.persistent) fs.reopen();
    for (int i = 0; i < 8; ++i)
        CHECK(
            (fs.read("f" + std::to_string(i)) == std::string(90'000, static_cast<char>('a' + i))));
}
