// rename(2) and renameat2(2) in all their cases.
#include "tests/conformance/helpers.h"

using namespace rump;
using namespace rump::conformance;

CONFORMANCE("rename gives a file another name and changes nothing else") {
    fs.write("a", pattern(3000));
    const Attr before = fs.attr("a");
    CHECK(fs.rename("a", "b") == ok);
    CHECK(fs.stat("a") == Errno::noent);
    CHECK(fs.read("b") == pattern(3000));
    const Attr after = fs.attr("b");
    CHECK(after.number == before.number);
    CHECK(after.mode == before.mode);
    CHECK(after.mtime == before.mtime);
    CHECK(after.nlink == before.nlink);
}

CONFORMANCE("rename onto an existing file replaces it in one step") {
    fs.write("a", "new");
    fs.write("b", "old");
    auto held = fs.open("b");
    REQUIRE(fs.rename("a", "b") == ok);
    CHECK(fs.read("b") == "new");
    CHECK(fs.stat("a") == Errno::noent);
    if (fs.traits.keeps_unlinked_open_files) {
        CHECK(held->read() == "old");
        CHECK(held->stat()->nlink == 0);
    }
}

CONFORMANCE("rename of what is not there is ENOENT") {
    fs.write("f", "x");
    CHECK(fs.rename("missing", "g") == Errno::noent);
    CHECK(fs.rename("missing", "f") == Errno::noent);
    CHECK(fs.rename("missing/a", "f") == Errno::noent);
    CHECK(fs.rename("f", "missing/a") == Errno::noent);
    CHECK(fs.rename("f", "f/a") == Errno::notdir);
    CHECK(fs.read("f") == "x");
}

CONFORMANCE("a directory that moves takes its tree along, and dot-dot follows") {
    fs.mkdir("one");
    fs.mkdir("two");
    fs.mkdir("one/d");
    fs.mkdir("one/d/below");
    fs.write("one/d/f", "x");
    CHECK(fs.rename("one/d", "two/e") == ok);
    CHECK(fs.read("two/e/f") == "x");
    CHECK(fs.attr("two/e/..").number == fs.attr("two").number);
    CHECK(fs.attr("two/e/below/../..").number == fs.attr("two").number);
    if (fs.traits.directory_links) CHECK(fs.attr("one").nlink == 2);
    if (fs.traits.directory_links) CHECK(fs.attr("two").nlink == 3);
    if (fs.traits.directory_links) CHECK(fs.attr("two/e").nlink == 3);
    if (fs.traits.persistent) fs.reopen();
    CHECK(fs.attr("two/e/..").number == fs.attr("two").number);
    CHECK(fs.rmdir("one") == ok);
}

CONFORMANCE("a directory replaces an empty directory only") {
    fs.mkdir("a");
    fs.write("a/f", "x");
    fs.mkdir("empty");
    fs.mkdir("full");
    fs.write("full/g", "");
    const uint32_t links = fs.attr(".").nlink;
    CHECK(fs.rename("a", "full") == Errno::notempty);
    CHECK(fs.read("a/f") == "x");
    CHECK(fs.rename("a", "empty") == ok);
    CHECK(fs.read("empty/f") == "x");
    CHECK(fs.stat("a") == Errno::noent);
    if (fs.traits.directory_links) CHECK(fs.attr(".").nlink == links - 1);
}

CONFORMANCE("a directory replaces an empty one in another directory") {
    fs.mkdir("one");
    fs.mkdir("one/d");
    fs.mkdir("two");
    fs.mkdir("two/d");
    CHECK(fs.rename("one/d", "two/d") == ok);
    if (fs.traits.directory_links) CHECK(fs.attr("one").nlink == 2);
    if (fs.traits.directory_links) CHECK(fs.attr("two").nlink == 3);
    CHECK(fs.attr("two/d/..").number == fs.attr("two").number);
    CHECK(fs.list("one") == Names{});
}

CONFORMANCE("a directory and a file do not replace each other") {
    fs.mkdir("d");
    fs.write("f", "x");
    CHECK(fs.rename("d", "f") == Errno::notdir);
    CHECK(fs.rename("f", "d") == Errno::isdir);
    CHECK(fs.read("f") == "x");
    CHECK(fs.attr("d").type == FileType::dir);
}

CONFORMANCE("a directory cannot move into itself or below") {
    fs.mkdir("d");
    fs.mkdir("d/e");
    fs.mkdir("d/e/f");
    CHECK(fs.rename("d", "d/x") == Errno::inval);
    CHECK(fs.rename("d", "d/e/x") == Errno::inval);
    CHECK(fs.rename("d", "d/e/f") == Errno::inval);
    CHECK(fs.rename("d/e", "d/e/f/x") == Errno::inval);
    CHECK(fs.list("d") == Names{"e"});
    CHECK(fs.list("d/e") == Names{"f"});
}

