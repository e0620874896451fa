// Taking names away: unlink(2), rmdir(2), link(2).
#include "tests/conformance/helpers.h"

using namespace rump;
using namespace rump::conformance;

CONFORMANCE("an unlinked name is gone, and free again") {
    fs.write("f", pattern(5000));
    CHECK(fs.unlink("f") == ok);
    CHECK(fs.stat("f") == Errno::noent);
    CHECK(fs.unlink("f") == Errno::noent);
    fs.write("f", "new");
    CHECK(fs.read("f") == "new");
    CHECK(fs.attr("f").nlink == 1);
}

CONFORMANCE("unlink takes no directory, rmdir nothing else") {
    fs.mkdir("d");
    fs.write("f", "x");
    CHECK(fs.unlink("d") == Errno::isdir);
    CHECK(fs.rmdir("f") == Errno::notdir);
    CHECK(fs.rmdir("missing") == Errno::noent);
    CHECK(fs.stat("d") == ok);
    CHECK(fs.read("f") == "x");
    if (!fs.traits.symlinks) return;
    fs.symlink("d", "l");
    CHECK(fs.rmdir("l") == Errno::notdir);
    CHECK(fs.unlink("l") == ok);
    CHECK(fs.stat("d") == ok);
}

CONFORMANCE("rmdir takes an empty directory only") {
    fs.mkdir("d");
    fs.mkdir("d/e");
    fs.write("d/f", "");
    CHECK(fs.rmdir("d") == Errno::notempty);
    fs.unlink("d/f");
    CHECK(fs.rmdir("d") == Errno::notempty);
    const uint32_t before = fs.attr("d").nlink;
    fs.rmdir("d/e");
    if (fs.traits.directory_links) CHECK(fs.attr("d").nlink == before - 1);
    CHECK(fs.rmdir("d") == ok);
    CHECK(fs.stat("d") == Errno::noent);
    CHECK(fs.open("d/f", O_RDWR | O_CREAT) == Errno::noent);
}

CONFORMANCE("the root cannot be removed or renamed") {
    fs.mkdir("d");
    CHECK(fails_with_one_of(fs.rmdir("d/../."), {Errno::inval, Errno::busy}));
    CHECK(fails_with_one_of(fs.rmdir("d/.."), {Errno::notempty, Errno::busy}));
    if (fs.is_direct()) CHECK(fs.rmdir("/") == Errno::busy);
    CHECK(fs.stat("d") == ok);
}

