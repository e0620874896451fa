# What p2k translates: each kind of request, and what the host's kernel makes of the answers.
# Semantics are the conformance suite's; here it is names, offsets, flags and sizes on their way.
import ctypes
import errno
import fcntl
import os
import stat
import struct
import sys

from harness import (Skip, check, drop_caches, equal, errno_is, fuse_mount, has_daemon, main, make_ext2, need_root,
                     run, wait_until)

FS_IOC_GETFLAGS, FS_IOC_SETFLAGS = 0x80086601, 0x40086602
FITRIM = 0xC0185879
APPEND, IMMUTABLE, NODUMP = 0x20, 0x10, 0x40


def mounts(scratch, *options):
    """The daemons there are, each mounted fresh."""
    for daemon in ("rump_tmpfs", "rump_ext2fs"):
        if not has_daemon(daemon):
            continue
        image = [make_ext2(scratch.file("image"), 32)] if daemon == "rump_ext2fs" else []
        where = scratch.folder(daemon)
        with fuse_mount(scratch, daemon, *image, options=options, mountpoint=where):
            yield where, daemon
        if image:
            run(["e2fsck", "-fn", image[0]])


def write(path, data):
    with open(path, "wb") as file:
        file.write(data)


def read(path):
    with open(path, "rb") as file:
        return file.read()


def test_names_longer_than_255_bytes(scratch):
    for where, daemon in mounts(scratch):
        for size in (255, 256, 300, 1000):
            path, other = f"{where}/{'n' * size}", where + "/other"
            write(other, b"")
            if size == 255:
                write(path, b"x")
                os.rename(path, path[:-1])
                continue
            for operation in (lambda: open(path, "w"), lambda: os.mkdir(path), lambda: os.stat(path),
                              lambda: os.symlink("x", path), lambda: os.unlink(path),
                              lambda: os.link(other, path), lambda: os.mkfifo(path),
                              lambda: os.rename(other, path)):
                with errno_is(errno.ENAMETOOLONG, daemon):
                    operation()
        os.unlink(other)
        equal(set(os.listdir(where)) - {"lost+found"}, {"n" * 254}, daemon)


def test_file_data_survives_the_hosts_cache(scratch):
    need_root()
    for where, daemon in mounts(scratch):
        data = os.urandom(3_000_001)
        write(where + "/a", data)
        with open(where + "/a", "r+b") as file:
            file.seek(1_000_003)
            file.write(b"changed")
            file.seek(5_000_000)
            file.write(b"end")
            os.fsync(file.fileno())
        wanted = data[:1_000_003] + b"changed" + data[1_000_010:]
        wanted += bytes(5_000_000 - len(wanted)) + b"end"
        drop_caches()
        check(read(where + "/a") == wanted, f"{daemon}: content")
        os.truncate(where + "/a", 100_001)
        os.truncate(where + "/a", 200_000)
        drop_caches()
        check(read(where + "/a") == wanted[:100_001] + bytes(99_999), f"{daemon}: truncated")


def test_append_and_o_trunc(scratch):
    for where, daemon in mounts(scratch):
        for _ in range(3):
            with open(where + "/log", "ab") as file:
                file.write(b"line\n")
        equal(read(where + "/log"), b"line\n" * 3, daemon)
        write(where + "/log", b"x")
        equal(read(where + "/log"), b"x", daemon)


def test_unlinked_file_lives_while_open(scratch):
    for where, daemon in mounts(scratch):
        with open(where + "/a", "w+b") as file:
            file.write(b"hello")
            file.flush()
            os.unlink(where + "/a")
            with errno_is(errno.ENOENT, daemon):
                os.stat(where + "/a")
            file.seek(0)
            equal(file.read(), b"hello", daemon)
            equal(os.fstat(file.fileno()).st_nlink, 0, daemon)


def renameat2(source, target, flags):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(-100, source.encode(), -100, target.encode(), flags) != 0:
        raise OSError(ctypes.get_errno(), "renameat2")


