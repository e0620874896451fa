// symlink(2), readlink(2), and how paths go through symlinks.
#include "tests/conformance/helpers.h"

using namespace rump;
using namespace rump::conformance;

CONFORMANCE("a symlink holds its target as it was given") {
    if (!fs.traits.symlinks) return;
    CHECK(fs.symlink("some/where//../odd/", "l") == ok);
    CHECK(fs.readlink("l") == "some/where//../odd/");
    const Attr attr = fs.attr("l");
    CHECK(attr.type == FileType::lnk);
    CHECK(attr.size == 19);
    CHECK(attr.nlink == 1);
    CHECK(fs.stat("l") == Errno::noent);
}

CONFORMANCE("a format without symlinks says EPERM") {
    if (fs.traits.symlinks) return;
    CHECK(fails_with_one_of(fs.symlink("x", "l"), {Errno::perm, Errno::opnotsupp}));
    CHECK(fs.lstat("l") == Errno::noent);
}

CONFORMANCE("symlinks of every length come back whole") {
    if (!fs.traits.symlinks) return;
    // Around the places where formats change how they store one.
    std::vector<size_t> lengths{1, 2, 58, 59, 60, 61, 62, 118, 119, 120, 121, 255, 500, 1000, 1023};
    lengths.push_back(fs.traits.symlink_max);
    for (size_t length : lengths) {
        if (length > fs.traits.symlink_max) continue;
        std::string target(length, 'a');
        for (size_t at = 0; at < length; ++at) target[at] = static_cast<char>('a' + at % 23);
        const std::string name = "l" + std::to_string(length);
        if (fs.lstat(name) == ok) continue;
        REQUIRE(fs.symlink(target, name) == ok);
        CHECK(fs.attr(name).size == length);
    }
    if (fs.traits.persistent) fs.reopen();
    for (size_t length : lengths) {
        if (length > fs.traits.symlink_max) continue;
        const std::string target = fs.readlink("l" + std::to_string(length)).take();
        REQUIRE(target.size() == length);
        CHECK(target.back() == static_cast<char>('a' + (length - 1) % 23));
    }
}

CONFORMANCE("a symlink that is too long is ENAMETOOLONG, an empty one ENOENT") {
    if (!fs.traits.symlinks) return;
    CHECK(fs.symlink(std::string(4096, 't'), "l") == Errno::nametoolong);
    CHECK(fs.symlink(std::string(fs.traits.symlink_max + 1, 't'), "l") == Errno::nametoolong);
    CHECK(fs.symlink("", "l") == Errno::noent);
    CHECK(fs.lstat("l") == Errno::noent);
}

CONFORMANCE("a symlink refuses a name that is taken") {
    if (!fs.traits.symlinks) return;
    fs.write("f", "");
    fs.mkdir("d");
    fs.symlink("x", "l");
    CHECK(fs.symlink("y", "f") == Errno::exist);
    CHECK(fs.symlink("y", "d") == Errno::exist);
    CHECK(fs.symlink("y", "l") == Errno::exist);
    CHECK(fs.readlink("l") == "x");
    CHECK(fs.symlink("y", "missing/l") == Errno::noent);
    CHECK(fs.symlink("y", "f/l") == Errno::notdir);
}

CONFORMANCE("readlink of what is no symlink is EINVAL") {
    fs.write("f", "");
    fs.mkdir("d");
    CHECK(fs.readlink("f") == Errno::inval);
    CHECK(fs.readlink("d") == Errno::inval);
    CHECK(fs.readlink("missing") == Errno::noent);
}

CONFORMANCE("a symlink in a loop is ELOOP, and can be looked at and removed") {
    if (!fs.traits.symlinks) return;
    fs.symlink("self", "self");
    fs.symlink("b", "a");
    fs.symlink("a", "b");
    CHECK(fs.stat("self") == Errno::loop);
    CHECK(fs.stat("a") == Errno::loop);
    CHECK(fs.open("a") == Errno::loop);
    CHECK(fs.open("a", O_RDWR | O_CREAT) == Errno::loop);
    CHECK(fs.stat("a/x") == Errno::loop);
    CHECK(fs.lstat("a") == ok);
    CHECK(fs.unlink("a") == ok);
    CHECK(fs.stat("b") == Errno::noent);
}

