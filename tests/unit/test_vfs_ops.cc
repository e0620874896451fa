// Generic operations: who may do what, what new files inherit, which errno a refusal has.
#include "tests/unit/vfs_fixture.h"

#include "kernel/vfs/acl.h"

using namespace rump;
using namespace rump::test;

namespace {

const Cred user(1000, 1000, {50});
const Cred other(1001, 1001);

std::span<const std::byte> text(std::string_view s) {
    return std::as_bytes(std::span(s.data(), s.size()));
}

AttrChange change_mode(uint32_t mode) {
    AttrChange change;
    change.mode = mode;
    return change;
}

AttrChange change_flags(FileFlags flags) {
    AttrChange change;
    change.flags = flags;
    return change;
}

} // namespace

TEST_CASE("names are refused before any file system sees them") {
    VfsFixture fs;
    const vfs::Make make;
    const std::string longest(255, 'n'), too_long(256, 'n'), huge(2000, 'n');
    VnodeRef f = fs.file("f");
    CHECK(code(vfs::create(*fs.root, "", make, root_cred)) == ENOENT);
    CHECK(code(vfs::create(*fs.root, ".", make, root_cred)) == EEXIST);
    CHECK(code(vfs::mkdir(*fs.root, "..", make, root_cred)) == EEXIST);
    CHECK(code(vfs::create(*fs.root, "a/b", make, root_cred)) == EINVAL);
    CHECK(code(vfs::create(*fs.root, "f", make, root_cred)) == EEXIST);
    CHECK(code(vfs::create(*f, "x", make, root_cred)) == ENOTDIR);
    CHECK(code(vfs::lookup(*f, "x", root_cred)) == ENOTDIR);
    CHECK(code(vfs::unlink(*fs.root, ".", root_cred)) == EISDIR);
    CHECK(code(vfs::rmdir(*fs.root, ".", root_cred)) == EINVAL);
    CHECK(code(vfs::rmdir(*fs.root, "..", root_cred)) == ENOTEMPTY);
    CHECK(code(vfs::rmdir(*fs.root, "f", root_cred)) == ENOTDIR);
    for (const std::string& name : {too_long, huge}) {
        CHECK(code(vfs::lookup(*fs.root, name, root_cred)) == ENAMETOOLONG);
        CHECK(code(vfs::create(*fs.root, name, make, root_cred)) == ENAMETOOLONG);
        CHECK(code(vfs::mkdir(*fs.root, name, make, root_cred)) == ENAMETOOLONG);
        CHECK(code(vfs::symlink(*fs.root, name, "t", root_cred)) == ENAMETOOLONG);
        CHECK(code(vfs::link(*f, *fs.root, name, root_cred)) == ENAMETOOLONG);
        CHECK(code(vfs::unlink(*fs.root, name, root_cred)) == ENAMETOOLONG);
        CHECK(code(vfs::rmdir(*fs.root, name, root_cred)) == ENAMETOOLONG);
    }
    CHECK(code(vfs::create(*fs.root, longest, make, root_cred)) == 0);
    CHECK(code(vfs::lookup(*fs.root, longest, root_cred)) == 0);
    CHECK(code(vfs::symlink(*fs.root, "l", "", root_cred)) == ENOENT);
    CHECK(code(vfs::symlink(*fs.root, "l", std::string(4096, 't'), root_cred)) == ENAMETOOLONG);
    CHECK(code(vfs::symlink(*fs.root, "l", std::string(4095, 't'), root_cred)) == 0);
}

TEST_CASE("a removed directory takes no new entries") {
    VfsFixture fs;
    VnodeRef dir = fs.mkdir("d");
    REQUIRE(vfs::rmdir(*fs.root, "d", root_cred).ok());
    CHECK(code(vfs::create(*dir, "x", {}, root_cred)) == ENOENT);
    CHECK(code(vfs::mkdir(*dir, "x", {}, root_cred)) == ENOENT);
    CHECK(code(vfs::link(*fs.file("f"), *dir, "x", root_cred)) == ENOENT);
    CHECK(code(vfs::rename(*fs.root, "f", *dir, "x", vfs::RenameMode::replace, root_cred)) ==
          ENOENT);
    CHECK(code(vfs::readdir(*dir, 0, [](const DirEntry&) { return true; })) == ENOENT);
    CHECK(fs.exists("f"));
}

