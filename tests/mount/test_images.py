# Images as a user gives them: what is refused, in which words, with nothing changed; parts of disks;
# copies on write; whose files they are.
import errno
import hashlib
import os
import select
import shutil
import stat
import subprocess
import sys

from harness import (NOBODY, ROOT, as_user, check, equal, errno_is, fuse_mount, image_daemons, main,
                     make_exfat, make_ext2, make_fat, mounted, need_root, need_user_mounts, refused, run,
                     tool, ukfs, uring_offered)


def digest(path):
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def test_files_stay_and_the_image_is_clean(scratch):
    for daemon, image, check_with in image_daemons(scratch):
        where = scratch.folder(daemon)
        with fuse_mount(scratch, daemon, image, mountpoint=where):
            os.makedirs(where + "/a/b")
            with open(where + "/a/b/File", "w", encoding="ascii") as file:
                file.write("content")
        run([*check_with, image])
        with fuse_mount(scratch, daemon, image, mountpoint=where):
            with open(where + "/a/b/File", encoding="ascii") as file:
                equal(file.read(), "content", daemon)


def survives_a_kill(scratch, options, sync):
    for daemon, image, _ in image_daemons(scratch):
        where = scratch.folder(daemon)
        with fuse_mount(scratch, daemon, image, options=options, mountpoint=where):
            os.mkdir(where + "/d")
            with open(where + "/d/a", "w", encoding="ascii") as file:
                file.write("synced")
                file.flush()
                sync(file.fileno())
            pid = int(os.getxattr(where, "user.rump.pid"))
            fd = os.pidfd_open(pid)
            os.kill(pid, 9)
            select.select([fd], [], [])
            os.close(fd)
            run([tool("rump_umount"), where])
        with fuse_mount(scratch, daemon, image, mountpoint=where):
            with open(where + "/d/a", encoding="ascii") as file:
                equal(file.read(), "synced", daemon)


def test_fsync_is_on_the_image_before_a_kill(scratch):
    survives_a_kill(scratch, [], os.fsync)


def test_with_flush_a_closed_file_is_on_the_image_before_a_kill(scratch):
    survives_a_kill(scratch, ["flush"], lambda _: None)


def test_the_read_only_attribute_is_seen_as_a_mode(scratch):
    for daemon, image, _ in image_daemons(scratch):
        if daemon not in ("rump_msdos", "rump_exfat"):
            continue
        with fuse_mount(scratch, daemon, image, mountpoint=scratch.folder(daemon)) as where:
            with open(where + "/a", "w", encoding="ascii"):
                pass
            os.setxattr(where + "/a", "user.dos.attrib", b"0x21")
            equal(stat.S_IMODE(os.stat(where + "/a").st_mode), 0o555, daemon)
            os.chmod(where + "/a", 0o755) # who owns it may not write to its attributes now
            equal(os.getxattr(where + "/a", "user.dos.attrib"), b"0x20", daemon)
            if ROOT:
                os.setxattr(where + "/a", "user.dos.attrib", b"0x1")
                os.setxattr(where + "/a", "user.dos.attrib", b"0x0")
                equal(stat.S_IMODE(os.stat(where + "/a").st_mode), 0o755, daemon)


def test_options_of_desktops_and_installers(scratch):
    own = f"uid={os.geteuid()},gid={os.getegid()},"
    where = scratch.folder()
    for daemon, make, options in (
            ("rump_msdos", make_fat, "uhelper=udisks2,shortname=mixed,utf8=1,showexec,flush,errors=remount-ro"),
            ("rump_msdos", make_fat, "fmask=0022,dmask=0022,codepage=437,iocharset=ascii,shortname=mixed,utf8"),
            ("rump_exfat", make_exfat, "uhelper=udisks2,iocharset=utf8,errors=remount-ro")):
        image = make(scratch.file("image"))
        with fuse_mount(scratch, daemon, image, options=[own + options], mountpoint=where):
            name = "größe.txt"
            with open(f"{where}/{name}", "wb") as file:
                file.write(b"12")
            equal(os.listdir(where), [name], options)
            program = "showexec" not in options
            equal(os.access(f"{where}/{name}", os.X_OK), program, options)
            os.rename(f"{where}/{name}", where + "/größe.exe")
            equal(stat.S_IMODE(os.stat(where + "/größe.exe").st_mode), 0o755, options)


