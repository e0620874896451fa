// Path lookup: symbolic links, trailing slashes, "..", limits.
#include "tests/unit/vfs_fixture.h"

using namespace rump;
using namespace rump::test;
using vfs::FollowLast;

namespace {

struct Paths : VfsFixture {
    Paths() {
        mkdir("d");
        mkdir("d/e");
        file("d/e/f");
        file("f");
        symlink("to_dir", "d/e");
        symlink("to_file", "d/e/f");
        symlink("absolute", "/d/e");
        symlink("slashed", "d/e/");
        symlink("slashed_file", "f/");
        symlink("dangling", "nowhere");
        symlink("loop_a", "loop_b");
        symlink("loop_b", "loop_a");
        symlink("self", "self/x");
        symlink("d/up", "../to_dir");
    }
    Result<VnodeRef> walk(std::string_view path, FollowLast follow = FollowLast::yes,
                          const Cred& cred = root_cred) {
        return vfs::namei({root, root}, path, follow, cred);
    }
};

} // namespace

TEST_CASE("paths lead where POSIX says") {
    Paths fs;
    VnodeRef e = *vfs::lookup(*fs.path("d"), "e", root_cred);
    VnodeRef f = *vfs::lookup(*e, "f", root_cred);
    for (const char* path : {"d/e", "/d/e", "//d///e//", "d/./e/.", "d/e/../e", "../../d/e",
                             "to_dir", "to_dir/", "absolute", "slashed", "d/up", "d/up/../up/../e"})
        CHECK((fs.walk(path).ok() && *fs.walk(path) == e) == true);
    for (const char* path : {"to_dir/f", "to_file", "d/up/f", "absolute/f", "slashed/f"})
        CHECK(*fs.walk(path) == f);
    CHECK(*fs.walk("/") == fs.root);
    CHECK(*fs.walk("/..") == fs.root);
    CHECK((*fs.walk("to_file", FollowLast::no))->type() == FileType::lnk);
    CHECK((*fs.walk("to_dir/", FollowLast::no))->type() == FileType::dir);
    CHECK((*fs.walk("dangling", FollowLast::no))->type() == FileType::lnk);
    CHECK((*fs.walk("d/up/../up", FollowLast::no))->is_dir() == false);

    CHECK(code(fs.walk("")) == ENOENT);
    CHECK(code(fs.walk("none")) == ENOENT);
    CHECK(code(fs.walk("none/x")) == ENOENT);
    CHECK(code(fs.walk("f/")) == ENOTDIR);
    CHECK(code(fs.walk("f/.")) == ENOTDIR);
    CHECK(code(fs.walk("f/..")) == ENOTDIR);
    CHECK(code(fs.walk("f/x")) == ENOTDIR);
    CHECK(code(fs.walk("to_file/")) == ENOTDIR);
    CHECK(code(fs.walk("slashed_file")) == ENOTDIR);
    CHECK(code(fs.walk("dangling")) == ENOENT);
    CHECK(code(fs.walk("loop_a")) == ELOOP);
    CHECK(code(fs.walk("self")) == ELOOP);
    CHECK(code(fs.walk(std::string_view("a\0b", 3))) == EINVAL);
}

TEST_CASE("names, paths and chains of links have their limits") {
    Paths fs;
    CHECK(code(fs.walk(std::string(256, 'n'))) == ENAMETOOLONG);
    CHECK(code(fs.walk(std::string(255, 'n'))) == ENOENT);
    std::string path = "f";
    while (path.size() + 2 <= 4095) path = "./" + path;
    path = "/" + path;
    CHECK(path.size() <= 4096);
    path.resize(4095);
    path.back() = '/';
    CHECK(code(fs.walk("/" + path)) == ENAMETOOLONG);
    CHECK(code(fs.walk(std::string(4094, '/') + "f")) == 0);
    CHECK(code(fs.walk(std::string(4095, '/') + "f")) == ENAMETOOLONG);

    std::string previous = "f";
    for (int i = 1; i <= 41; ++i) {
        std::string name = "chain" + std::to_string(i);
        fs.symlink(name, previous);
        previous = name;
    }
    CHECK(code(fs.walk("chain40")) == 0);
    CHECK(code(fs.walk("chain41")) == ELOOP);
}

TEST_CASE("every directory on the way must be searchable") {
    Paths fs;
    const Cred user(1000, 1000);
    fs.chmod(*fs.path("d"), 0700);
    CHECK(code(fs.walk("d", FollowLast::yes, user)) == 0);
    CHECK(code(fs.walk("d/e", FollowLast::yes, user)) == EACCES);
    CHECK(code(fs.walk("d/none", FollowLast::yes, user)) == EACCES);
    CHECK(code(fs.walk("d/.", FollowLast::yes, user)) == EACCES);
    CHECK(code(fs.walk("to_file", FollowLast::yes, user)) == EACCES);
}

TEST_CASE("a changed root is the end of the world") {
    Paths fs;
    VnodeRef d = fs.path("d");
    VnodeRef e = fs.path("d/e");
    const vfs::LookupStart jail{d, e};
    CHECK(*vfs::namei(jail, "/", FollowLast::yes, root_cred) == d);
    CHECK(*vfs::namei(jail, "../../..", FollowLast::yes, root_cred) == d);
    CHECK(*vfs::namei(jail, "/e/f", FollowLast::yes, root_cred) == fs.path("d/e/f"));
    CHECK(*vfs::namei(jail, "f", FollowLast::yes, root_cred) == fs.path("d/e/f"));
    CHECK(code(vfs::namei(jail, "/up", FollowLast::yes, root_cred)) == ENOENT);
}

TEST_CASE("the parent of a path is where its last name is made") {
    Paths fs;
    auto parent = [&](std::string_view path) {
        return vfs::namei_parent({fs.root, fs.path("d")}, path, root_cred);
    };
    CHECK(parent("new")->dir == fs.path("d"));
    CHECK(parent("/new")->dir == fs.root);
    CHECK(parent("/to_dir/new")->dir == fs.path("d/e"));
    CHECK(parent("/to_dir/new")->name == "new");
    CHECK_FALSE(parent("e/new")->trailing_slash);
    CHECK(parent("e/new//")->trailing_slash);
    CHECK(parent("e/new//")->name == "new");
    CHECK(parent("e/..")->name == "..");
    CHECK(parent("/to_dir")->name == "to_dir");
    CHECK(code(parent("")) == ENOENT);
    CHECK(code(parent("/")) == EBUSY);
    CHECK(code(parent("/f/new")) == ENOTDIR);
    CHECK(code(parent("/none/new")) == ENOENT);
    CHECK(code(parent("/loop_a/new")) == ELOOP);
}