TEST_CASE("modes are judged by owner, group and other, and the superuser passes") {
    VfsFixture fs;
    VnodeRef f = fs.file("f");
    fs.chown(*f, 1000, 50);
    fs.chmod(*f, 0461); // owner r, group rw, other x
    const Cred member(1002, 9, {50});
    CHECK(code(vfs::access(*f, vfs::may_read, user)) == 0);
    CHECK(code(vfs::access(*f, vfs::may_write, user)) == EACCES); // though in the group
    CHECK(code(vfs::access(*f, vfs::may_read | vfs::may_write, member)) == 0);
    CHECK(code(vfs::access(*f, vfs::may_exec, member)) == EACCES);
    CHECK(code(vfs::access(*f, vfs::may_exec, other)) == 0);
    CHECK(code(vfs::access(*f, vfs::may_read, other)) == EACCES);
    CHECK(code(vfs::access(*f, 7, root_cred)) == 0);
    CHECK(code(vfs::access(*f, 0, other)) == 0);
    fs.chmod(*f, 0666);
    CHECK(code(vfs::access(*f, vfs::may_exec, root_cred)) == EACCES);
    CHECK(code(vfs::access(*f, 7, Cred::host_checked(1001, 1001))) == 0);

    VnodeRef dir = fs.mkdir("dir", 0700);
    fs.file("dir/inside");
    CHECK(code(vfs::lookup(*dir, "inside", user)) == EACCES);
    CHECK(code(vfs::create(*fs.root, "x", {}, user)) == 0); // a tmpfs's root is 01777
    CHECK(code(vfs::create(*dir, "x", {}, user)) == EACCES);
}

TEST_CASE("chmod, chown and utimes are the owner's") {
    VfsFixture fs;
    VnodeRef f = fs.file("f", 0644, user);
    CHECK(code(vfs::setattr(*f, change_mode(0600), other)) == EPERM);
    CHECK(code(vfs::setattr(*f, change_mode(0600), user)) == 0);
    AttrChange change;
    change.uid = 1001;
    CHECK(code(vfs::setattr(*f, change, user)) == EPERM);
    change.uid = 1000; // to whom it belongs already
    CHECK(code(vfs::setattr(*f, change, user)) == 0);
    change = {};
    change.gid = 50;
    CHECK(code(vfs::setattr(*f, change, other)) == EPERM);
    CHECK(code(vfs::setattr(*f, change, user)) == 0);
    change.gid = 51; // he is not in it
    CHECK(code(vfs::setattr(*f, change, user)) == EPERM);
    change = {};
    change.mtime = Timespec{5, 0};
    CHECK(code(vfs::setattr(*f, change, other)) == EPERM);
    CHECK(vfs::setattr(*f, change, user)->mtime == Timespec{5, 0});
    change.mtime = Timespec{5, 1000000000};
    CHECK(code(vfs::setattr(*f, change, user)) == EINVAL);
    // "now" needs write permission only.
    CHECK(code(vfs::touch(*f, true, true, other)) == EACCES);
    fs.chmod(*f, 0666);
    CHECK(code(vfs::touch(*f, true, true, other)) == 0);
}

TEST_CASE("what a cache above hands over changes neither times nor set-id bits") {
    VfsFixture fs;
    VnodeRef f = fs.file("f");
    fs.chown(*f, 1000, 50);
    fs.chmod(*f, 06755);
    const Attr before = *vfs::getattr(*f);
    REQUIRE(vfs::write_back(*f, 0, text("x"), [](const Attr&) { return user; }).ok());
    const Attr after = *vfs::getattr(*f);
    CHECK(after.size == 1);
    CHECK(after.mtime == before.mtime);
    CHECK(after.ctime == before.ctime);
    CHECK(after.mode == 06755);
    REQUIRE(vfs::write(*f, 0, text("y"), user).ok());
    CHECK(vfs::getattr(*f)->mtime > before.mtime);
}