def test_images_that_are_none(scratch):
    where = scratch.folder()
    for daemon, image, _ in image_daemons(scratch):
        none, empty, short, noise = (scratch.file(n) for n in ("none", "empty", "short", "noise"))
        for path, size in ((empty, 0), (short, 100), (noise, 1 << 20)):
            with open(path, "wb") as file:
                file.write(os.urandom(size))
        for path, *words in ((none, "No such file"), (scratch.path, "directory"), (empty, "empty"),
                             (short, "too short", "100 bytes"), (noise,), ("/dev/null", "")):
            refused([tool(daemon), path, where], 32, path, *words)
        truncated = scratch.file("truncated")
        with open(image, "rb") as source, open(truncated, "wb") as target:
            target.write(source.read(70000))
        before = digest(truncated)
        refused([tool(daemon), truncated, where], 32, truncated)
        equal(digest(truncated), before, "image")
    equal(mounted(where), None, "nothing mounted")


def test_unreadable_image(scratch):
    need_user_mounts()
    where = scratch.folder(owner=NOBODY if ROOT else None)
    for daemon, image, _ in image_daemons(scratch):
        os.chmod(image, 0)
        refused(as_user([tool(daemon), image, where]), 32, image, "you may not")
        os.chmod(image, 0o444)
        if ROOT:
            refused(as_user([tool(daemon), image, where]), 32, image)
            run(as_user([tool(daemon), "-r", image, where]))
            run(as_user([tool("rump_umount"), where]))


def test_image_of_another_type_names_its_daemon(scratch):
    where = scratch.folder()
    images = {daemon: image for daemon, image, _ in image_daemons(scratch)}
    for daemon in images:
        for other, image in images.items():
            if other != daemon:
                before = digest(image)
                refused([tool(daemon), image, where], 32, image, other)
                equal(digest(image), before, "image")


def test_a_boot_sector_that_lies_is_reported_by_its_field(scratch):
    where = scratch.folder()
    for daemon, make, offset, value, field in (("rump_msdos", make_fat, 13, 3, "sectors per cluster"),
                                               ("rump_msdos", make_fat, 16, 0, "FATs"),
                                               ("rump_exfat", make_exfat, 108, 1, "sector")):
        image = make(scratch.file("image"))
        # Both boot regions of exFAT: the second one starts at the twelfth sector.
        with open(image, "r+b") as file:
            for boot in (0, 12 * 512) if daemon == "rump_exfat" else (0,):
                file.seek(boot + offset)
                file.write(bytes([value]))
        refused([tool(daemon), image, where], 32, image, field)
        refused([ukfs(), "check", image], 8, image, field)


def test_locked_image(scratch):
    for daemon, image, _ in image_daemons(scratch):
        first, second = scratch.folder(daemon + "1"), scratch.folder(daemon + "2")
        with fuse_mount(scratch, daemon, image, mountpoint=first):
            refused([tool(daemon), image, second], 32, image)
            refused([tool(daemon), "-r", image, second], 32, image)
        with fuse_mount(scratch, daemon, image, options=["ro"], mountpoint=first):
            with fuse_mount(scratch, daemon, image, options=["ro"], mountpoint=second):
                pass
            refused([tool(daemon), image, second], 32, image)


def test_an_image_whose_mount_is_just_gone(scratch):
    """umount(8) returns before the daemon has closed the image."""
    unmount = ["umount"] if ROOT else ["fusermount3", "-u"]
    for daemon, image, check_with in image_daemons(scratch):
        where = scratch.folder(daemon)
        for _ in range(5):
            with fuse_mount(scratch, daemon, image, mountpoint=where):
                with open(where + "/file", "wb") as file:
                    file.write(bytes(3 << 20))
                run([*unmount, where])
            run([ukfs(), "stat", image, "/file"])
        run([*check_with, image])


def test_messages_do_not_go_into_the_image(scratch):
    """A program started without standard error would open the image as descriptor 2."""
    where = scratch.folder()
    for daemon, image, _ in image_daemons(scratch):
        before = digest(image)
        for arguments in (f"-o offset=512 {image} {where}", f"-o errors=x {image} {where}"):
            done = subprocess.run(["sh", "-c", f"exec {tool(daemon)} {arguments} <&- >&- 2>&-"],
                                  check=False)
            check(done.returncode in (1, 32), f"{daemon}: {done.returncode}")
            equal(digest(image), before, f"{daemon}: image")


