// Extended attributes: xattr(7).
#include "tests/conformance/helpers.h"

using namespace rump;
using namespace rump::conformance;

CONFORMANCE("an attribute is set, read, listed and removed") {
    if (!fs.traits.user_xattrs) return;
    fs.write("f", "");
    fs.mkdir("d");
    for (const char* path : {"f", "d"}) {
        CHECK(fs.setxattr(path, "user.colour", "blue") == ok);
        CHECK(fs.setxattr(path, "user.size", "large") == ok);
        CHECK(fs.getxattr(path, "user.colour") == "blue");
        CHECK(fs.listxattr(path) == Names{"user.colour", "user.size"});
        CHECK(fs.removexattr(path, "user.colour") == ok);
        CHECK(fs.getxattr(path, "user.colour") == Errno::nodata);
        CHECK(fs.removexattr(path, "user.colour") == Errno::nodata);
        CHECK(fs.listxattr(path) == Names{"user.size"});
    }
}

CONFORMANCE("a format without attributes says so") {
    if (fs.traits.user_xattrs) return;
    fs.write("f", "");
    CHECK(fs.setxattr("f", "user.x", "1") == Errno::opnotsupp);
    CHECK(fails_with_one_of(fs.getxattr("f", "user.x"), {Errno::opnotsupp, Errno::nodata}));
}

CONFORMANCE("setting can insist that an attribute is new, or old") {
    if (!fs.traits.user_xattrs) return;
    fs.write("f", "");
    CHECK(fs.setxattr("f", "user.a", "1", XattrSet::replace) == Errno::nodata);
    CHECK(fs.setxattr("f", "user.a", "1", XattrSet::create) == ok);
    CHECK(fs.setxattr("f", "user.a", "2", XattrSet::create) == Errno::exist);
    CHECK(fs.getxattr("f", "user.a") == "1");
    CHECK(fs.setxattr("f", "user.a", "3", XattrSet::replace) == ok);
    CHECK(fs.getxattr("f", "user.a") == "3");
}

CONFORMANCE("a buffer that is too small is ERANGE") {
    if (!fs.traits.user_xattrs) return;
    fs.write("f", "");
    fs.setxattr("f", "user.a", "12345678");
    CHECK(fs.getxattr("f", "user.a", 7) == Errno::range);
    CHECK(fs.getxattr("f", "user.a", 8) == "12345678");
    CHECK(fs.getxattr("f", "user.b", 1) == Errno::nodata);
}

CONFORMANCE("values are bytes, also none at all") {
    if (!fs.traits.user_xattrs) return;
    fs.write("f", "");
    std::string all;
    for (int byte = 0; byte < 256; ++byte) all += static_cast<char>(byte);
    CHECK(fs.setxattr("f", "user.bytes", all) == ok);
    CHECK(fs.setxattr("f", "user.none", "") == ok);
    if (fs.traits.persistent) fs.reopen();
    CHECK(fs.getxattr("f", "user.bytes") == all);
    CHECK(fs.getxattr("f", "user.none") == "");
    CHECK(fs.listxattr("f") == Names{"user.bytes", "user.none"});
}