CONFORMANCE("an unlinked file that is open keeps working") {
    if (!fs.traits.keeps_unlinked_open_files) return;
    fs.write("f", "before");
    auto file = fs.open("f");
    fs.unlink("f");
    CHECK(file->read() == "before");
    CHECK(file->write(0, "after!") == 6u);
    CHECK(file->write(100'000, "far") == 3u);
    CHECK(file->read(0, 6) == "after!");
    CHECK(file->stat()->nlink == 0);
    CHECK(file->truncate(3) == ok);
    CHECK(file->read() == "aft");
    fs.write("f", "another");
    CHECK(file->read() == "aft");
    CHECK(file->sync() == ok);
    CHECK(fs.read("f") == "another");
}

CONFORMANCE("the space of an unlinked file comes back when it is closed") {
    if (!fs.traits.keeps_unlinked_open_files) return;
    fs.write("stays", "x");
    fs.sync();
    const StatVfs before = fs.statvfs().take();
    {
        auto file = fs.open("f", O_RDWR | O_CREAT);
        file->write(0, pattern(1 << 20));
        fs.unlink("f");
        file->sync();
        CHECK(fs.statvfs()->blocks_free < before.blocks_free);
        CHECK(file->read() == pattern(1 << 20));
    }
    fs.sync();
    CHECK(fs.space_is_back(before));
}

CONFORMANCE("many files are unlinked while they are open") {
    if (!fs.traits.keeps_unlinked_open_files) return;
    std::vector<File> held;
    for (int i = 0; i < 50; ++i) {
        const std::string name = "f" + std::to_string(i);
        fs.write(name, pattern(3000, static_cast<uint32_t>(i)));
        held.push_back(fs.open(name).take());
        fs.unlink(name);
    }
    for (int i = 0; i < 50; ++i)
        CHECK(held[static_cast<size_t>(i)].read() == pattern(3000, static_cast<uint32_t>(i)));
    std::shuffle(held.begin(), held.end(), std::mt19937(5));
    while (!held.empty()) held.pop_back();
    CHECK(fs.list(".")->size() <= 1); // lost+found at most
}

CONFORMANCE("unlink moves the ctime of a file that has other names") {
    if (!fs.traits.hard_links) return;
    fs.write("a", "x");
    fs.link("a", "b");
    const Attr before = fs.attr("a");
    fs.tick();
    fs.unlink("b");
    CHECK(fs.attr("a").ctime > before.ctime);
    CHECK(fs.attr("a").mtime == before.mtime);
    CHECK(fs.attr("a").nlink == 1);
}

CONFORMANCE("names come and go thousands of times") {
    fs.mkdir("d");
    for (int i = 0; i < 2000; ++i) {
        const std::string name = "d/f" + std::to_string(i % 7);
        REQUIRE(fs.write(name, std::to_string(i)) == ok);
        REQUIRE(fs.read(name) == std::to_string(i));
        REQUIRE(fs.unlink(name) == ok);
    }
    CHECK(fs.list("d") == Names{});
    CHECK(fs.rmdir("d") == ok);
}

CONFORMANCE("a directory that is open can be removed") {
    fs.mkdir("d");
    auto dir = fs.opendir("d");
    CHECK(fs.rmdir("d") == ok);
    CHECK(fs.mkdir("d") == ok);
    fs.write("d/f", "");
    // The old one is empty: nothing of the new one shows up in it.
    while (true) {
        auto items = dir->next();
        if (!items.is_ok() || items->empty()) break;
        for (const DirItem& item : *items) CHECK(item.name != "f");
    }
}

CONFORMANCE("a link is the same file under another name") {
    if (!fs.traits.hard_links) return;
    fs.write("a", "x");
    CHECK(fs.link("a", "b") == ok);
    CHECK(fs.attr("a").number == fs.attr("b").number);
    CHECK(fs.attr("a").nlink == 2);
    fs.write("b", "changed");
    CHECK(fs.read("a") == "changed");
    if (fs.traits.owners) {
        fs.chmod("a", 0600);
        CHECK(fs.attr("b").mode == 0600);
    }
    fs.unlink("a");
    CHECK(fs.read("b") == "changed");
    CHECK(fs.attr("b").nlink == 1);
}

CONFORMANCE("link refuses a taken name, a missing source, a directory") {
    if (!fs.traits.hard_links) return;
    fs.write("a", "x");
    fs.write("b", "y");
    fs.mkdir("d");
    CHECK(fs.link("a", "b") == Errno::exist);
    CHECK(fs.link("a", "a") == Errno::exist);
    CHECK(fs.link("a", "d") == Errno::exist);
    CHECK(fs.link("missing", "c") == Errno::noent);
    CHECK(fs.link("a", "missing/c") == Errno::noent);
    CHECK(fs.link("d", "e") == Errno::perm);
    CHECK(fs.link("d", "a") == Errno::exist);
    CHECK(fs.link("d", "d/e") == Errno::perm);
    CHECK(fs.link("a", "b/c") == Errno::notdir);
    CHECK(fs.read("b") == "y");
    CHECK(fs.attr("a").nlink == 1);
}

CONFORMANCE("a format without links says EPERM") {
    if (fs.traits.hard_links) return;
    fs.write("a", "x");
    CHECK(fails_with_one_of(fs.link("a", "b"), {Errno::perm, Errno::opnotsupp}));
    CHECK(fs.stat("b") == Errno::noent);
}

CONFORMANCE("link moves the ctime of the file and the mtime of the directory") {
    if (!fs.traits.hard_links) return;
    fs.mkdir("d");
    fs.write("a", "x");
    const Attr file = fs.attr("a");
    const Attr dir = fs.attr("d");
    fs.tick();
    fs.link("a", "d/b");
    CHECK(fs.attr("a").ctime > file.ctime);
    CHECK(fs.attr("a").mtime == file.mtime);
    CHECK(fs.attr("d").mtime > dir.mtime);
}

CONFORMANCE("links reach across directories and survive the first name's directory") {
    if (!fs.traits.hard_links) return;
    fs.mkdir("one");
    fs.mkdir("two");
    fs.write("one/f", "x");
    fs.link("one/f", "two/g");
    fs.unlink("one/f");
    fs.rmdir("one");
    if (fs.traits.persistent) fs.reopen();
    CHECK(fs.read("two/g") == "x");
    CHECK(fs.attr("two/g").nlink == 1);
}

CONFORMANCE("link to a symlink names the symlink") {
    if (!fs.traits.hard_links || !fs.traits.symlinks) return;
    fs.symlink("nowhere", "l");
    CHECK(fs.link("l", "m") == ok);
    CHECK(fs.attr("m").type == FileType::lnk);
    CHECK(fs.attr("m").nlink == 2);
    CHECK(fs.readlink("m") == "nowhere");
}

CONFORMANCE("a file has as many links as the format holds, then EMLINK") {
    if (!fs.traits.hard_links || fs.traits.link_max > 70'000 || !fs.is_ours()) return;
    fs.mkdir("d");
    fs.write("d/f", "x");
    for (uint32_t i = 1; i < fs.traits.link_max; ++i)
        REQUIRE(fs.link("d/f", "d/" + std::to_string(i)) == ok);
    CHECK(fs.attr("d/f").nlink == fs.traits.link_max);
    CHECK(fs.link("d/f", "d/more") == Errno::mlink);
    CHECK(fs.stat("d/more") == Errno::noent);
    fs.unlink("d/1");
    CHECK(fs.link("d/f", "d/more") == ok);
}