def test_rename_flags(scratch):
    for where, daemon in mounts(scratch):
        write(where + "/a", b"a")
        write(where + "/b", b"b")
        with errno_is(errno.EEXIST, daemon):
            renameat2(where + "/a", where + "/b", 1)
        renameat2(where + "/a", where + "/b", 2)
        equal((read(where + "/a"), read(where + "/b")), (b"b", b"a"), daemon)
        with errno_is(errno.EINVAL, daemon):
            renameat2(where + "/a", where + "/b", 4)


def test_sparse_files(scratch):
    for where, daemon in mounts(scratch):
        with open(where + "/a", "w+b", buffering=0) as file:
            file.seek(1 << 20)
            file.write(b"x" * 65536)
            os.fsync(file.fileno())
            # The host may hold data that it has yet to write: all is data while that can be.
            equal(os.lseek(file.fileno(), 0, os.SEEK_DATA), 0, daemon)
            equal(os.lseek(file.fileno(), 0, os.SEEK_HOLE), (1 << 20) + 65536, daemon)
            with errno_is(errno.ENXIO, daemon):
                os.lseek(file.fileno(), 1 << 21, os.SEEK_DATA)
            run(["fallocate", "-p", "-o", str(1 << 20), "-l", "32768", where + "/a"])
            equal(os.pread(file.fileno(), 65536, 1 << 20), bytes(32768) + b"x" * 32768, daemon)
            before = os.stat(where + "/a").st_size
            if daemon != "rump_ext2fs": # whose format has no blocks behind the end
                run(["fallocate", "-n", "-l", "4M", where + "/a"])
            equal(os.stat(where + "/a").st_size, before, f"{daemon}: kept size")
            run(["fallocate", "-l", "4M", where + "/a"])
            equal(os.stat(where + "/a").st_size, 4 << 20, f"{daemon}: size")


def test_holes_are_told_of_on_a_read_only_mount(scratch):
    if not has_daemon("rump_ext2fs"):
        raise Skip("no daemon with a device")
    image = make_ext2(scratch.file("image"), 32)
    where = scratch.folder("mnt")
    with fuse_mount(scratch, "rump_ext2fs", image, options=("fakeroot",), mountpoint=where):
        with open(where + "/a", "wb") as file:
            file.seek(1 << 20)
            file.write(b"x" * 65536)
            file.truncate(4 << 20)
    with fuse_mount(scratch, "rump_ext2fs", image, options=("ro",), mountpoint=where):
        with open(where + "/a", "rb") as file:
            equal(os.lseek(file.fileno(), 0, os.SEEK_DATA), 1 << 20)
            equal(os.lseek(file.fileno(), 1 << 20, os.SEEK_HOLE), (1 << 20) + 65536)
            with errno_is(errno.ENXIO):
                os.lseek(file.fileno(), 2 << 20, os.SEEK_DATA)


def test_copy_file_range(scratch):
    for where, daemon in mounts(scratch):
        data = os.urandom(1 << 20)
        write(where + "/a", data)
        with open(where + "/a", "rb") as source, open(where + "/b", "wb") as target:
            equal(os.copy_file_range(source.fileno(), target.fileno(), 1 << 20), 1 << 20, daemon)
        check(read(where + "/b") == data, daemon)


def flags_of(path):
    fd = os.open(path, os.O_RDONLY)
    try:
        return struct.unpack("l", fcntl.ioctl(fd, FS_IOC_GETFLAGS, bytes(8)))[0]
    finally:
        os.close(fd)


def set_flags(path, flags):
    fd = os.open(path, os.O_RDONLY)
    try:
        fcntl.ioctl(fd, FS_IOC_SETFLAGS, struct.pack("l", flags))
    finally:
        os.close(fd)