CONFORMANCE("a value may be as large as the format holds, and no larger") {
    if (!fs.traits.user_xattrs) return;
    fs.write("f", "");
    const std::string largest = pattern(fs.traits.xattr_value_max);
    CHECK(fs.setxattr("f", "user.big", largest) == ok);
    if (fs.traits.persistent) fs.reopen();
    CHECK((fs.getxattr("f", "user.big") == largest));
    CHECK(fails_with_one_of(fs.setxattr("f", "user.big", pattern(65'537)),
                            {Errno::toobig, Errno::nospc, Errno::range}));
    CHECK((fs.getxattr("f", "user.big") == largest));
}

CONFORMANCE("names are up to 255 bytes, in a namespace") {
    if (!fs.traits.user_xattrs) return;
    fs.write("f", "");
    const std::string longest = "user." + std::string(250, 'n');
    CHECK(fs.setxattr("f", longest, "x") == ok);
    CHECK(fs.getxattr("f", longest) == "x");
    CHECK(fs.setxattr("f", longest + "n", "x") == Errno::range);
    CHECK(fails_with_one_of(fs.setxattr("f", "user.", "x"), {Errno::inval, Errno::opnotsupp}));
    CHECK(fs.setxattr("f", "nonsense.x", "x") == Errno::opnotsupp);
    CHECK(fs.setxattr("f", "nodot", "x") == Errno::opnotsupp);
    CHECK(fs.listxattr("f") == Names{longest});
}

CONFORMANCE("a value is replaced by larger and smaller ones") {
    if (!fs.traits.user_xattrs) return;
    fs.write("f", "");
    fs.setxattr("f", "user.fixed", "stays");
    std::mt19937 random(7);
    for (int i = 0; i < 100; ++i) {
        const std::string value = pattern(random() % (fs.traits.xattr_value_max / 2), random());
        REQUIRE(fs.setxattr("f", "user.changing", value) == ok);
        REQUIRE((fs.getxattr("f", "user.changing") == value));
    }
    CHECK(fs.getxattr("f", "user.fixed") == "stays");
}

CONFORMANCE("many small attributes are kept apart") {
    if (!fs.traits.user_xattrs) return;
    fs.write("f", "");
    Names names;
    for (int i = 0; i < 25; ++i) {
        names.push_back("user.n" + std::to_string(i));
        REQUIRE(fs.setxattr("f", names.back(), "v" + std::to_string(i)) == ok);
    }
    for (int i = 0; i < 25; i += 2) fs.removexattr("f", "user.n" + std::to_string(i));
    if (fs.traits.persistent) fs.reopen();
    CHECK(fs.listxattr("f")->size() == 12);
    for (int i = 1; i < 25; i += 2)
        CHECK(fs.getxattr("f", "user.n" + std::to_string(i)) == "v" + std::to_string(i));
}

CONFORMANCE("attributes go with the file, whatever its name") {
    if (!fs.traits.user_xattrs) return;
    fs.write("f", "");
    fs.setxattr("f", "user.a", "1");
    fs.rename("f", "g");
    CHECK(fs.getxattr("g", "user.a") == "1");
    fs.write("g", "new content");
    CHECK(fs.getxattr("g", "user.a") == "1");
    if (fs.traits.hard_links) {
        fs.link("g", "h");
        fs.setxattr("h", "user.a", "2");
        CHECK(fs.getxattr("g", "user.a") == "2");
    }
    fs.unlink("g");
    fs.write("g", "");
    CHECK(fs.listxattr("g") == Names{});
}

CONFORMANCE("setting and removing an attribute moves the ctime") {
    if (!fs.traits.user_xattrs) return;
    fs.write("f", "");
    Attr before = fs.attr("f");
    fs.tick();
    fs.setxattr("f", "user.a", "1");
    CHECK(fs.attr("f").ctime > before.ctime);
    CHECK(fs.attr("f").mtime == before.mtime);
    before = fs.attr("f");
    fs.tick();
    fs.removexattr("f", "user.a");
    CHECK(fs.attr("f").ctime > before.ctime);
}

CONFORMANCE("files with equal attributes are changed one by one") {
    if (!fs.traits.user_xattrs) return;
    const std::string value = pattern(fs.traits.xattr_value_max / 2);
    for (int i = 0; i < 20; ++i) {
        const std::string name = "f" + std::to_string(i);
        fs.write(name, "");
        fs.setxattr(name, "user.same", value);
    }
    fs.setxattr("f3", "user.same", "other");
    fs.removexattr("f4", "user.same");
    fs.unlink("f5");
    if (fs.traits.persistent) fs.reopen();
    for (int i = 6; i < 20; ++i)
        CHECK((fs.getxattr("f" + std::to_string(i), "user.same") == value));
    CHECK(fs.getxattr("f3", "user.same") == "other");
    CHECK(fs.getxattr("f4", "user.same") == Errno::nodata);
}

CONFORMANCE("user attributes are for files and directories, by their permissions") {
    if (!fs.traits.user_xattrs) return;
    if (fs.traits.symlinks) {
        fs.symlink("x", "l");
        CHECK(fs.setxattr("l", "user.a", "1") == Errno::perm);
    }
    if (fs.traits.special_files) {
        fs.mknod("p", FileType::fifo);
        CHECK(fs.setxattr("p", "user.a", "1") == Errno::perm);
    }
    CHECK(fs.setxattr("missing", "user.a", "1") == Errno::noent);
    if (!fs.can_switch_user()) return;
    fs.write("f", "");
    fs.setxattr("f", "user.a", "1");
    fs.chmod("f", 0604);
    CHECK(fs.as(bob).getxattr("f", "user.a") == "1");
    CHECK(fs.as(bob).setxattr("f", "user.a", "2") == Errno::acces);
    CHECK(fs.as(bob).removexattr("f", "user.a") == Errno::acces);
    fs.chmod("f", 0600);
    CHECK(fs.as(bob).getxattr("f", "user.a") == Errno::acces);
}

CONFORMANCE("trusted attributes are root's and not seen by others") {
    if (!fs.traits.privileged_xattrs || !fs.can_switch_user()) return;
    fs.write("f", "");
    fs.chmod("f", 0666);
    CHECK(fs.setxattr("f", "trusted.secret", "1") == ok);
    fs.setxattr("f", "user.open", "2");
    CHECK(fs.getxattr("f", "trusted.secret") == "1");
    CHECK(fs.listxattr("f") == Names{"trusted.secret", "user.open"});
    CHECK(fs.as(bob).getxattr("f", "trusted.secret") == Errno::nodata);
    CHECK(fs.as(bob).setxattr("f", "trusted.secret", "3") == Errno::perm);
    CHECK(fs.as(bob).removexattr("f", "trusted.secret") == Errno::perm);
    CHECK(fs.as(bob).listxattr("f") == Names{"user.open"});
    if (!fs.traits.symlinks) return;
    fs.symlink("x", "l");
    CHECK(fs.setxattr("l", "trusted.on_link", "1") == ok);
    CHECK(fs.getxattr("l", "trusted.on_link") == "1");
}

CONFORMANCE("security attributes are read by all and set by root") {
    if (!fs.traits.privileged_xattrs || !fs.can_switch_user()) return;
    fs.write("f", "");
    fs.chmod("f", 0666);
    CHECK(fs.setxattr("f", "security.label", "1") == ok);
    CHECK(fs.as(bob).getxattr("f", "security.label") == "1");
    CHECK(fs.as(bob).setxattr("f", "security.label", "2") == Errno::perm);
    CHECK(fs.as(bob).removexattr("f", "security.label") == Errno::perm);
    CHECK(fs.removexattr("f", "security.label") == ok);
}

CONFORMANCE("the space of attributes comes back") {
    if (!fs.traits.user_xattrs) return;
    fs.write("f", "");
    fs.sync();
    const StatVfs before = fs.statvfs().take();
    fs.setxattr("f", "user.big", pattern(fs.traits.xattr_value_max));
    fs.removexattr("f", "user.big");
    fs.sync();
    CHECK(fs.statvfs()->blocks_free == before.blocks_free);
    fs.write("g", "");
    fs.setxattr("g", "user.big", pattern(fs.traits.xattr_value_max));
    fs.unlink("g");
    fs.sync();
    CHECK(fs.space_is_back(before));
}