def test_mounts_that_do_not_come_about_change_nothing(scratch):
    where = scratch.folder()
    options = ["pidfile=/nonexistent/pid"] + ([] if uring_offered() else ["transport=uring"])
    for daemon, image, _ in image_daemons(scratch):
        before = digest(image)
        for option in options:
            done = subprocess.run([tool(daemon), "-o", option, image, where], capture_output=True,
                                  text=True, check=False)
            check(done.returncode in (16, 32), f"{daemon} {option}: {done.returncode} {done.stderr}")
            equal(digest(image), before, f"{daemon} {option}")
            equal(mounted(where), None, "nothing mounted")
        blank = scratch.file("blank")
        with open(blank, "wb") as file:
            file.truncate(1 << 20)
        refused([tool(daemon), "-o", f"cow={scratch.file('delta')}", blank, where], 32, blank)
        check(not os.path.exists(scratch.file("delta")), "a delta stays of a mount that was refused")
        for option in ("size=0", "offset=-1", "ready_fd=99"):
            refused([tool(daemon), "-o", option, image, where], 1, option.split("=")[0])
        equal(digest(image), before, daemon)


def test_mountpoints_that_are_in_use(scratch):
    for daemon, image, _ in image_daemons(scratch):
        where = scratch.folder(daemon)
        inside = os.path.join(where, "image")
        shutil.copy(image, inside)
        before = digest(inside)
        refused([tool(daemon), inside, where], 32, where, "hide", inside)
        equal(digest(inside), before, "image")
        os.unlink(inside)
        refused([tool(daemon), "-o", f"cow={where}/delta", image, where], 32, where, "hide", "delta")
        equal(os.listdir(where), [], "no delta")
        with open(where + "/file", "w", encoding="ascii"):
            pass # what does not matter
        with fuse_mount(scratch, daemon, image, mountpoint=where):
            other = shutil.copy(image, scratch.file("other"))
            before = digest(other)
            refused([tool(daemon), other, where], 32, where, "mounted here already")
            equal(digest(other), before, "image")
        equal(os.listdir(where), ["file"], "what was there before")


def test_read_only_changes_nothing(scratch):
    for daemon, image, _ in image_daemons(scratch):
        before = digest(image)
        with fuse_mount(scratch, daemon, image, options=["ro"], mountpoint=scratch.folder(daemon)) as where:
            os.listdir(where)
            try:
                os.mkdir(where + "/d")
                check(False, "mkdir on a read-only mount")
            except OSError as error:
                equal(error.errno, 30, "errno")
        equal(digest(image), before, daemon)


def test_cow_keeps_the_image(scratch):
    for daemon, image, _ in image_daemons(scratch):
        before = digest(image)
        where = scratch.folder(daemon)
        with fuse_mount(scratch, daemon, image, options=["cow"], mountpoint=where):
            os.mkdir(where + "/vanishes")
        with fuse_mount(scratch, daemon, image, options=[f"cow={scratch.file(daemon)}.delta"],
                        mountpoint=where):
            check(not os.path.exists(where + "/vanishes"), daemon)
            os.mkdir(where + "/stays")
        with fuse_mount(scratch, daemon, image, options=[f"cow={scratch.file(daemon)}.delta"],
                        mountpoint=where):
            check(os.path.isdir(where + "/stays"), daemon)
        equal(digest(image), before, daemon)


def on_a_full_host(where, daemon, make_room):
    with open(where + "/file", "wb", buffering=0) as file:
        file.write(b"x" * (6 << 20))
        with errno_is(errno.ENOSPC, f"{daemon}, fsync on a full host"):
            os.fsync(file.fileno())
        with errno_is(errno.ENOSPC, f"{daemon}, syncs on a full host"):
            for number in range(100): # that it cannot write what it promised is no end, either
                os.mkdir(f"{where}/d{number}")
                file.write(b"y" * 50000)
                os.fsync(file.fileno())
        make_room()
        file.truncate(5000)
        os.fsync(file.fileno())
    os.mkdir(where + "/afterwards")
    with open(where + "/whole", "wb", buffering=0) as file:
        file.write(b"z" * (4 << 20))
        os.fsync(file.fileno())


def test_a_full_host_is_no_damage(scratch):
    """Images with holes, and deltas: what they need to grow is missing, and comes back."""
    need_root()
    host = scratch.folder("host")
    for daemon, image, check_with in image_daemons(scratch):
        for options in ([], [f"cow={host}/delta"], *([["log"]] if daemon == "rump_ffs" else [])):
            run(["mount", "-t", "tmpfs", "-o", "size=4M", "tmpfs", host])
            cow = [o for o in options if o.startswith("cow=")]
            used = image if cow else host + "/image"
            if not cow:
                run(["cp", "--sparse=always", image, used])
            with fuse_mount(scratch, daemon, used, options=options,
                            mountpoint=scratch.folder(daemon + "".join(options)[:3])) as where:
                on_a_full_host(where, daemon, lambda: run(["mount", "-o", "remount,size=40M", host]))
            run([ukfs(), "check", "-f", "-o", cow[0], used] if cow else [*check_with, used])
            names = run([ukfs(), "ls", *(["-o", cow[0]] if cow else []), used, "/"]).stdout.split()
            check({"afterwards", "file", "whole"} <= set(names), names)
            run(["umount", host])


