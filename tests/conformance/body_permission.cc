// Who may do what: access checks by owner, group and other, the sticky bit, set-id bits, who may
// change what (POSIX.1-2017, 4.5 "File Access Permissions"; chmod, chown, utimensat).
#include "tests/conformance/helpers.h"

using namespace rump;
using namespace rump::conformance;

namespace {

/// A directory that everybody may write in, with a file of alice.
void alices_file(Fs& fs, uint32_t mode) {
    fs.mkdir("d");
    fs.chmod("d", 0777);
    fs.as(alice).write("d/f", "alice's");
    fs.chmod("d/f", mode);
}

} // namespace

CONFORMANCE("owner, group and other have what their bits say") {
    if (!fs.can_switch_user()) return;
    alices_file(fs, 0640);
    CHECK(fs.as(alice).open("d/f", O_RDWR) == ok);
    CHECK(fs.as(carol).open("d/f", O_RDONLY) == ok);
    CHECK(fs.as(carol).open("d/f", O_WRONLY) == Errno::acces);
    CHECK(fs.as(bob).open("d/f", O_RDONLY) == Errno::acces);
    CHECK(fs.as(bob).open("d/f", O_WRONLY) == Errno::acces);
    CHECK(fs.as(bob).open("d/f", O_RDONLY | O_TRUNC) == Errno::acces);
    CHECK(fs.as(bob).truncate("d/f", 0) == Errno::acces);
    CHECK(fs.as(bob).stat("d/f") == ok);
    CHECK(fs.read("d/f") == "alice's");
}

CONFORMANCE("the first class that matches decides") {
    if (!fs.can_switch_user()) return;
    alices_file(fs, 0066);
    CHECK(fs.as(alice).open("d/f", O_RDONLY) == Errno::acces);
    CHECK(fs.as(carol).open("d/f", O_RDONLY) == ok);
    fs.chmod("d/f", 0606);
    CHECK(fs.as(carol).open("d/f", O_RDONLY) == Errno::acces);
    CHECK(fs.as(bob).open("d/f", O_RDONLY) == ok);
}

CONFORMANCE("access answers for reading, writing and executing") {
    if (!fs.can_switch_user()) return;
    alices_file(fs, 0754);
    CHECK(fs.as(alice).access("d/f", vfs::may_read | vfs::may_write | vfs::may_exec) == ok);
    CHECK(fs.as(carol).access("d/f", vfs::may_read | vfs::may_exec) == ok);
    CHECK(fs.as(carol).access("d/f", vfs::may_write) == Errno::acces);
    CHECK(fs.as(bob).access("d/f", vfs::may_read) == ok);
    CHECK(fs.as(bob).access("d/f", vfs::may_exec) == Errno::acces);
    CHECK(fs.access("missing", 0) == Errno::noent);
}

CONFORMANCE("root may all, but execute what nobody may") {
    if (!fs.can_switch_user()) return;
    alices_file(fs, 0);
    CHECK(fs.open("d/f", O_RDWR) == ok);
    CHECK(fs.access("d/f", vfs::may_read | vfs::may_write) == ok);
    CHECK(fs.access("d/f", vfs::may_exec) == Errno::acces);
    fs.chmod("d/f", 0010);
    CHECK(fs.access("d/f", vfs::may_exec) == ok);
    fs.chmod("d", 0);
    CHECK(fs.read("d/f") == "alice's");
}

CONFORMANCE("passing through a directory needs search, listing it needs read") {
    if (!fs.can_switch_user()) return;
    fs.mkdir("d");
    fs.write("d/f", "x");
    fs.chmod("d", 0711);
    CHECK(fs.as(bob).read("d/f") == "x");
    CHECK(fs.as(bob).list("d") == Errno::acces);
    fs.chmod("d", 0744);
    CHECK(fs.as(bob).stat("d/f") == Errno::acces);
    CHECK(fs.as(bob).stat("d/missing") == Errno::acces);
    CHECK(fs.as(bob).list("d") == Names{"f"});
}

