# Command lines: what is refused, in which words, with which exit code of mount(8), and that nothing
# has changed then.
import grp
import os
import pwd
import subprocess
import sys

from harness import (NOBODY, ROOT, as_user, check, counters, equal, fuse_mount, has_daemon, main, mounted,
                     need_user_mounts, refused, run, tool, uring_offered, uring_switched_on)


def tmpfs(*arguments):
    return [tool("rump_tmpfs"), *arguments]


def test_help_and_version(_):
    text = run(tmpfs("--help")).stdout
    for word in ("usage: rump_tmpfs", "fakeroot", "transport=", "size=", "rump_umount"):
        check(word in text, f"--help does not say {word}")
    equal(run(tmpfs("-h")).stdout, text, "-h")
    check(run(tmpfs("-V")).stdout.startswith("rump_tmpfs "), "-V")


def test_wrong_arguments(scratch):
    where = scratch.folder()
    refused(tmpfs(), 1, "mount point")
    refused(tmpfs("a", where, "c"), 1, "mount point")
    refused(tmpfs(""), 1, "mount point")
    refused(tmpfs("-x", where), 1, "-x")
    refused(tmpfs("--nonsense", where), 1, "--nonsense")
    refused(tmpfs(where, "-o"), 1, "-o")
    equal(mounted(where), None, "nothing mounted")


def test_wrong_options(scratch):
    where = scratch.folder()
    for option, *words in (("nonsense", "nonsense"), ("threads=0", "threads"),
                           ("threads=x", "threads"), ("poll=10001", "poll"), ("errors=never", "errors"),
                           ("transport=pigeon", "transport", "uring"), ("loglevel=loud", "loglevel"),
                           ("umask=9", "umask"), ("umask=7777", "umask"), ("ro=yes", "ro"),
                           ("cache=1", "cache"), ("norecovery", "norecovery", "ro"),
                           ("ready_fd=99", "ready_fd", "open for writing"),
                           ("fakeroot,allow_other", "fakeroot", "allow_other"),
                           ("allow_root,allow_other", "allow_root", "allow_other")):
        refused(tmpfs("-o", option, where), 1, *words)
    for option in ("size=many", "size=0%", "size=101%", "mode=17777", "uid=4294967295", "nr_inodes=x"):
        refused(tmpfs("-o", option, where), 1, option.split("=")[0])
    # Before the image is looked at.
    for daemon, option in (("rump_ext2fs", "resuid=4294967295"), ("rump_ext2fs", "resgid=x"),
                           ("rump_msdos", "codepage=nonsense"), ("rump_msdos", "shortname=x"),
                           ("rump_msdos", "time_offset=1441"), ("rump_exfat", "time_offset=7"),
                           ("rump_msdos", "utf8=0"), ("rump_msdos", "iocharset=koi8-r"),
                           ("rump_exfat", "iocharset=koi8-r")):
        if has_daemon(daemon):
            refused([tool(daemon), "-o", option, "none.img", where], 1, option.split("=")[0])
    equal(mounted(where), None, "nothing mounted")


def test_wrong_mountpoints(scratch):
    refused(tmpfs(scratch.file("none")), 32, scratch.file("none"), "No such file")
    with open(scratch.file("file"), "w", encoding="ascii"):
        pass
    refused(tmpfs(scratch.file("file")), 32, scratch.file("file"), "not a directory")


def test_somebody_elses_mountpoint(scratch):
    need_user_mounts()
    where = scratch.folder() if ROOT else "/usr"
    refused(as_user(tmpfs(where)), 32, where, "write in this directory")
    sticky = scratch.folder("sticky") if ROOT else "/tmp"
    if ROOT:
        os.chmod(sticky, 0o1777)
    refused(as_user(tmpfs(sticky)), 32, sticky, "do not own")


def test_options_before_and_after_the_arguments(scratch):
    for number, arguments in enumerate((["-o", "ro", "WHERE"], ["WHERE", "-o", "ro"], ["-r", "WHERE"],
                                        ["-oro", "WHERE"], ["-o", "rw,ro", "--", "WHERE"])):
        where = scratch.folder(f"m{number}")
        run(tmpfs(*[where if a == "WHERE" else a for a in arguments]))
        check(os.statvfs(where).f_flag & os.ST_RDONLY, f"{arguments}: read-only")
        run([tool("rump_umount"), where])


def test_host_flags_reach_the_mount(scratch):
    with fuse_mount(scratch, "rump_tmpfs", options=["noexec", "nosuid", "nodev", "noatime"]) as where:
        flags = os.statvfs(where).f_flag
        for flag in (os.ST_NOEXEC, os.ST_NOSUID, os.ST_NODEV, os.ST_NOATIME):
            check(flags & flag, f"flag {flag}")


def test_of_contrary_options_the_last_counts(scratch):
    for number, (options, names, there) in enumerate((
            ("noexec,exec", ["noexec"], False), ("exec,noexec", ["noexec"], True),
            ("noexec,nosuid,nodev,user,exec,suid", ["noexec", "nosuid"], False),
            ("noatime,atime", ["noatime"], False), ("sync,async", ["sync"], False),
            ("suid,nosuid", ["nosuid"], True), ("ro,rw", ["ro"], False))):
        with fuse_mount(scratch, "rump_tmpfs", options=[options],
                        mountpoint=scratch.folder(f"m{number}")) as where:
            with open("/proc/self/mountinfo", encoding="ascii") as table:
                shown = next(l for l in table if f" {where} " in l).split(" ")[5].split(",")
            if not ROOT and options != "ro,rw":
                names = [n for n in names if n == "noexec"] # the rest is not a user's to choose
            for name in names:
                equal(name in shown, there, f"{options}: {name} in {shown}")


