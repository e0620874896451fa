// Space and inodes: what statvfs(3) says, and what a full file system refuses without harm.
#include "tests/conformance/helpers.h"

using namespace rump;
using namespace rump::conformance;

namespace {

/// Writes until nothing more fits; the bytes that did.
uint64_t fill(Fs& fs, const std::string& path) {
    auto file = fs.open(path, O_WRONLY | O_CREAT | fs.write_through());
    uint64_t size = 0;
    for (size_t piece = 64 * 1024; piece >= 512;) {
        auto written = file->write(size, std::string(piece, 'f'));
        if (written.is_ok() && *written > 0) {
            size += *written;
        } else {
            // Linux makes EIO of a direct write that a FUSE server could do in part.
            CHECK((written == Errno::nospc || (!fs.asks_at_open() && written == Errno::io)));
            piece /= 2;
        }
    }
    return size;
}

} // namespace

CONFORMANCE("statvfs is plausible") {
    const StatVfs s = fs.statvfs().take();
    CHECK(s.block_size >= 512);
    CHECK(s.fragment_size >= 512);
    CHECK(s.blocks > 0);
    CHECK(s.blocks_free <= s.blocks);
    CHECK(s.blocks_available <= s.blocks_free);
    CHECK(s.name_max == fs.traits.name_max);
    if (!fs.traits.counts_inodes) return;
    CHECK(s.files > 0);
    CHECK(s.files_free < s.files);
}

CONFORMANCE("data takes space, deleting gives it back") {
    fs.mkdir("d");
    fs.write("d/f", "");
    fs.unlink("d/f");
    fs.sync();
    const StatVfs before = fs.statvfs().take();
    const uint64_t length =
        std::min<uint64_t>(2'000'000, before.blocks_free * before.fragment_size / 4 * 3);
    fs.write("d/f", pattern(length));
    fs.sync();
    const StatVfs during = fs.statvfs().take();
    CHECK((before.blocks_free - during.blocks_free) * before.fragment_size >= length);
    fs.unlink("d/f");
    fs.sync();
    CHECK(fs.space_is_back(before));
}

CONFORMANCE("files take inodes, deleting gives them back") {
    if (!fs.traits.counts_inodes) return;
    fs.mkdir("d");
    for (int i = 0; i < 60; ++i) fs.write("d/f" + std::to_string(i), ""); // the directory's room
    for (int i = 0; i < 60; ++i) fs.unlink("d/f" + std::to_string(i));
    fs.sync();
    const StatVfs before = fs.statvfs().take();
    for (int i = 0; i < 50; ++i) fs.write("d/f" + std::to_string(i), "");
    CHECK(fs.statvfs()->files_free == before.files_free - 50);
    for (int i = 0; i < 50; ++i) fs.unlink("d/f" + std::to_string(i));
    fs.sync();
    CHECK(fs.space_is_back(before));
}