CONFORMANCE("making and removing entries needs write and search on the directory") {
    if (!fs.can_switch_user()) return;
    fs.mkdir("d");
    fs.write("d/f", "x");
    fs.mkdir("d/e");
    fs.write("g", "x");
    fs.chmod("g", 0666);
    fs.chmod(".", 0777);
    for (uint32_t mode : {0755u, 0775u, 0776u}) {
        fs.chmod("d", mode);
        CHECK(fs.as(bob).open("d/new", O_RDWR | O_CREAT) == Errno::acces);
        CHECK(fs.as(bob).mkdir("d/new") == Errno::acces);
        CHECK(fs.as(bob).unlink("d/f") == Errno::acces);
        CHECK(fs.as(bob).rmdir("d/e") == Errno::acces);
        CHECK(fs.as(bob).rename("d/f", "d/g") == Errno::acces);
        CHECK(fs.as(bob).rename("d/f", "f") == Errno::acces);
        CHECK(fs.as(bob).rename("g", "d/g") == Errno::acces);
        if (fs.traits.symlinks) CHECK(fs.as(bob).symlink("x", "d/new") == Errno::acces);
        if (fs.traits.special_files)
            CHECK(fs.as(bob).mknod("d/new", FileType::fifo) == Errno::acces);
    }
    fs.chmod("d", 0773);
    CHECK(fs.as(bob).open("d/new", O_RDWR | O_CREAT) == ok);
    CHECK(fs.as(bob).unlink("d/f") == ok); // the file's own bits do not matter
}

CONFORMANCE("in a sticky directory only the owners remove and rename") {
    if (!fs.can_switch_user()) return;
    fs.mkdir("d");
    fs.chown("d", carol.uid, carol.gid);
    fs.chmod("d", 01777);
    fs.as(alice).write("d/f", "x");
    fs.as(alice).mkdir("d/e", 0777);
    fs.as(bob).write("d/b", "y");
    CHECK(fs.as(bob).unlink("d/f") == Errno::perm);
    CHECK(fs.as(bob).rmdir("d/e") == Errno::perm);
    CHECK(fs.as(bob).unlink("d/e") == Errno::perm); // before EISDIR
    CHECK(fs.as(bob).rename("d/f", "d/g") == Errno::perm);
    CHECK(fs.as(bob).rename("d/b", "d/f") == Errno::perm); // would replace alice's
    CHECK(fs.as(bob).rename("d/b", "d/c") == ok);
    CHECK(fs.as(alice).rename("d/f", "d/g") == ok);
    CHECK(fs.as(carol).unlink("d/g") == ok); // the directory is hers
    CHECK(fs.unlink("d/c") == ok);           // root
}

CONFORMANCE("chmod is for the owner and root") {
    if (!fs.can_switch_user()) return;
    alices_file(fs, 0666);
    CHECK(fs.as(bob).chmod("d/f", 0777) == Errno::perm);
    CHECK(fs.as(carol).chmod("d/f", 0777) == Errno::perm);
    CHECK(fs.as(alice).chmod("d/f", 0700) == ok);
    CHECK(fs.attr("d/f").mode == 0700);
}

CONFORMANCE("only root gives files away; a group of one's own is allowed") {
    if (!fs.can_switch_user()) return;
    fs.mkdir("d");
    fs.chmod("d", 0777);
    fs.as(carol).write("d/f", "x"); // gid 1003, also in 1001
    CHECK(fs.as(carol).chown("d/f", bob.uid, keep_id) == Errno::perm);
    CHECK(fs.as(carol).chown("d/f", keep_id, bob.gid) == Errno::perm);
    CHECK(fs.as(carol).chown("d/f", keep_id, 1001) == ok);
    CHECK(fs.attr("d/f").gid == 1001);
    CHECK(fs.as(carol).chown("d/f", carol.uid, 1003) == ok);
    CHECK(fs.as(bob).chown("d/f", bob.uid, bob.gid) == Errno::perm);
    CHECK(fs.chown("d/f", bob.uid, bob.gid) == ok);
    CHECK(fs.attr("d/f").uid == bob.uid);
}