TEST_CASE("set-id bits go when others change the file") {
    VfsFixture fs;
    VnodeRef f = fs.file("f");
    fs.chown(*f, 1000, 50);
    auto fresh = [&] { fs.chmod(*f, 06755); };

    fresh();
    REQUIRE(vfs::write(*f, 0, text("x"), user).ok());
    CHECK(fs.mode(*f) == 0755);
    fresh();
    REQUIRE(vfs::write(*f, 0, text("x"), user, true).ok());
    CHECK(fs.mode(*f) == 06755);
    REQUIRE(vfs::write(*f, 0, text("x"), root_cred).ok());
    CHECK(fs.mode(*f) == 06755);
    AttrChange change;
    change.size = 0;
    REQUIRE(vfs::setattr(*f, change, user).ok());
    CHECK(fs.mode(*f) == 0755);
    fresh();
    change = {};
    change.gid = 50;
    REQUIRE(vfs::setattr(*f, change, root_cred).ok()); // chown by root as well
    CHECK(fs.mode(*f) == 0755);
    // chmod by an owner who is not in the file's group loses set-group-id.
    fs.chown(*f, 1000, 51);
    REQUIRE(vfs::setattr(*f, change_mode(06755), user).ok());
    CHECK(fs.mode(*f) == 04755);
    // A directory keeps them.
    VnodeRef dir = fs.mkdir("dir");
    fs.chmod(*dir, 02755);
    fs.chown(*dir, 5, 5);
    CHECK(fs.mode(*dir) == 02755);
}

TEST_CASE("new files inherit the group of a set-group-id directory") {
    VfsFixture fs;
    VnodeRef dir = fs.mkdir("dir");
    fs.chown(*dir, 1001, 77);
    fs.chmod(*dir, 02777);
    VnodeRef sub = fs.mkdir("dir/sub", 0755, user);
    CHECK(fs.mode(*sub) == 02755);
    CHECK(vfs::getattr(*sub)->gid == 77);
    VnodeRef f = fs.file("dir/f", 02755, user);
    CHECK(vfs::getattr(*f)->gid == 77);
    CHECK(fs.mode(*f) == 0755); // not a member of 77
    CHECK(fs.mode(*fs.file("dir/g", 02644, user)) == 02644);
    CHECK(vfs::getattr(*fs.file("plain", 0644, user))->gid == 1000);
    auto made = vfs::create(*fs.root, "masked", {FileType::reg, 0666, 027, {}}, user);
    CHECK(fs.mode(**made) == 0640);
    CHECK(fs.mode(*fs.mkdir("odd", 06777)) == 0777);
}

TEST_CASE("files in a sticky directory are removed by owners only") {
    VfsFixture fs;
    VnodeRef tmp = fs.mkdir("tmp");
    fs.chmod(*tmp, 01777);
    fs.file("tmp/f", 0666, user);
    fs.mkdir("tmp/d", 0777, user);
    CHECK(code(vfs::unlink(*tmp, "f", other)) == EPERM);
    CHECK(code(vfs::rmdir(*tmp, "d", other)) == EPERM);
    CHECK(code(vfs::unlink(*tmp, "f", user)) == 0);
    fs.chown(*tmp, 1001, 0);
    CHECK(code(vfs::rmdir(*tmp, "d", other)) == 0);
}

TEST_CASE("immutable and append-only files are what they say, for root too") {
    VfsFixture fs;
    VnodeRef f = fs.file("f");
    VnodeRef dir = fs.mkdir("dir");
    fs.file("dir/old");
    REQUIRE(vfs::write(*f, 0, text("abc"), root_cred).ok());
    fs.chown(*f, 1000, 1000);
    CHECK(code(vfs::setattr(*f, change_flags(file_flag::immutable), user)) == EPERM);
    CHECK(code(vfs::setattr(*f, change_flags(file_flag::nodump), user)) == 0);
    CHECK(code(vfs::setattr(*f, change_flags(0), other)) == EPERM);

    REQUIRE(vfs::setattr(*f, change_flags(file_flag::immutable), root_cred).ok());
    AttrChange truncate;
    truncate.size = 0;
    CHECK(code(vfs::write(*f, 0, text("x"), root_cred)) == EPERM);
    CHECK(code(vfs::setattr(*f, truncate, root_cred)) == EPERM);
    CHECK(code(vfs::setattr(*f, change_mode(0), root_cred)) == EPERM);
    CHECK(code(vfs::touch(*f, true, true, root_cred)) == EPERM);
    CHECK(code(vfs::unlink(*fs.root, "f", root_cred)) == EPERM);
    CHECK(code(vfs::link(*f, *fs.root, "g", root_cred)) == EPERM);
    CHECK(fs.rename("f", "g") == EPERM);
    CHECK(code(vfs::access(*f, vfs::may_write, root_cred)) == EPERM);
    CHECK(code(vfs::setxattr(*f, "user.x", text("v"), XattrSet::any, root_cred)) == EPERM);

    REQUIRE(vfs::setattr(*f, change_flags(file_flag::append), root_cred).ok());
    CHECK(code(vfs::write(*f, 0, text("x"), root_cred)) == EPERM);
    CHECK(*vfs::append(*f, text("def"), root_cred) == 3);
    CHECK(code(vfs::write(*f, 6, text("x"), root_cred)) == 0);
    CHECK(code(vfs::setattr(*f, truncate, root_cred)) == EPERM);
    CHECK(code(vfs::unlink(*fs.root, "f", root_cred)) == EPERM);
    REQUIRE(vfs::setattr(*f, change_flags(0), root_cred).ok());
    CHECK(code(vfs::unlink(*fs.root, "f", root_cred)) == 0);

    REQUIRE(vfs::setattr(*dir, change_flags(file_flag::append), root_cred).ok());
    CHECK(code(vfs::create(*dir, "new", {}, root_cred)) == 0);
    CHECK(code(vfs::unlink(*dir, "old", root_cred)) == EPERM);
    REQUIRE(vfs::setattr(*dir, change_flags(file_flag::immutable), root_cred).ok());
    CHECK(code(vfs::create(*dir, "newer", {}, root_cred)) == EPERM);
}

