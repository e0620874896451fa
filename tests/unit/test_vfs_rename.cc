// Generic rename: every case of rename(2), and threads that rename, make and remove in one tree.
#include "tests/unit/vfs_fixture.h"

#include "hostshim/random.h"
#include "hostshim/thread.h"

#include <set>

using namespace rump;
using namespace rump::test;
using vfs::RenameMode;

TEST_CASE("rename refuses what rename(2) refuses") {
    VfsFixture fs;
    fs.mkdir("d");
    fs.mkdir("d/sub");
    fs.mkdir("empty");
    fs.file("f");
    fs.file("g");
    REQUIRE(vfs::link(*fs.path("f"), *fs.root, "f2", root_cred).ok());

    CHECK(fs.rename("none", "x") == ENOENT);
    CHECK(fs.rename("d", "d/sub/x") == EINVAL);
    CHECK(fs.rename("d", "d/x") == EINVAL);
    CHECK(fs.rename("d/sub", "d") == ENOTEMPTY);
    CHECK(fs.rename("f", "empty") == EISDIR);
    CHECK(fs.rename("empty", "f") == ENOTDIR);
    CHECK(fs.rename("empty", "d") == ENOTEMPTY);
    CHECK(fs.rename("d/.", "x") == EINVAL);
    CHECK(fs.rename("f", "d/..") == EINVAL);
    CHECK(fs.rename("f", std::string(256, 'n')) == ENAMETOOLONG);
    CHECK(fs.rename("f", "g", RenameMode::no_replace) == EEXIST);
    CHECK(fs.rename("f", "none", RenameMode::exchange) == ENOENT);
    CHECK(fs.rename("d", "d/sub", RenameMode::exchange) == EINVAL);
    CHECK(fs.rename("d/sub", "d", RenameMode::exchange) == EINVAL);

    // Two names of one file: nothing happens, and that is success.
    CHECK(fs.rename("f", "f2") == 0);
    CHECK(fs.exists("f"));
    CHECK(fs.rename("f", "f") == 0);
    CHECK(fs.rename("d", "d") == 0);
    CHECK(fs.rename("f", "f2", RenameMode::no_replace) == EEXIST);
    CHECK(fs.exists("f2"));
}

TEST_CASE("rename moves, replaces and exchanges") {
    VfsFixture fs;
    fs.mkdir("a");
    fs.mkdir("b");
    VnodeRef sub = fs.mkdir("a/sub");
    VnodeRef f = fs.file("a/f");
    VnodeRef g = fs.file("b/g");
    // Names that were looked up before must not be found afterwards, nor be missing.
    CHECK(fs.exists("a/f"));
    CHECK_FALSE(fs.exists("b/f"));

    REQUIRE(fs.rename("a/f", "b/f", RenameMode::no_replace) == 0);
    CHECK_FALSE(fs.exists("a/f"));
    CHECK(fs.path("b/f") == f);

    REQUIRE(fs.rename("b/f", "b/g") == 0);
    CHECK(fs.path("b/g") == f);
    CHECK(g->unlinked());

    REQUIRE(fs.rename("a/sub", "b/sub") == 0);
    CHECK(fs.path("b/sub") == sub);
    CHECK(fs.path("b/sub/..") == fs.path("b"));
    CHECK(vfs::getattr(*fs.path("a"))->nlink == 2);
    CHECK(vfs::getattr(*fs.path("b"))->nlink == 3);

    REQUIRE(fs.rename("b/sub", "a", RenameMode::exchange) == 0);
    CHECK(fs.path("a") == sub);
    CHECK(vfs::lookup(*fs.path("b/sub"), "..", root_cred)->get() == fs.path("b").get());
    CHECK(vfs::lookup(*fs.path("a"), "..", root_cred)->get() == fs.root.get());

    REQUIRE(fs.rename("b/g", "a", RenameMode::exchange) == 0); // a file for a directory
    CHECK(fs.path("a") == f);
    CHECK(fs.path("b/g") == sub);

    fs.mkdir("c");
    fs.mkdir("old");
    VnodeRef old = fs.path("old");
    REQUIRE(fs.rename("c", "old") == 0);
    CHECK(code(vfs::create(*old, "x", {}, root_cred)) == ENOENT);
    CHECK(code(vfs::lookup(*old, "x", root_cred)) == ENOENT);
}