CONFORMANCE("chown takes the set-id bits away") {
    if (!fs.can_switch_user()) return;
    alices_file(fs, 06755);
    CHECK(fs.as(alice).chown("d/f", keep_id, alice.gid) == ok);
    CHECK(fs.attr("d/f").mode == 0755);
}

CONFORMANCE("writing and truncating by another than root takes the set-id bits away") {
    if (!fs.can_switch_user()) return;
    alices_file(fs, 06777);
    fs.as(bob).open("d/f", O_WRONLY)->write(0, "x");
    CHECK(fs.attr("d/f").mode == 0777);
    fs.chmod("d/f", 06777);
    fs.as(bob).truncate("d/f", 1);
    CHECK(fs.attr("d/f").mode == 0777);
}

CONFORMANCE("chmod by one outside the group drops the set-group-id bit") {
    if (!fs.can_switch_user()) return;
    alices_file(fs, 0644);
    fs.chown("d/f", alice.uid, bob.gid);
    CHECK(fs.as(alice).chmod("d/f", 02755) == ok);
    CHECK(fs.attr("d/f").mode == 0755);
    fs.chown("d/f", alice.uid, alice.gid);
    CHECK(fs.as(alice).chmod("d/f", 02755) == ok);
    CHECK(fs.attr("d/f").mode == 02755);
}

CONFORMANCE("times of one's choice are for the owner, now is for who may write") {
    if (!fs.can_switch_user()) return;
    alices_file(fs, 0662);
    CHECK(fs.as(bob).utimes("d/f", at(1000), at(1000)) == Errno::perm);
    CHECK(fs.as(bob).utimes("d/f", time_now, time_now) == ok);
    CHECK(fs.as(bob).utimes("d/f", time_now, time_omit) == Errno::perm);
    CHECK(fs.as(alice).utimes("d/f", at(1'000'000'000), at(1'000'000'000)) == ok);
    fs.chmod("d/f", 0644);
    CHECK(fs.as(bob).utimes("d/f", time_now, time_now) == Errno::acces);
    CHECK(fs.as(bob).utimes("d/f", at(1000), at(1000)) == Errno::perm);
}

CONFORMANCE("a directory that changes its parent must be writable") {
    if (!fs.can_switch_user()) return;
    fs.chmod(".", 0777);
    fs.mkdir("to");
    fs.chmod("to", 0777);
    fs.mkdir("d");
    fs.chmod("d", 0755);
    CHECK(fs.as(bob).rename("d", "to/d") == Errno::acces); // dot-dot in it would change
    CHECK(fs.as(bob).rename("d", "e") == ok);
    fs.chmod("e", 0777);
    CHECK(fs.as(bob).rename("e", "to/d") == ok);
}

CONFORMANCE("device nodes are for root") {
    if (!fs.can_switch_user() || !fs.traits.special_files) return;
    fs.chmod(".", 0777);
    CHECK(fs.as(bob).mknod("c", FileType::chr, 0666, {1, 3}) == Errno::perm);
    CHECK(fs.as(bob).mknod("b", FileType::blk, 0666, {8, 0}) == Errno::perm);
    CHECK(fs.as(bob).mknod("p", FileType::fifo) == ok);
}

CONFORMANCE("permissions are judged when a file is opened, not later") {
    if (!fs.can_switch_user()) return;
    alices_file(fs, 0666);
    auto file = fs.as(bob).open("d/f");
    fs.chmod("d/f", 0);
    CHECK(file->write(0, "still") == 5u);
    CHECK(file->read(0, 5) == "still");
    CHECK(fs.as(bob).open("d/f") == Errno::acces);
}

CONFORMANCE("supplementary groups count") {
    if (!fs.can_switch_user()) return;
    fs.mkdir("d");
    fs.chown("d", 0, alice.gid);
    fs.chmod("d", 0770);
    CHECK(fs.as(carol).write("d/f", "x") == ok);
    CHECK(fs.as(bob).read("d/f") == Errno::acces);
    const User many{2000, 2000, {5, 6, 7, 1001, 8}};
    CHECK(fs.as(many).read("d/f") == "x");
}