TEST_CASE("a directory's default ACL is what new files get, without umask") {
    using Tag = vfs::AclEntry::Tag;
    VfsFixture fs;
    VnodeRef dir = fs.mkdir("dir");
    vfs::Acl acl{{Tag::user_obj, 7, UINT32_MAX},
                 {Tag::user, 6, 1001},
                 {Tag::group_obj, 5, UINT32_MAX},
                 {Tag::mask, 7, UINT32_MAX},
                 {Tag::other, 0, UINT32_MAX}};
    auto value = encode_acl(acl);
    REQUIRE(code(vfs::setxattr(*dir, vfs::acl_default_name, value, XattrSet::any, root_cred)) == 0);
    auto made = vfs::create(*dir, "f", {FileType::reg, 0666, 077, {}}, root_cred);
    REQUIRE(made.ok());
    CHECK(fs.mode(**made) == 0660);
    CHECK(code(vfs::access(**made, vfs::may_read | vfs::may_write, other)) == 0);
    CHECK(code(vfs::access(**made, vfs::may_read, user)) == EACCES);
    // chmod changes the mask, and with it what named users may.
    fs.chmod(**made, 0640);
    CHECK(code(vfs::access(**made, vfs::may_write, other)) == EACCES);
    CHECK(code(vfs::access(**made, vfs::may_read, other)) == 0);

    VnodeRef sub = fs.mkdir("dir/sub", 0777);
    std::vector<std::byte> out(256);
    auto inherited = vfs::getxattr(*sub, vfs::acl_default_name, out, root_cred);
    REQUIRE(inherited.ok());
    out.resize(*inherited);
    CHECK(out == value);

    // An access ACL is the mode; one that says no more than a mode is none.
    VnodeRef f = fs.file("f");
    REQUIRE(vfs::setxattr(*f, vfs::acl_access_name, value, XattrSet::any, root_cred).ok());
    CHECK(fs.mode(*f) == 0770);
    vfs::Acl minimal{{Tag::user_obj, 4, UINT32_MAX},
                     {Tag::group_obj, 4, UINT32_MAX},
                     {Tag::other, 4, UINT32_MAX}};
    REQUIRE(vfs::setxattr(*f, vfs::acl_access_name, encode_acl(minimal), XattrSet::any, root_cred)
                .ok());
    CHECK(fs.mode(*f) == 0444);
    CHECK(code(vfs::getxattr(*f, vfs::acl_access_name, {}, root_cred)) == ENODATA);
    CHECK(code(vfs::removexattr(*f, vfs::acl_access_name, root_cred)) == 0);
    CHECK(code(vfs::setxattr(*f, vfs::acl_default_name, value, XattrSet::any, root_cred)) ==
          EACCES);
    CHECK(code(vfs::setxattr(*f, vfs::acl_access_name, value, XattrSet::any, other)) == EPERM);
    CHECK(code(vfs::setxattr(*f, vfs::acl_access_name, text("bad"), XattrSet::any, root_cred)) ==
          EINVAL);
}

