# Reads that go from the image's file to the host past the daemon's memory: every byte in its place, and
# an error where the image has none.
import concurrent.futures
import errno
import os
import random
import sys

from harness import check, errno_is, fuse_mount, has_daemon, main, make_ext2, run, ukfs

READ_LAST = 32 << 10 # bytes
SECTORS_BEFORE = 63 # the image in a disk, where no page of the host's begins with a block


def disks(scratch):
    """Each type, in a disk, on a page's boundary and not: daemon, disk, option."""
    kinds = (("rump_ext2fs", "ext2", "1024"), ("rump_ext2fs", "ext2", "4096"), ("rump_ffs", "ffs", None),
             ("rump_msdos", "msdos", None), ("rump_exfat", "exfat", None))
    for daemon, kind, block in kinds:
        if not has_daemon(daemon):
            continue
        image = scratch.file("image")
        if kind == "ext2":
            make_ext2(image, 48, "-b", block)
        else:
            with open(image, "wb") as file:
                file.truncate(48 << 20)
            run([ukfs(), "newfs", "-t", kind, image])
        if kind == "ffs":
            run([ukfs(), "chown", image, f"{os.geteuid()}:{os.getegid()}", "/"])
        for offset in (0, SECTORS_BEFORE * 512):
            disk = scratch.file("disk")
            with open(image, "rb") as source, open(disk, "wb") as target:
                target.seek(offset)
                target.write(source.read())
            yield daemon, disk, f"offset={offset}"


def write_files(where):
    """Contents by name: in one piece, with a hole, in many pieces."""
    numbers = random.Random(1)
    contents = {"whole": numbers.randbytes(3_000_123), "hole": numbers.randbytes(1 << 20)}
    contents["hole"] += bytes(300_000) + numbers.randbytes(777_777)
    with open(where + "/whole", "wb") as file:
        file.write(contents["whole"])
    with open(where + "/hole", "wb") as file:
        file.write(contents["hole"][:1 << 20])
        file.seek((1 << 20) + 300_000)
        file.write(contents["hole"][(1 << 20) + 300_000:])
    contents["one"] = contents["two"] = b""
    for _ in range(40):
        for name in ("one", "two"):
            piece = numbers.randbytes(numbers.choice((4096, 20_000, 65_536)))
            with open(f"{where}/{name}", "ab") as file:
                file.write(piece)
                os.fsync(file.fileno())
            contents[name] += piece
    return contents


def test_every_byte_is_in_its_place(scratch):
    where = scratch.folder("mnt")
    for daemon, disk, option in disks(scratch):
        with fuse_mount(scratch, daemon, disk, options=[option], mountpoint=where):
            contents = write_files(where)
        with fuse_mount(scratch, daemon, disk, options=[option], mountpoint=where):
            for name, wanted in contents.items():
                with open(f"{where}/{name}", "rb", buffering=0) as file:
                    check(file.read() == wanted, f"{daemon} {option}: {name}")
        numbers = random.Random(2)
        with fuse_mount(scratch, daemon, disk, options=[option, "ro"], mountpoint=where):
            for name, wanted in contents.items():
                file = os.open(f"{where}/{name}", os.O_RDONLY | os.O_DIRECT)
                for _ in range(20):
                    at, size = numbers.randrange(len(wanted)), numbers.randrange(1 << 20)
                    got = os.pread(file, size, at)
                    check(got == wanted[at:at + size], f"{daemon} {option}: {name}, {size} bytes at {at}")
                os.close(file)


def test_an_image_that_lost_its_end(scratch):
    where = scratch.folder("mnt")
    for daemon, disk, option in disks(scratch):
        with fuse_mount(scratch, daemon, disk, options=[option], mountpoint=where):
            with open(where + "/file", "wb") as file:
                file.write(bytes([1]) * (2 << 20))
        whole = os.stat(disk).st_size
        with open(disk, "rb") as file:
            last = file.read().rfind(bytes([1]) * 65536) # of the file's contents
        with fuse_mount(scratch, daemon, disk, options=[option, "ro"], mountpoint=where):
            os.truncate(disk, last - (last - (1 << 20)) % 4096)
            with open(where + "/file", "rb", buffering=0) as file:
                with errno_is(errno.EIO, daemon):
                    while piece := file.read(1 << 18):
                        check(set(piece) == {1}, f"{daemon}: something in place of an error")
            os.truncate(disk, whole)


def read_as_it_goes(where, name, rounds):
    """The last that is read of a file is read while it is closed and gone."""
    contents = os.urandom(READ_LAST)
    for _ in range(rounds):
        file = os.open(f"{where}/{name}", os.O_RDWR | os.O_CREAT)
        os.write(file, contents)
        os.fsync(file)
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED) # else the host has it
        os.unlink(f"{where}/{name}")
        check(os.pread(file, READ_LAST, 0) == contents, name)
        os.close(file)


def test_files_that_end_with_their_last_read(scratch):
    where = scratch.folder("mnt")
    for daemon, disk, option in disks(scratch):
        with fuse_mount(scratch, daemon, disk, options=[option, "strictatime"], mountpoint=where):
            with concurrent.futures.ThreadPoolExecutor() as readers:
                for done in [readers.submit(read_as_it_goes, where, f"file{i}", 300) for i in range(3)]:
                    done.result()


if __name__ == "__main__":
    main(sys.modules[__name__])
