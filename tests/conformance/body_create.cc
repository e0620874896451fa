// Making files and directories: open(2) with O_CREAT, mkdir(2).
#include "tests/conformance/helpers.h"

using namespace rump;
using namespace rump::conformance;

CONFORMANCE("a new file is empty, has one link and the mode it was made with") {
    fs.open("f", O_RDWR | O_CREAT, 0640);
    const Attr attr = fs.attr("f");
    CHECK(attr.type == FileType::reg);
    CHECK(attr.size == 0);
    CHECK(attr.nlink == 1);
    if (fs.traits.owners) CHECK(attr.mode == 0640);
    CHECK(fs.read("f") == "");
}

CONFORMANCE("a new file belongs to who made it") {
    if (!fs.can_switch_user()) return;
    fs.mkdir("d");
    fs.chmod("d", 0777);
    fs.as(alice).write("d/f", "x");
    const Attr attr = fs.attr("d/f");
    CHECK(attr.uid == alice.uid);
    CHECK(attr.gid == alice.gid);
}

CONFORMANCE("O_EXCL refuses a name that is taken, by anything") {
    fs.write("f", "old");
    fs.mkdir("d");
    CHECK(fs.open("f", O_RDWR | O_CREAT | O_EXCL) == Errno::exist);
    CHECK(fs.open("d", O_RDWR | O_CREAT | O_EXCL) == Errno::exist);
    CHECK(fs.read("f") == "old");
    if (!fs.traits.symlinks) return;
    fs.symlink("nowhere", "l");
    CHECK(fs.open("l", O_RDWR | O_CREAT | O_EXCL) == Errno::exist);
    CHECK(fs.stat("nowhere") == Errno::noent);
}

CONFORMANCE("O_CREAT on a file that is there opens it as it is") {
    fs.write("f", "old");
    if (fs.traits.owners) fs.chmod("f", 0600);
    auto file = fs.open("f", O_RDWR | O_CREAT, 0777);
    CHECK(file->read() == "old");
    if (fs.traits.owners) CHECK(fs.attr("f").mode == 0600);
}

CONFORMANCE("O_TRUNC empties a file, and a reader that has it open sees that") {
    fs.write("f", pattern(10000));
    auto reader = fs.open("f", O_RDONLY);
    fs.open("f", O_WRONLY | O_TRUNC);
    CHECK(fs.attr("f").size == 0);
    CHECK(reader->read() == "");
}

CONFORMANCE("opening what is not there is ENOENT") {
    CHECK(fs.open("missing") == Errno::noent);
    CHECK(fs.open("missing/f", O_RDWR | O_CREAT) == Errno::noent);
    CHECK(fs.stat("missing") == Errno::noent);
    CHECK(fs.stat("missing/f") == Errno::noent);
    CHECK(fs.opendir("missing") == Errno::noent);
    CHECK(fs.truncate("missing", 0) == Errno::noent);
}

CONFORMANCE("a directory cannot be opened for writing, a file not as a directory") {
    fs.mkdir("d");
    fs.write("f", "");
    CHECK(fs.open("d", O_RDWR) == Errno::isdir);
    CHECK(fs.open("d", O_WRONLY) == Errno::isdir);
    CHECK(fs.open("d", O_RDWR | O_CREAT) == Errno::isdir);
    CHECK(fs.open("f", O_RDONLY | O_DIRECTORY) == Errno::notdir);
    CHECK(fs.opendir("f") == Errno::notdir);
    CHECK(fs.open("d", O_RDONLY | O_DIRECTORY) == ok);
}

CONFORMANCE("O_NOFOLLOW refuses a symlink") {
    if (!fs.traits.symlinks) return;
    fs.write("f", "x");
    fs.symlink("f", "l");
    CHECK(fs.open("l", O_RDONLY | O_NOFOLLOW) == Errno::loop);
    CHECK(fs.open("l", O_RDONLY) == ok);
}

CONFORMANCE("O_CREAT through a dangling symlink makes its target") {
    if (!fs.traits.symlinks) return;
    fs.mkdir("d");
    fs.symlink("d/f", "l");
    fs.write("l", "x");
    CHECK(fs.read("d/f") == "x");
    CHECK(fs.attr("l").type == FileType::lnk);
}

CONFORMANCE("the umask takes bits away from what is made") {
    if (!fs.traits.owners) return;
    UmaskScope scope(fs, 027);
    fs.open("f", O_RDWR | O_CREAT, 0666);
    fs.mkdir("d", 0777);
    CHECK(fs.attr("f").mode == 0640);
    CHECK(fs.attr("d").mode == 0750);
}

CONFORMANCE("making and removing a name moves its directory's mtime and ctime") {
    fs.mkdir("d");
    auto changed = [&, before = fs.attr("d")]() mutable {
        const Attr now = fs.attr("d");
        const bool moved = now.mtime > before.mtime && now.ctime > before.ctime;
        before = now;
        return moved;
    };
    fs.tick();
    fs.write("d/f", "x");
    CHECK(changed());
    fs.tick();
    fs.mkdir("d/e");
    CHECK(changed());
    fs.tick();
    fs.rename("d/f", "d/g");
    CHECK(changed());
    fs.tick();
    fs.unlink("d/g");
    CHECK(changed());
    fs.tick();
    fs.rmdir("d/e");
    CHECK(changed());
}