CONFORMANCE("nothing replaces a directory that contains it") {
    fs.mkdir("d");
    fs.mkdir("d/e");
    fs.write("d/e/f", "x");
    CHECK(fs.rename("d/e", "d") == Errno::notempty);
    CHECK(fails_with_one_of(fs.rename("d/e/f", "d"), {Errno::notempty, Errno::isdir}));
    CHECK(fs.read("d/e/f") == "x");
}

CONFORMANCE("rename to the same name is no change") {
    fs.write("f", "x");
    fs.mkdir("d");
    CHECK(fs.rename("f", "f") == ok);
    CHECK(fs.rename("d", "d") == ok);
    CHECK(fs.rename("f", "d/../f") == ok);
    CHECK(fs.read("f") == "x");
}

CONFORMANCE("rename of one link onto another of the same file does nothing") {
    if (!fs.traits.hard_links) return;
    fs.write("a", "x");
    fs.link("a", "b");
    CHECK(fs.rename("a", "b") == ok);
    CHECK(fs.read("a") == "x");
    CHECK(fs.read("b") == "x");
    CHECK(fs.attr("a").nlink == 2);
}

CONFORMANCE("rename without replacing refuses a name that is taken") {
    fs.write("a", "1");
    fs.write("b", "2");
    fs.mkdir("d");
    CHECK(fs.rename("a", "b", Mode::no_replace) == Errno::exist);
    CHECK(fs.rename("a", "d", Mode::no_replace) == Errno::exist);
    CHECK(fs.rename("a", "a", Mode::no_replace) == Errno::exist);
    CHECK(fs.rename("missing", "x", Mode::no_replace) == Errno::noent);
    CHECK(fs.read("b") == "2");
    CHECK(fs.rename("a", "c", Mode::no_replace) == ok);
    CHECK(fs.rename("d", "e", Mode::no_replace) == ok);
    CHECK(fs.read("c") == "1");
    if (!fs.traits.symlinks) return;
    fs.symlink("nowhere", "l");
    CHECK(fs.rename("c", "l", Mode::no_replace) == Errno::exist);
}

CONFORMANCE("exchange swaps two files") {
    if (!fs.traits.exchange) return;
    fs.mkdir("d");
    fs.write("a", "1");
    fs.write("d/b", "2");
    const auto a = fs.attr("a").number;
    CHECK(fs.rename("a", "d/b", Mode::exchange) == ok);
    CHECK(fs.read("a") == "2");
    CHECK(fs.read("d/b") == "1");
    CHECK(fs.attr("d/b").number == a);
    CHECK(fs.attr("a").nlink == 1);
}

CONFORMANCE("exchange swaps a file and a directory, and link counts go along") {
    if (!fs.traits.exchange) return;
    fs.mkdir("one");
    fs.mkdir("two");
    fs.mkdir("one/d");
    fs.write("one/d/in", "x");
    fs.write("two/f", "y");
    CHECK(fs.rename("one/d", "two/f", Mode::exchange) == ok);
    CHECK(fs.read("one/d") == "y");
    CHECK(fs.read("two/f/in") == "x");
    if (fs.traits.directory_links) CHECK(fs.attr("one").nlink == 2);
    if (fs.traits.directory_links) CHECK(fs.attr("two").nlink == 3);
    CHECK(fs.attr("two/f/..").number == fs.attr("two").number);
    if (fs.traits.persistent) fs.reopen();
    CHECK(fs.read("two/f/in") == "x");
}

CONFORMANCE("exchange swaps two directories that are not empty") {
    if (!fs.traits.exchange) return;
    fs.mkdir("one");
    fs.mkdir("two");
    fs.mkdir("one/d");
    fs.mkdir("two/e");
    fs.write("one/d/1", "1");
    fs.write("two/e/2", "2");
    CHECK(fs.rename("one/d", "two/e", Mode::exchange) == ok);
    CHECK(fs.read("one/d/2") == "2");
    CHECK(fs.read("two/e/1") == "1");
    CHECK(fs.attr("one/d/..").number == fs.attr("one").number);
    CHECK(fs.attr("two/e/..").number == fs.attr("two").number);
    CHECK(fs.attr("one").nlink == 3);
    if (fs.traits.directory_links) CHECK(fs.attr("two").nlink == 3);
}

CONFORMANCE("exchange needs both, and no directory in itself") {
    if (!fs.traits.exchange) return;
    fs.mkdir("d");
    fs.mkdir("d/e");
    fs.write("f", "x");
    CHECK(fs.rename("f", "missing", Mode::exchange) == Errno::noent);
    CHECK(fs.rename("missing", "f", Mode::exchange) == Errno::noent);
    CHECK(fs.rename("d", "d/e", Mode::exchange) == Errno::inval);
    CHECK(fs.rename("d/e", "d", Mode::exchange) == Errno::inval);
    CHECK(fs.read("f") == "x");
    CHECK(fs.list("d") == Names{"e"});
}