def test_a_journal_without_files(scratch):
    journal = scratch.file("journal")
    with open(journal, "wb") as image:
        image.truncate(8 << 20)
    run(["mke2fs", "-q", "-F", "-O", "journal_dev", journal])
    refused([tool("rump_ext2fs"), journal, scratch.folder()], 32, journal, "the journal of an ext3 or ext4 image")


def test_an_image_that_may_only_be_read(scratch):
    need_user_mounts()
    for daemon, image, _ in image_daemons(scratch):
        os.chmod(image, 0o444)
        where = scratch.folder(daemon, NOBODY if ROOT else None)
        refused(as_user([tool(daemon), image, where]), 32, image, "may not write", "-o ro", "-o cow")
        for option in ("ro", "cow"):
            run(as_user([tool(daemon), "-o", option, image, where]))
            run(as_user([tool("rump_umount"), where]))


def test_part_of_a_disk(scratch):
    for daemon, image, check_with in image_daemons(scratch):
        disk = scratch.file("disk")
        with open(image, "rb") as source, open(disk, "wb") as target:
            target.truncate(40 << 20)
            target.seek(1 << 20)
            target.write(source.read())
        subprocess.run(["sfdisk", "-q", disk], input="label: gpt\nstart=2048,size=32768\n", text=True,
                       check=True, capture_output=True)
        where = scratch.folder(daemon)
        refused([tool(daemon), disk, where], 32, disk, "part=")
        for options in (["offset=1M", "size=16M"], ["part=1"]):
            with fuse_mount(scratch, daemon, disk, options=options, mountpoint=where):
                os.mkdir(where + "/" + options[0][:4])
        with open(disk, "rb") as source, open(image, "wb") as target:
            source.seek(1 << 20)
            target.write(source.read(16 << 20))
        run([*check_with, image])


def test_the_rest_of_an_image_whose_end_is_missing(scratch):
    for daemon, image, _ in image_daemons(scratch):
        where = scratch.folder(daemon)
        with fuse_mount(scratch, daemon, image, mountpoint=where):
            for i in range(12):
                with open(f"{where}/{i}", "wb") as file:
                    file.write(bytes([i]) * (1 << 20))
        whole = os.path.getsize(image)
        os.truncate(image, whole * 5 // 8)
        before = digest(image)
        refused([tool(daemon), image, where], 32, f"-o ro,size={whole}")
        refused([tool(daemon), "-o", f"size={whole}", image, where], 32, "too short")
        readable = lost = 0
        with fuse_mount(scratch, daemon, image, options=["ro", f"size={whole}"], mountpoint=where):
            for i in range(12):
                try:
                    with open(f"{where}/{i}", "rb") as file:
                        equal(file.read(), bytes([i]) * (1 << 20), f"{daemon}, {i}")
                    readable += 1
                except OSError as error:
                    equal(error.errno, errno.EIO, f"{daemon}, {i}")
                    lost += 1
        check(readable > 0 and lost > 0, f"{daemon}: {readable} files can be read, {lost} not")
        equal(digest(image), before, daemon)


def test_shown_owner_and_umask(scratch):
    for daemon, image, _ in image_daemons(scratch):
        options = ["uid=1234", "gid=2345", "umask=027"]
        with fuse_mount(scratch, daemon, image, options=options, mountpoint=scratch.folder(daemon)) as where:
            status = os.stat(where)
            equal((status.st_uid, status.st_gid), (1234, 2345), daemon)
            equal(stat.S_IMODE(status.st_mode) & 0o027, 0, daemon)


def test_ordinary_user_and_an_image_of_root(scratch):
    need_user_mounts()
    need_root()
    for daemon, image, check_with in image_daemons(scratch):
        os.chown(image, NOBODY, NOBODY)
        where = scratch.folder(daemon, NOBODY)
        hint = run(as_user([tool(daemon), image, where])).stderr
        if daemon in ("rump_exfat", "rump_msdos"):
            equal(hint, "", "files belong to who mounts")
            run(as_user(["mkdir", where + "/d"]))
        else:
            check("fakeroot" in hint and "uid=" in hint, f"{daemon}: {hint!r}")
            run(as_user(["mkdir", where + "/d"]), 1)
        run(as_user([tool("rump_umount"), where]))
        equal(run(as_user([tool(daemon), "-o", "fakeroot", image, where])).stderr, "", "no hint")
        run(as_user(["mkdir", where + "/e"]))
        run(as_user([tool("rump_umount"), where]))
        run([*check_with, image])


if __name__ == "__main__":
    main(sys.modules[__name__])