CONFORMANCE("a new file's times are now") {
    fs.mkdir("d");
    fs.tick();
    fs.write("old", "");
    fs.tick();
    fs.write("f", "");
    const Attr attr = fs.attr("f");
    CHECK(attr.mtime > fs.attr("old").mtime);
    CHECK(attr.ctime >= attr.mtime);
    if (fs.traits.btime && (attr.btime || fs.asks_at_open())) { // FUSE: new enough for statx
        REQUIRE(attr.btime.has_value());
        CHECK(*attr.btime > fs.attr("old").mtime);
    }
}

CONFORMANCE("a file is no directory to make things in") {
    fs.write("f", "");
    CHECK(fs.open("f/g", O_RDWR | O_CREAT) == Errno::notdir);
    CHECK(fs.mkdir("f/g") == Errno::notdir);
    CHECK(fs.stat("f/g") == Errno::notdir);
    CHECK(fs.unlink("f/g") == Errno::notdir);
    CHECK(fs.rmdir("f/g") == Errno::notdir);
}

CONFORMANCE("mkdir makes an empty directory and a link to its parent") {
    const uint32_t before = fs.attr(".").nlink;
    fs.mkdir("d", 0750);
    const Attr attr = fs.attr("d");
    CHECK(attr.type == FileType::dir);
    if (fs.traits.owners) CHECK(attr.mode == 0750);
    CHECK(fs.list("d") == Names{});
    if (fs.traits.directory_links) CHECK(attr.nlink == 2);
    if (fs.traits.directory_links) CHECK(fs.attr(".").nlink == before + 1);
}

CONFORMANCE("mkdir refuses a name that is taken") {
    fs.mkdir("d");
    fs.write("f", "");
    CHECK(fs.mkdir("d") == Errno::exist);
    CHECK(fs.mkdir("f") == Errno::exist);
    CHECK(fs.mkdir("missing/d") == Errno::noent);
    if (!fs.traits.symlinks) return;
    fs.symlink("nowhere", "l");
    CHECK(fs.mkdir("l") == Errno::exist);
}

CONFORMANCE("directories nest a hundred deep, and come apart again") {
    std::string path;
    for (int depth = 0; depth < 100; ++depth) {
        path += (path.empty() ? "" : "/") + ("level" + std::to_string(depth));
        REQUIRE(fs.mkdir(path) == ok);
    }
    fs.write(path + "/f", "deep");
    CHECK(fs.read(path + "/f") == "deep");
    if (fs.traits.persistent) fs.reopen();
    CHECK(fs.read(path + "/../" + path.substr(path.rfind('/') + 1) + "/f") == "deep");
    fs.unlink(path + "/f");
    while (true) {
        REQUIRE(fs.rmdir(path) == ok);
        if (path.find('/') == std::string::npos) break;
        path.resize(path.rfind('/'));
    }
    CHECK(fs.stat("level0") == Errno::noent);
}

CONFORMANCE("a parent counts its subdirectories") {
    fs.mkdir("d");
    for (int i = 0; i < 300; ++i) fs.mkdir("d/" + std::to_string(i));
    if (fs.traits.directory_links) CHECK(fs.attr("d").nlink == 302);
    for (int i = 0; i < 300; i += 2) fs.rmdir("d/" + std::to_string(i));
    if (fs.traits.directory_links) CHECK(fs.attr("d").nlink == 152);
}

CONFORMANCE("in a set-group-id directory the group is inherited, and the bit by directories") {
    if (!fs.traits.owners) return;
    fs.mkdir("d");
    fs.chown("d", 0, 4711);
    fs.chmod("d", 02777);
    fs.write("d/f", "");
    fs.mkdir("d/e", 0755);
    CHECK(fs.attr("d/f").gid == 4711);
    CHECK(fs.attr("d/f").mode == 0644);
    CHECK(fs.attr("d/e").gid == 4711);
    CHECK(fs.attr("d/e").mode == 02755);
    if (fs.traits.symlinks) {
        fs.symlink("f", "d/l");
        CHECK(fs.attr("d/l").gid == 4711);
    }
}

CONFORMANCE("files that exist together have numbers of their own") {
    std::set<uint64_t> numbers;
    for (int i = 0; i < 200; ++i) {
        const std::string name = "f" + std::to_string(i);
        fs.write(name, "");
        CHECK(numbers.insert(fs.attr(name).number.value()).second);
    }
    const uint64_t before = fs.attr("f7").number.value();
    fs.write("f7", "changed");
    fs.rename("f7", "g");
    CHECK(fs.attr("g").number.value() == before);
}

CONFORMANCE("what one descriptor writes, another reads at once") {
    auto writer = fs.open("f", O_RDWR | O_CREAT);
    auto reader = fs.open("f", O_RDONLY);
    writer->write(0, "one");
    CHECK(reader->read() == "one");
    writer->write(1, "XYZ");
    CHECK(reader->read() == "oXYZ");
    CHECK(reader->stat()->size == 4);
    reader->close();
    CHECK(fs.read("f") == "oXYZ");
}

CONFORMANCE("a descriptor does only what it was opened for") {
    fs.write("f", "text");
    auto reader = fs.open("f", O_RDONLY);
    auto writer = fs.open("f", O_WRONLY);
    CHECK(reader->write(0, "x") == Errno::badf);
    CHECK(writer->read() == Errno::badf);
    CHECK(fails_with_one_of(reader->truncate(0), {Errno::badf, Errno::inval}));
    CHECK(fs.read("f") == "text");
}