def test_owners_by_name(scratch):
    with fuse_mount(scratch, "rump_tmpfs", options=["uid=nobody", "gid=daemon"]) as where:
        status = os.stat(where)
        equal((status.st_uid, status.st_gid), (pwd.getpwnam("nobody").pw_uid, grp.getgrnam("daemon").gr_gid), "owner")
    other = scratch.folder("other")
    for option in ("uid=no such user", "gid=no-such-group", "uid=-1", "uid="):
        refused(tmpfs("-o", option, other), 1, option.split("=")[0])


def test_what_mount_8_passes_along_is_accepted(scratch):
    options = ("defaults,auto,noauto,user,nouser,users,owner,group,nofail,loop,_netdev,acl,user_xattr,"
               "default_permissions,async,atime,relatime,norelatime,strictatime,nostrictatime,lazytime,"
               "nolazytime,diratime,nodiratime,iversion,noiversion,mand,nomand,silent,loud,rw,"
               "x-systemd.automount,X-mount.mkdir,comment=systemd")
    with fuse_mount(scratch, "rump_tmpfs", options=[options]):
        pass


def test_files_within_the_mount_point_are_refused(scratch):
    where = scratch.folder()
    refused(tmpfs("-o", "pidfile=" + where + "/pid", where), 32, where, "hide", "/pid")
    equal(os.listdir(where), [], "mount point")


def test_closed_standard_descriptors(scratch):
    where = scratch.folder()
    run(["sh", "-c", f"exec {tool('rump_tmpfs')} {where} <&- >&- 2>&-"])
    with open(where + "/f", "w", encoding="ascii") as file:
        file.write("here")
    run([tool("rump_umount"), where])


def test_allow_other_always_checks_permissions(scratch):
    options = ["allow_other"] if ROOT else []
    with fuse_mount(scratch, "rump_tmpfs", options=options) as where:
        with open("/proc/self/mountinfo", encoding="ascii") as table:
            line = next(l for l in table if f" {where} " in l)
        check("default_permissions" in line, line)
        if not ROOT:
            return
        os.mkdir(where + "/d", 0o700)
        run(as_user(["ls", where + "/d"]), 2)
        run(as_user(["ls", where]))


def test_fakeroot_may_everything(scratch):
    need_user_mounts()
    user = NOBODY if ROOT else os.geteuid()
    with fuse_mount(scratch, "rump_tmpfs", options=["fakeroot"], user=user) as where:
        script = (f"cd {where} && echo x >a && chown 1:2 a && chmod 4600 a && mkfifo n && "
                  "mkdir d && chmod 0 d && touch d/e && stat -c %u:%g:%a a && stat -c %u:%g d")
        equal(run(as_user(["sh", "-c", script])).stdout, "1:2:4600\n0:0\n", "owners")


def test_transport_that_the_host_lacks(scratch):
    where = scratch.folder()
    if not uring_offered():
        done = subprocess.run(tmpfs("-o", "transport=uring", where), capture_output=True, text=True,
                              check=False)
        if not uring_offered(): # still
            equal(done.returncode, 32, "exit code")
            check(where in done.stderr and "io_uring" in done.stderr, done.stderr)
            equal(mounted(where), None, "nothing mounted")
    elsewhere = scratch.folder("auto")
    with fuse_mount(scratch, "rump_tmpfs", options=["transport=auto"], mountpoint=elsewhere):
        os.mkdir(elsewhere + "/d")


def work(where, seed, rounds):
    """What one of several clients does: files made, read back, renamed, removed."""
    return (f"import os, random\n"
            f"random.seed({seed})\n"
            f"base = {where!r} + '/p{seed}'\n"
            f"os.mkdir(base)\n"
            f"for i in range({rounds}):\n"
            f"    data = random.randbytes(random.choice((0, 1, 4096, 70000, 300000)))\n"
            f"    name = f'{{base}}/{{i}}'\n"
            f"    with open(name, 'wb') as file:\n"
            f"        file.write(data)\n"
            f"        if i % 8 == 0: os.fsync(file.fileno())\n"
            f"    os.rename(name, name + 'x')\n"
            f"    assert open(name + 'x', 'rb').read() == data\n"
            f"    assert len(os.listdir(base)) == 1 + i // 2\n"
            f"    if i % 2 == 0: os.unlink(name + 'x')\n")


def parallel_clients(scratch, transport):
    where = scratch.folder()
    with fuse_mount(scratch, "rump_tmpfs", options=[f"transport={transport}", "size=256M"],
                    mountpoint=where):
        equal(counters(where)["fuse.transport"], transport, "transport")
        clients = [scratch.start([sys.executable, "-c", work(where, seed, 60)]) for seed in range(6)]
        for client in clients:
            equal(client.wait(300), 0, "client")
        equal(sum(len(files) for _, _, files in os.walk(where)), 6 * 30, "files that stay")


def test_parallel_clients_over_dev_fuse(scratch):
    parallel_clients(scratch, "dev")


def test_parallel_clients_over_io_uring(scratch):
    with uring_switched_on():
        parallel_clients(scratch, "uring")


if __name__ == "__main__":
    main(sys.modules[__name__])