CONFORMANCE("exchange of two links of one file, or of a name with itself, is no change") {
    if (!fs.traits.exchange || !fs.traits.hard_links) return;
    fs.write("a", "x");
    fs.link("a", "b");
    CHECK(fs.rename("a", "b", Mode::exchange) == ok);
    CHECK(fs.rename("a", "a", Mode::exchange) == ok);
    CHECK(fs.attr("a").nlink == 2);
    CHECK(fs.read("b") == "x");
}

CONFORMANCE("rename moves the ctime of the file and the mtime of both directories") {
    fs.mkdir("one");
    fs.mkdir("two");
    fs.write("one/f", "x");
    const Attr file = fs.attr("one/f");
    const Attr one = fs.attr("one");
    const Attr two = fs.attr("two");
    fs.tick();
    fs.rename("one/f", "two/f");
    if (fs.traits.ctime) CHECK(fs.attr("two/f").ctime > file.ctime);
    CHECK(fs.attr("two/f").mtime == file.mtime);
    CHECK(fs.attr("one").mtime > one.mtime);
    CHECK(fs.attr("two").mtime > two.mtime);
}

CONFORMANCE("a replaced file with other names keeps them") {
    if (!fs.traits.hard_links) return;
    fs.write("a", "new");
    fs.write("b", "old");
    fs.link("b", "c");
    fs.rename("a", "b");
    CHECK(fs.read("b") == "new");
    CHECK(fs.read("c") == "old");
    CHECK(fs.attr("c").nlink == 1);
}

CONFORMANCE("the space of a replaced file comes back") {
    fs.write("a", "x");
    fs.write("b", "x");
    fs.rename("a", "b");
    fs.sync();
    const StatVfs before = fs.statvfs().take();
    fs.write("big", pattern(1 << 20));
    fs.write("small", "");
    fs.rename("small", "big");
    fs.unlink("big");
    fs.sync();
    CHECK(fs.space_is_back(before));
}

CONFORMANCE("a name becomes longer and shorter") {
    fs.mkdir("d");
    for (int i = 0; i < 30; ++i) fs.write("d/neighbour" + std::to_string(i), "n");
    fs.write("d/f", "x");
    std::string name = "d/f";
    for (size_t length : {250u, 3u, 100u, 1u, 255u, 40u}) {
        const std::string next = "d/" + std::string(length, 'r');
        REQUIRE(fs.rename(name, next) == ok);
        name = next;
        CHECK(fs.read(name) == "x");
        CHECK(fs.list("d")->size() == 31);
    }
}

CONFORMANCE("a file wanders through many names and directories") {
    for (int i = 0; i < 10; ++i) fs.mkdir("d" + std::to_string(i));
    fs.write("d0/0", "wanderer");
    std::string name = "d0/0";
    for (int i = 1; i < 500; ++i) {
        const std::string next = "d" + std::to_string(i % 10) + "/" + std::to_string(i);
        REQUIRE(fs.rename(name, next) == ok);
        name = next;
    }
    CHECK(fs.read(name) == "wanderer");
    for (int i = 0; i < 10; ++i)
        CHECK(fs.list("d" + std::to_string(i))->size() == (i == 9 ? 1u : 0u));
}

CONFORMANCE("directories swap places through a third name") {
    fs.mkdir("a");
    fs.mkdir("a/sub");
    fs.mkdir("b");
    fs.mkdir("b/sub");
    fs.write("a/sub/f", "a");
    fs.write("b/sub/f", "b");
    fs.rename("a/sub", "tmp");
    fs.rename("b/sub", "a/sub");
    fs.rename("tmp", "b/sub");
    CHECK(fs.read("a/sub/f") == "b");
    CHECK(fs.read("b/sub/f") == "a");
    fs.rename("a", "b/sub/a"); // a parent becomes a child
    CHECK(fs.read("b/sub/a/sub/f") == "b");
    CHECK(fs.attr("b/sub/a/..").number == fs.attr("b/sub").number);
}

CONFORMANCE("special files and symlinks are renamed like others") {
    if (!fs.traits.special_files || !fs.traits.symlinks) return;
    fs.mknod("p", FileType::fifo);
    fs.symlink("t", "l");
    fs.write("f", "x");
    CHECK(fs.rename("p", "q") == ok);
    CHECK(fs.attr("q").type == FileType::fifo);
    CHECK(fs.rename("l", "q") == ok);
    CHECK(fs.attr("q").type == FileType::lnk);
    CHECK(fs.rename("q", "f") == ok);
    CHECK(fs.readlink("f") == "t");
}