def test_file_flags(scratch):
    need_root()
    for where, daemon in mounts(scratch):
        write(where + "/a", b"one")
        set_flags(where + "/a", flags_of(where + "/a") | NODUMP)
        check(flags_of(where + "/a") & NODUMP, daemon)
        set_flags(where + "/a", IMMUTABLE)
        os.sync() # the host hands over times that it kept
        with errno_is(errno.EPERM, daemon):
            os.unlink(where + "/a")
        with errno_is(errno.EPERM, daemon):
            os.chmod(where + "/a", 0o600)
        set_flags(where + "/a", APPEND)
        with open(where + "/a", "ab") as file:
            file.write(b"two")
        drop_caches()
        equal(read(where + "/a"), b"onetwo", f"{daemon}: appended")
        with errno_is(errno.EPERM, daemon):
            os.truncate(where + "/a", 0)
        set_flags(where + "/a", 0)
        os.unlink(where + "/a")


def test_trim(scratch):
    need_root()
    if not has_daemon("rump_ext2fs"):
        raise Skip("no daemon with a device")
    image = make_ext2(scratch.file("image"), 32)
    with fuse_mount(scratch, "rump_ext2fs", image) as where:
        write(where + "/a", os.urandom(8 << 20))
        os.sync()
        os.unlink(where + "/a")
        fd = os.open(where, os.O_RDONLY)
        os.fsync(fd)
        answers = []

        def trimmed():
            answers.append(fcntl.ioctl(fd, FITRIM, struct.pack("QQQ", 0, 2**64 - 1, 0)))
            return os.stat(image).st_blocks * 512 < 8 << 20

        wait_until(trimmed, "the host to let go of a removed file")
        os.close(fd)
        check(struct.unpack("QQQ", answers[-1])[1] > 16 << 20, "bytes trimmed")
    check(os.stat(image).st_blocks * 512 < 8 << 20, "the host has its space back")
    run(["e2fsck", "-fn", image])


def test_extended_attributes(scratch):
    for where, daemon in mounts(scratch):
        write(where + "/a", b"")
        os.setxattr(where + "/a", "user.one", b"1")
        os.setxattr(where + "/a", "user.two", b"2" * 300)
        equal(sorted(os.listxattr(where + "/a")), ["user.one", "user.two"], daemon)
        equal(os.getxattr(where + "/a", "user.two"), b"2" * 300, daemon)
        with errno_is(errno.EEXIST, daemon):
            os.setxattr(where + "/a", "user.one", b"x", os.XATTR_CREATE)
        with errno_is(errno.ENODATA, daemon):
            os.setxattr(where + "/a", "user.three", b"x", os.XATTR_REPLACE)
        os.removexattr(where + "/a", "user.one")
        with errno_is(errno.ENODATA, daemon):
            os.getxattr(where + "/a", "user.one")


def acl_changes_the_mode(scratch, *options):
    for where, daemon in mounts(scratch, *options):
        write(where + "/a", b"")
        os.chmod(where + "/a", 0o600)
        os.stat(where + "/a")
        run(["setfacl", "-m", "u:5:rwx", where + "/a"])
        equal(stat.S_IMODE(os.stat(where + "/a").st_mode), 0o670, daemon)
        check("user:5:rwx" in run(["getfacl", "-cn", where + "/a"]).stdout, daemon)


def test_acl_changes_the_mode_that_stat_shows(scratch):
    acl_changes_the_mode(scratch)


def test_acl_changes_the_mode_where_the_host_checks(scratch):
    acl_changes_the_mode(scratch, "default_permissions")


def test_writing_clears_set_id_bits(scratch):
    need_root()
    for where, daemon in mounts(scratch, "allow_other"):
        write(where + "/a", b"x")
        os.chown(where + "/a", 65534, 65534)
        os.chmod(where, 0o777)
        os.chmod(where + "/a", 0o6755)
        os.stat(where + "/a")
        run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
             "sh", "-c", f"echo y >>{where}/a"])
        equal(stat.S_IMODE(os.stat(where + "/a").st_mode), 0o755, daemon)