CONFORMANCE("forty symlinks are followed, forty-one are not") {
    if (!fs.traits.symlinks) return;
    fs.write("l0", "end");
    for (int i = 1; i <= 41; ++i) fs.symlink("l" + std::to_string(i - 1), "l" + std::to_string(i));
    CHECK(fs.read("l40") == "end");
    CHECK(fs.read("l41") == Errno::loop);
}

CONFORMANCE("paths go through symlinks to directories") {
    if (!fs.traits.symlinks) return;
    fs.mkdir("d");
    fs.mkdir("d/e");
    fs.write("d/e/f", "x");
    fs.symlink("d/e", "l");
    fs.symlink("../d", "d/up");
    CHECK(fs.read("l/f") == "x");
    CHECK(fs.read("d/up/up/e/f") == "x");
    CHECK(fs.stat("l/..")->number == fs.stat("d")->number);
    CHECK(fs.list("l") == Names{"f"});
    fs.write("l/new", "y");
    CHECK(fs.read("d/e/new") == "y");
    CHECK(fs.stat("l/")->type == FileType::dir);
    CHECK(fs.lstat("l/")->type == FileType::dir);
    CHECK(fs.lstat("l")->type == FileType::lnk);
}

CONFORMANCE("unlink and rename act on the symlink, not on what it names") {
    if (!fs.traits.symlinks) return;
    fs.write("f", "x");
    fs.symlink("f", "l");
    CHECK(fs.rename("l", "m") == ok);
    CHECK(fs.readlink("m") == "f");
    CHECK(fs.read("f") == "x");
    fs.write("g", "y");
    CHECK(fs.rename("g", "m") == ok);
    CHECK(fs.attr("m").type == FileType::reg);
    CHECK(fs.read("f") == "x");
    fs.symlink("f", "n");
    CHECK(fs.unlink("n") == ok);
    CHECK(fs.read("f") == "x");
}

CONFORMANCE("chmod, truncate and utimes follow a symlink; lchown and lutimes do not") {
    if (!fs.traits.symlinks) return;
    fs.write("f", "12345");
    fs.symlink("f", "l");
    fs.truncate("l", 2);
    CHECK(fs.read("f") == "12");
    fs.utimes("l", at(1000), at(2000));
    CHECK(fs.attr("f").mtime == Timespec{2000, 0});
    CHECK(fs.lutimes("l", at(3000), at(4000)) == ok);
    CHECK(fs.attr("l").mtime == Timespec{4000, 0});
    CHECK(fs.attr("f").mtime == Timespec{2000, 0});
    if (!fs.traits.owners) return;
    fs.chmod("l", 0600);
    CHECK(fs.attr("f").mode == 0600);
    CHECK(fs.lchown("l", 11, 12) == ok);
    CHECK(fs.attr("l").uid == 11);
    CHECK(fs.attr("l").gid == 12);
    CHECK(fs.attr("f").uid != 11);
}

CONFORMANCE("a symlink's target is any bytes") {
    if (!fs.traits.symlinks || !fs.traits.any_bytes) return;
    std::string target;
    for (int byte = 1; byte < 256; ++byte) target += static_cast<char>(byte);
    CHECK(fs.symlink(target, "l") == ok);
    CHECK(fs.readlink("l") == target);
}

CONFORMANCE("a removed symlink gives its space back") {
    if (!fs.traits.symlinks) return;
    fs.mkdir("d");
    fs.write("d/f", "");
    fs.unlink("d/f");
    fs.sync();
    const StatVfs before = fs.statvfs().take();
    for (size_t length : {size_t{10}, size_t{200}, std::min<size_t>(1000, fs.traits.symlink_max)}) {
        fs.symlink(std::string(length, 't'), "d/l");
        fs.unlink("d/l");
    }
    fs.sync();
    CHECK(fs.space_is_back(before));
}
