# The life of a mount: made, served, ended by the user, by a signal, by a crash.
import errno
import json
import os
import shutil
import signal
import subprocess
import sys

from harness import (NOBODY, ROOT, as_user, check, counters, daemon_pid, equal, errno_is, fuse_mount, main,
                     make_ext2, mounted, need_root, need_user_mounts, refused, run, tool, ukfs, wait_until)


def alive(pid):
    """Running, or ended and not a mere entry that waits for its parent."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_mount_is_live_when_the_command_returns(scratch):
    with fuse_mount(scratch, "rump_tmpfs") as where:
        equal(mounted(where), "fuse.rump_tmpfs", "type")
        with open(where + "/a", "w", encoding="ascii") as file:
            file.write("hello")
        with open(where + "/a", encoding="ascii") as file:
            equal(file.read(), "hello", "content")
    equal(mounted(where), None, "after rump_umount")


def test_rump_umount_returns_when_the_daemon_has_ended(scratch):
    with fuse_mount(scratch, "rump_tmpfs") as where:
        pid = daemon_pid(where)
        check(alive(pid), "the daemon runs")
        run([tool("rump_umount"), where])
        check(not alive(pid), "the daemon has ended")


def test_rump_umount_refuses_what_is_not_ours(scratch):
    where = scratch.folder()
    refused([tool("rump_umount"), where], 32, where, "nothing is mounted")
    refused([tool("rump_umount"), "/proc"], 32, "/proc", "not one of ours")
    refused([tool("rump_umount"), scratch.file("none")], 32, scratch.file("none"), "No such file")
    run([tool("rump_umount")], 1)


def test_rump_umount_says_whose_mount_it_is(scratch):
    need_root()
    need_user_mounts()
    with fuse_mount(scratch, "rump_tmpfs", options=["allow_other", "mode=0755"]) as where:
        for flags in ([], ["-l"]):
            refused(as_user([tool("rump_umount"), *flags, where]), 32, where, "not yours", "user 0")
        equal(mounted(where), "fuse.rump_tmpfs", "still mounted")


def test_rump_umount_leaves_a_busy_mount_alone(scratch):
    with fuse_mount(scratch, "rump_tmpfs") as where:
        with open(where + "/a", "w", encoding="ascii") as file:
            refused([tool("rump_umount"), where], 32, where, "in use")
            equal(mounted(where), "fuse.rump_tmpfs", "still mounted")
            file.write("x")


def test_rump_umount_outwaits_who_only_looks(scratch):
    with fuse_mount(scratch, "rump_tmpfs") as where:
        # For a moment, in which rump_umount meets it.
        looker = scratch.start(["sh", "-c", f"cd {where} && echo in && sleep 0.05"], stdout=subprocess.PIPE)
        looker.stdout.readline()
        run([tool("rump_umount"), where])
        equal(looker.wait(30), 0, "who looked")


def shown_options(where):
    with open("/proc/self/mountinfo", encoding="ascii") as table:
        return next(l for l in table if f" {where} " in l).split(" ")[5].split(",")


def test_remount_read_only_and_back(scratch):
    need_root()
    image, where = make_ext2(scratch.file("image")), scratch.folder()

    def remount(options, *refusal):
        command = [tool("rump_ext2fs"), "-o", "remount," + options, image, where]
        if refusal:
            refused(command, 32, where, *refusal)
        else:
            run(command)

    with fuse_mount(scratch, "rump_ext2fs", image, options=["noexec"], mountpoint=where):
        with open(where + "/open", "w", encoding="ascii") as file:
            remount("ro", "busy") # to who writes
            file.write("here")
        os.unlink(where + "/open")
        with open(where + "/file", "w", encoding="ascii") as file:
            file.write("here")
        remount("ro")
        run(["e2fsck", "-fn", image])
        equal(json.loads(run([ukfs(), "info", "--json", "-o", "cow", shutil.copy(image, scratch.file("copy"))]).stdout)["state"],
              "clean", "image while it is mounted")
        with errno_is(errno.EROFS, "write"):
            os.mkdir(where + "/d")
        check({"ro", "noexec", "nosuid", "nodev"} <= set(shown_options(where)), "what was there stays")
        remount("rw,exec")
        check({"rw", "nosuid", "nodev"} <= set(shown_options(where)), "options")
        check("noexec" not in shown_options(where), "exec")
        os.mkdir(where + "/d")
        equal(mounted(where), "fuse.rump_ext2fs", "type")
        # As mount(8) passes it: all that holds.
        remount("ro,nosuid,relatime,user_id=0,group_id=0")
        check("nodev" not in shown_options(where), "dev")
        remount("rw")
        os.mkdir(where + "/e")
    run(["e2fsck", "-fn", image])
    with fuse_mount(scratch, "rump_ext2fs", image, options=["ro"], mountpoint=where):
        equal(sorted(os.listdir(where)), ["d", "e", "file", "lost+found"], "names")
        remount("rw", "mounted read-only")
        check("ro" in shown_options(where), "still read-only")
    remount("ro", "no mount of rump_ext2fs")
    refused([tool("rump_ext2fs"), "-o", "user_id=0", image, where], 1, "remounts only")


def test_remount_is_for_root(scratch):
    need_user_mounts()
    user = NOBODY if ROOT else os.geteuid()
    with fuse_mount(scratch, "rump_tmpfs", user=user) as where:
        refused(as_user([tool("rump_tmpfs"), "-o", "remount,ro", where]), 32, where, "not permitted")
        run(as_user(["mkdir", where + "/d"]))


def test_fusermount_ends_the_daemon(scratch):
    with fuse_mount(scratch, "rump_tmpfs") as where:
        pid = daemon_pid(where)
        run(["fusermount3", "-u", where])
        wait_until(lambda: not alive(pid), "the daemon ends")


def test_signals_that_end_unmount(scratch):
    folder = scratch.folder()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGALRM):
        with fuse_mount(scratch, "rump_tmpfs", mountpoint=folder) as where:
            pid = daemon_pid(where)
            os.kill(pid, number)
            wait_until(lambda pid=pid: not alive(pid), "the daemon ends")
            equal(mounted(where), None, f"mount after {number.name}")


def test_sigterm_takes_a_busy_mount_away(scratch):
    with fuse_mount(scratch, "rump_tmpfs") as where:
        pid = daemon_pid(where)
        with open(where + "/a", "w", encoding="ascii"):
            os.kill(pid, signal.SIGTERM)
            wait_until(lambda: not alive(pid), "the daemon ends")
        equal(mounted(where), None, "mount")


def test_killed_daemon_leaves_a_mountpoint_that_can_be_used_again(scratch):
    with fuse_mount(scratch, "rump_tmpfs") as where:
        pid = daemon_pid(where)
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not alive(pid), "the daemon ends")
        refused([tool("rump_tmpfs"), where], 32, where, "daemon is gone")
        run([tool("rump_umount"), where])
        run([tool("rump_tmpfs"), where])
        equal(os.listdir(where), [], "fresh mount")


def test_foreground_stays_until_unmounted(scratch):
    where = scratch.folder()
    daemon = scratch.start([tool("rump_tmpfs"), "-f", where], stderr=subprocess.PIPE)
    wait_until(lambda: mounted(where), "mounted")
    equal(daemon.poll(), None, "runs")
    equal(daemon_pid(where), daemon.pid, "its own process")
    run([tool("rump_umount"), where])
    equal(daemon.wait(60), 0, "exit code")


def test_ready_fd_gets_a_line_when_mounted(scratch):
    where = scratch.folder()
    ours, theirs = os.pipe()
    scratch.start([tool("rump_tmpfs"), "-f", "-o", f"ready_fd={theirs}", where], pass_fds=[theirs])
    os.close(theirs)
    equal(os.read(ours, 16), b"\n", "word")
    equal(mounted(where), "fuse.rump_tmpfs", "type")
    equal(os.read(ours, 16), b"", "and closed")
    os.close(ours)


def test_pidfile_is_there_while_mounted(scratch):
    pidfile = scratch.file("pid")
    with fuse_mount(scratch, "rump_tmpfs", options=[f"pidfile={pidfile}"]) as where:
        with open(pidfile, encoding="ascii") as file:
            equal(int(file.read()), daemon_pid(where), "pid")
    check(not os.path.exists(pidfile), "gone with the mount")
    where = scratch.folder("other")
    refused([tool("rump_tmpfs"), "-o", "pidfile=/nonexistent/pid", where], 16, "/nonexistent/pid")
    equal(mounted(where), None, "nothing mounted")


def test_many_mounts_one_after_another(scratch):
    where = scratch.folder()
    for _ in range(20):
        with fuse_mount(scratch, "rump_tmpfs", mountpoint=where):
            os.mkdir(where + "/d")


def test_ordinary_user_mounts(scratch):
    need_user_mounts()
    user = 65534 if ROOT else os.geteuid()
    with fuse_mount(scratch, "rump_tmpfs", user=user) as where:
        equal(mounted(where), "fuse.rump_tmpfs", "type")
        # As everywhere with FUSE, not even root looks in unless allow_other or allow_root says so.
        if ROOT:
            try:
                os.listdir(where)
                check(os.access("/sys/module/fuse/parameters/allow_sys_admin_access", os.R_OK), "root")
            except PermissionError:
                pass


def test_mount_command_and_fstab_options(scratch):
    need_root()
    where = scratch.folder()
    # An installed daemon is found by its name alone.
    run(["mount", "-t", f"fuse.{os.path.abspath(tool('rump_tmpfs'))}", "scratch", where, "-o",
         "rw,noauto,user,nofail,_netdev,x-systemd.automount,acl,user_xattr,default_permissions,dev,suid,exec"])
    equal(mounted(where), "fuse.rump_tmpfs", "type")
    run([tool("rump_umount"), where])


def test_counters_are_json_and_not_listed(scratch):
    with fuse_mount(scratch, "rump_tmpfs") as where:
        os.mkdir(where + "/d")
        values = counters(where)
        equal(values["fuse.requests.mkdir"], 1, "mkdir requests")
        equal(values["fuse.transport"], "dev" if values["fuse.transport"] == "dev" else "uring", "name")
        equal(os.listxattr(where), [], "not listed")


if __name__ == "__main__":
    main(sys.modules[__name__])