TEST_CASE("extended attributes keep to their namespaces") {
    VfsFixture fs;
    VnodeRef f = fs.file("f", 0644, user);
    fs.symlink("l", "f");
    VnodeRef l = fs.path("l");
    auto set = [&](Vnode& v, std::string_view name, const Cred& cred) {
        return code(vfs::setxattr(v, name, text("v"), XattrSet::any, cred));
    };
    CHECK(set(*f, "user.a", user) == 0);
    CHECK(set(*f, "user.a", other) == EACCES);
    CHECK(set(*l, "user.a", root_cred) == EPERM);
    CHECK(code(vfs::getxattr(*l, "user.a", {}, root_cred)) == ENODATA);
    CHECK(set(*f, "trusted.a", user) == EPERM);
    CHECK(set(*f, "trusted.a", root_cred) == 0);
    CHECK(code(vfs::getxattr(*f, "trusted.a", {}, user)) == ENODATA);
    CHECK(set(*f, "security.a", user) == EPERM);
    CHECK(set(*f, "user.", user) == EINVAL);
    CHECK(set(*f, "other.a", user) == EOPNOTSUPP);
    CHECK(set(*f, "", user) == ERANGE);
    CHECK(set(*f, "user." + std::string(251, 'n'), user) == ERANGE);
    CHECK(code(vfs::setxattr(*f, "user.big", std::vector<std::byte>(65537), XattrSet::any, user)) ==
          E2BIG);
    CHECK(code(vfs::setxattr(*f, "user.a", text("w"), XattrSet::create, user)) == EEXIST);
    CHECK(code(vfs::setxattr(*f, "user.b", text("w"), XattrSet::replace, user)) == ENODATA);
    std::vector<std::string> names;
    REQUIRE(vfs::listxattr(*f, user, [&](std::string_view n) { names.emplace_back(n); }).ok());
    CHECK(names == std::vector<std::string>{"user.a"});
    VnodeRef tmp = fs.mkdir("tmp");
    fs.chmod(*tmp, 01777);
    CHECK(set(*tmp, "user.a", user) == EPERM);
}

TEST_CASE("nothing changes on a read-only mount") {
    MountOptions options;
    options.read_only = true;
    VfsFixture fs(options);
    CHECK(code(vfs::create(*fs.root, "x", {}, root_cred)) == EROFS);
    CHECK(code(vfs::mkdir(*fs.root, "x", {}, root_cred)) == EROFS);
    CHECK(code(vfs::symlink(*fs.root, "x", "y", root_cred)) == EROFS);
    CHECK(code(vfs::unlink(*fs.root, "x", root_cred)) == EROFS);
    CHECK(code(vfs::rmdir(*fs.root, "x", root_cred)) == EROFS);
    CHECK(fs.rename("x", "y") == EROFS);
    CHECK(code(vfs::setattr(*fs.root, change_mode(0), root_cred)) == EROFS);
    CHECK(code(vfs::access(*fs.root, vfs::may_write, root_cred)) == EROFS);
    CHECK(code(vfs::setxattr(*fs.root, "user.x", text("v"), XattrSet::any, root_cred)) == EROFS);
    CHECK(code(vfs::lookup(*fs.root, "x", root_cred)) == ENOENT);
}

TEST_CASE("the mount's uid, gid and umask are what is shown and judged") {
    MountOptions options;
    options.uid = 1000;
    options.gid = 50;
    options.umask = 027;
    VfsFixture fs(options);
    VnodeRef f = fs.file("f", 0666);
    auto attr = *vfs::getattr(*f);
    CHECK(attr.uid == 1000);
    CHECK(attr.gid == 50);
    CHECK(attr.mode == 0640);
    CHECK(code(vfs::access(*f, vfs::may_write, user)) == 0);
    CHECK(code(vfs::access(*f, vfs::may_read, other)) == EACCES);
    AttrChange change;
    change.uid = 7;
    CHECK(code(vfs::setattr(*f, change, root_cred)) == EPERM);
    change.uid = 1000;
    CHECK(code(vfs::setattr(*f, change, root_cred)) == 0);
}