def test_directories_of_many_pages_are_listed_once(scratch):
    need_root()
    for where, daemon in mounts(scratch):
        os.mkdir(where + "/d")
        for i in range(3000):
            os.close(os.open(f"{where}/d/file-with-a-name-{i}", os.O_CREAT | os.O_WRONLY))
        wanted = sorted(f"file-with-a-name-{i}" for i in range(3000))
        for _ in range(2):
            drop_caches()
            equal(sorted(os.listdir(where + "/d")) == wanted, True, daemon)
        for i in range(0, 3000, 2):
            os.unlink(f"{where}/d/file-with-a-name-{i}")
        equal(len(os.listdir(where + "/d")), 1500, daemon)


class Handle(ctypes.Structure):
    _fields_ = [("bytes", ctypes.c_uint), ("type", ctypes.c_int), ("data", ctypes.c_char * 128)]


def handle_of(path):
    libc = ctypes.CDLL(None, use_errno=True)
    handle, mount_id = Handle(bytes=128), ctypes.c_int()
    if libc.name_to_handle_at(-100, path.encode(), ctypes.byref(handle), ctypes.byref(mount_id), 0) != 0:
        raise OSError(ctypes.get_errno(), "name_to_handle_at")
    return handle


def open_handle(where, handle):
    libc = ctypes.CDLL(None, use_errno=True)
    root = os.open(where, os.O_RDONLY | os.O_DIRECTORY)
    fd = libc.open_by_handle_at(root, ctypes.byref(handle), os.O_RDONLY)
    error = ctypes.get_errno()
    os.close(root)
    if fd < 0:
        raise OSError(error, "open_by_handle_at")
    return fd


def test_handles_find_files_that_the_host_has_forgotten(scratch):
    need_root()
    for where, daemon in mounts(scratch):
        os.makedirs(where + "/d/e")
        write(where + "/d/e/a", b"hello")
        handle = handle_of(where + "/d/e/a")
        drop_caches()
        fd = open_handle(where, handle)
        equal(os.read(fd, 10), b"hello", daemon)
        os.close(fd)
        os.unlink(where + "/d/e/a")
        drop_caches()
        with errno_is(errno.ESTALE, daemon):
            open_handle(where, handle)


def test_handles_stay_valid_across_remounts(scratch):
    need_root()
    if not has_daemon("rump_ext2fs"):
        raise Skip("no daemon with a device")
    image = make_ext2(scratch.file("image"))
    where = scratch.folder()
    with fuse_mount(scratch, "rump_ext2fs", image, mountpoint=where):
        os.mkdir(where + "/d")
        write(where + "/d/a", b"hello")
        write(where + "/d/b", b"other")
        handles = [handle_of(path) for path in (where, where + "/d", where + "/d/a", where + "/d/b")]
        os.unlink(where + "/d/b")
    with fuse_mount(scratch, "rump_ext2fs", image, mountpoint=where):
        for handle, path in zip(handles, (where, where + "/d", where + "/d/a")):
            fd = open_handle(where, handle)
            equal(os.fstat(fd).st_ino, os.stat(path).st_ino, path)
            os.close(fd)
        with errno_is(errno.ESTALE, "a removed file"):
            open_handle(where, handles[3])
        write(where + "/d/c", b"takes its inode")
        with errno_is(errno.ESTALE, "a removed file whose inode is used again"):
            open_handle(where, handles[3])


def test_handles_of_removed_files_are_stale(scratch):
    """Whether or not the host has told us yet that it forgot the file."""
    need_root()
    for where, _ in mounts(scratch):
        for _ in range(500):
            write(where + "/f", b"x")
            handle = handle_of(where + "/f")
            os.unlink(where + "/f")
            with errno_is(errno.ESTALE, "a file that is gone"):
                os.close(open_handle(where, handle))


if __name__ == "__main__":
    main(sys.modules[__name__])