TEST_CASE("rename asks for the permissions of both directories") {
    VfsFixture fs;
    const Cred user(1000, 1000), other(1001, 1001);
    VnodeRef mine = fs.mkdir("mine", 0755);
    fs.chown(*mine, 1000, 1000);
    VnodeRef tmp = fs.mkdir("tmp", 01777);
    fs.chmod(*tmp, 01777);
    fs.mkdir("closed", 0755);
    fs.file("tmp/of_other", 0666, other);
    fs.file("tmp/of_user", 0666, user);
    fs.file("mine/f", 0644, user);
    VnodeRef foreign = fs.mkdir("mine/foreign", 0755); // root's directory in a user's one

    auto as_user = [&](const char* a, const char* b) {
        return fs.rename(a, b, RenameMode::replace, user);
    };
    CHECK(as_user("mine/f", "closed/f") == EACCES);
    CHECK(as_user("closed", "mine/closed") == EPERM); // the root is sticky
    CHECK(as_user("tmp/of_other", "tmp/x") == EPERM);
    CHECK(as_user("tmp/of_user", "tmp/of_other") == EPERM);
    CHECK(as_user("mine/foreign", "tmp/foreign") == EACCES); // its ".." would change
    CHECK(as_user("mine/foreign", "mine/same") == 0);
    CHECK(as_user("tmp/of_user", "tmp/mine_still") == 0);
    CHECK(as_user("mine/f", "tmp/f") == 0);
}

TEST_CASE("threads that rename, make and remove leave a tree") {
    VfsFixture fs;
    constexpr int dir_count = 6;
    for (int i = 0; i < dir_count; ++i) fs.mkdir("d" + std::to_string(i));
    auto body = [&](uint64_t seed) {
        host::SeededRandom random(seed);
        auto pick_dir = [&] {
            std::string p = "d" + std::to_string(random.below(dir_count));
            for (uint64_t depth = random.below(3); depth > 0; --depth)
                p += "/d" + std::to_string(random.below(dir_count));
            return vfs::namei({fs.root, fs.root}, p, vfs::FollowLast::yes, root_cred);
        };
        for (int step = 0; step < 1500; ++step) {
            auto a = random.below(8) == 0 ? Result<VnodeRef>(fs.root) : pick_dir();
            auto b = random.below(3) == 0 ? a : pick_dir();
            if (!a || !b) continue;
            std::string kind = random.below(2) ? "d" : "f";
            std::string from = kind + std::to_string(random.below(dir_count));
            std::string to = (random.below(8) ? kind : "f") + std::to_string(random.below(6));
            switch (random.below(8)) {
            case 0:
                (void)vfs::mkdir(**a, from, {FileType::dir, 0755, 0, {}}, root_cred).ok();
                break;
            case 1:
                (void)vfs::create(**a, from, {}, root_cred).ok();
                break;
            case 2:
                (void)vfs::unlink(**a, from, root_cred).ok();
                break;
            case 3:
                (void)vfs::rmdir(**a, from, root_cred).ok();
                break;
            case 4: {
                auto f = vfs::lookup(**a, from, root_cred);
                if (f) (void)vfs::link(**f, **b, to, root_cred).ok();
                break;
            }
            default: {
                auto mode = static_cast<RenameMode>(random.below(3));
                (void)vfs::rename(**a, from, **b, to, mode, root_cred).ok();
            }
            }
        }
    };
    {
        std::vector<host::Thread> threads;
        for (uint64_t seed = 1; seed <= 6; ++seed)
            threads.push_back(
                host::Thread::start("rename", [&body, seed] { body(seed); }).release_value());
    }
    // Every directory is met exactly once from the root, ".." leads back, link counts add up.
    std::set<uint64_t> seen;
    std::function<void(VnodeRef)> walk = [&](VnodeRef dir) {
        REQUIRE(seen.insert(dir->number().value()).second);
        std::vector<std::string> names;
        REQUIRE(vfs::readdir(*dir, 0, [&](const DirEntry& e) {
                    names.emplace_back(e.name);
                    return true;
                }).ok());
        uint32_t subdirs = 0;
        for (const std::string& name : names) {
            if (name == "." || name == "..") continue;
            auto child = vfs::lookup(*dir, name, root_cred);
            REQUIRE(child.ok());
            if (!(*child)->is_dir()) continue;
            ++subdirs;
            CHECK(vfs::lookup(**child, "..", root_cred)->get() == dir.get());
            walk(*child);
        }
        CHECK(vfs::getattr(*dir)->nlink == subdirs + 2);
    };
    walk(fs.root);
    auto files = fs.mount->statvfs();
    REQUIRE(files.ok());
}