CONFORMANCE_TINY("a full file system says ENOSPC, and what is there stays whole") {
    fs.write("keep", pattern(20'000));
    fs.mkdir("d");
    const uint64_t size = fill(fs, "big");
    CHECK(size > 100'000);
    CHECK(fs.attr("big").size == size);
    CHECK((fs.read("keep") == pattern(20'000)));
    // A few small files may find room where the end of a large one does not fit.
    std::optional<Errno> last;
    for (int i = 0; i < 1000; ++i) {
        auto more = fs.write("d/" + std::to_string(i), pattern(5000));
        if (more.is_ok()) continue;
        last = more.error();
        break;
    }
    CHECK(last == Errno::nospc);
    CHECK((fs.read("big") == std::string(size, 'f')));
    // In place there is room.
    auto keep = fs.open("keep");
    CHECK(keep->write(100, "changed") == 7u);
    CHECK(keep->read(100, 7) == "changed");
    keep->close();
    fs.unlink("big");
    (void)fs.sync().is_ok(); // may report the write that failed
    CHECK(fs.write("again", pattern(50'000)) == ok);
    CHECK((fs.read("again") == pattern(50'000)));
}

CONFORMANCE_TINY("a full file system can be emptied to where it began") {
    fs.mkdir("d");
    fs.write("d/f", "");
    fs.unlink("d/f");
    fs.sync();
    const StatVfs before = fs.statvfs().take();
    for (int round = 0; round < 3; ++round) {
        fill(fs, "d/a");
        fs.truncate("d/a", 1000);
        fs.sync();
        fill(fs, "d/b");
        fs.unlink("d/a");
        fs.unlink("d/b");
        fs.sync();
        CHECK(fs.space_is_back(before));
    }
}

CONFORMANCE_TINY("without an inode nothing new is made, and all old works") {
    if (!fs.traits.counts_inodes) return;
    fs.mkdir("d");
    fs.write("d/f", "x");
    Names made;
    for (int i = 0; i < 10'000; ++i) {
        const std::string name = "d/n" + std::to_string(i);
        auto file = fs.open(name, O_WRONLY | O_CREAT | O_EXCL);
        if (file == Errno::nospc) break;
        REQUIRE(file == ok);
        made.push_back(name);
    }
    REQUIRE(made.size() < 10'000);
    CHECK(fs.mkdir("e") == Errno::nospc);
    if (fs.traits.symlinks) CHECK(fs.symlink("x", "l") == Errno::nospc);
    if (fs.traits.special_files) CHECK(fs.mknod("p", FileType::fifo) == Errno::nospc);
    CHECK(fs.lstat("e") == Errno::noent);
    CHECK(fs.rename("d/f", "d/g") == ok);
    CHECK(fs.write("d/g", "changed") == ok);
    fs.unlink(made.back());
    fs.sync();
    CHECK(fs.mkdir("e") == ok);
}

CONFORMANCE_TINY("a directory that cannot grow refuses an entry whole") {
    fs.mkdir("d");
    fill(fs, "big");
    int made = 0;
    Names names;
    for (int i = 0; i < 500; ++i) {
        const std::string name = std::string(200, 'n') + std::to_string(i);
        auto file = fs.open("d/" + name, O_WRONLY | O_CREAT | O_EXCL);
        if (file != ok) break;
        names.push_back(name);
        ++made;
    }
    std::sort(names.begin(), names.end());
    CHECK(made < 500);
    CHECK(fs.list("d") == names);
    fs.unlink("big");
    fs.sync();
    CHECK(fs.open("d/" + std::string(200, 'z'), O_WRONLY | O_CREAT) == ok);
}

CONFORMANCE_TINY("removing works when nothing is free") {
    fs.mkdir("d");
    for (int i = 0; i < 20; ++i) fs.write("d/f" + std::to_string(i), "x");
    fill(fs, "big");
    CHECK(fs.rename("d/f0", "d/g0") == ok);
    for (int i = 1; i < 20; ++i) CHECK(fs.unlink("d/f" + std::to_string(i)) == ok);
    CHECK(fs.unlink("d/g0") == ok);
    CHECK(fs.rmdir("d") == ok);
    CHECK(fs.truncate("big", 10) == ok);
}

CONFORMANCE_TINY("attributes that do not fit leave the old ones") {
    if (!fs.traits.user_xattrs) return;
    fs.write("f", "");
    fs.setxattr("f", "user.a", "old");
    fill(fs, "big");
    const std::string large = pattern(std::min<size_t>(fs.traits.xattr_value_max, 30'000));
    for (int i = 0; i < 200; ++i) {
        auto set = fs.setxattr("f", "user.n" + std::to_string(i), large);
        if (set != ok) {
            CHECK(set == Errno::nospc);
            break;
        }
    }
    CHECK(fs.getxattr("f", "user.a") == "old");
    CHECK(fs.removexattr("f", "user.a") == ok);
}

CONFORMANCE_TINY("a partial write when space runs out says how much it wrote") {
    auto file = fs.open("f", O_RDWR | O_CREAT | fs.write_through());
    const std::string data = pattern(4 << 20);
    auto outcome = file->write(0, data);
    // Linux may refuse the whole of it, its FUSE says EIO.
    if (!fs.is_direct() && fails_with_one_of(outcome, {Errno::nospc, Errno::io})) return;
    const size_t written = *outcome;
    CHECK(written > 0);
    CHECK(written < data.size());
    CHECK(file->stat()->size == written);
    CHECK((file->read(0, data.size()) == data.substr(0, written)));
    CHECK(file->truncate(0) == ok);
}