TEST_CASE("access times follow the mount's policy") {
    MountOptions options;
    options.atime = GENERATE(AtimePolicy::none, AtimePolicy::relative, AtimePolicy::strict);
    VfsFixture fs(options);
    VnodeRef f = fs.file("f");
    REQUIRE(vfs::write(*f, 0, text("abc"), root_cred).ok());
    std::byte buffer[3];
    auto atime_moves = [&] {
        auto before = *vfs::getattr(*f);
        REQUIRE(*vfs::read(*f, 0, buffer) == 3);
        auto after = *vfs::getattr(*f);
        CHECK(after.ctime == before.ctime);
        CHECK(after.mtime == before.mtime);
        return after.atime > before.atime;
    };
    CHECK(atime_moves() == (options.atime != AtimePolicy::none)); // written since it was read
    CHECK(atime_moves() == (options.atime == AtimePolicy::strict));
    fs.clock.advance(25ull * 3600 * 1000000000);
    CHECK(atime_moves() == (options.atime != AtimePolicy::none));
    REQUIRE(vfs::setattr(*f, change_flags(file_flag::noatime), root_cred).ok());
    CHECK_FALSE(atime_moves());
}

TEST_CASE("sizes, ranges and types of file operations are checked") {
    VfsFixture fs;
    VnodeRef f = fs.file("f");
    VnodeRef dir = fs.mkdir("d");
    std::byte buffer[16];
    CHECK(code(vfs::read(*dir, 0, buffer)) == EISDIR);
    CHECK(code(vfs::write(*dir, 0, text("x"), root_cred)) == EISDIR);
    CHECK(*vfs::read(*f, 100, buffer) == 0);
    CHECK(code(vfs::write(*f, INT64_MAX, text("x"), root_cred)) == EFBIG);
    CHECK(code(vfs::write(*f, UINT64_MAX, text("x"), root_cred)) == EFBIG);
    AttrChange change;
    change.size = UINT64_MAX;
    CHECK(code(vfs::setattr(*f, change, root_cred)) == EFBIG);
    CHECK(code(vfs::setattr(*dir, change, root_cred)) == EISDIR);
    REQUIRE(*vfs::write(*f, 0, text("0123456789"), root_cred) == 10);
    VnodeRef g = fs.file("g");
    CHECK(*vfs::copy_range(*f, 2, *g, 5, 100, root_cred) == 8);
    REQUIRE(*vfs::read(*g, 0, buffer) == 13);
    CHECK(std::memcmp(buffer, "\0\0\0\0\00023456789", 13) == 0);
    CHECK(code(vfs::copy_range(*f, 0, *f, 5, 6, root_cred)) == EINVAL);
    CHECK(*vfs::copy_range(*f, 0, *f, 5, 5, root_cred) == 5);
    CHECK(code(vfs::copy_range(*dir, 0, *f, 0, 1, root_cred)) == EISDIR);
    CHECK(code(vfs::fallocate(*f, 0, 0, vfs::Fallocate::allocate, root_cred)) == EINVAL);
    CHECK(code(vfs::fallocate(*f, INT64_MAX, 1, vfs::Fallocate::allocate, root_cred)) == EFBIG);
    CHECK(code(vfs::fallocate(*dir, 0, 1, vfs::Fallocate::allocate, root_cred)) == EISDIR);
    CHECK(*vfs::seek(*f, 0, Seek::data) == 0);
    CHECK(*vfs::seek(*f, 3, Seek::hole) == 10);
    CHECK(code(vfs::seek(*f, 10, Seek::data)) == ENXIO);
    CHECK(code(vfs::readlink(*f)) == EINVAL);
    CHECK(code(vfs::readdir(*f, 0, [](const DirEntry&) { return true; })) == ENOTDIR);
}

TEST_CASE("special files are made by those who may") {
    VfsFixture fs;
    CHECK(code(vfs::create(*fs.root, "c", {FileType::chr, 0600, 0, {1, 3}}, user)) == EPERM);
    auto made = vfs::create(*fs.root, "c", {FileType::chr, 0600, 0, {1, 3}}, root_cred);
    REQUIRE(made.ok());
    CHECK(vfs::getattr(**made)->rdev == DeviceNumber{1, 3});
    CHECK(code(vfs::create(*fs.root, "p", {FileType::fifo, 0600, 0, {}}, user)) == 0);
    CHECK(code(vfs::create(*fs.root, "d", {FileType::dir, 0600, 0, {}}, root_cred)) == EPERM);
    CHECK(code(vfs::create(*fs.root, "l", {FileType::lnk, 0600, 0, {}}, root_cred)) == EINVAL);
    std::byte buffer[1];
    CHECK(code(vfs::read(*fs.path("p"), 0, buffer)) == EINVAL);
    CHECK(code(vfs::fallocate(*fs.path("p"), 0, 1, vfs::Fallocate::allocate, root_cred)) == ENODEV);
}
