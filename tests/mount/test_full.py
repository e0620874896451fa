# What programs hear of a file system that is full, though the host says yes to write(2) before it
# asks for space: from fsync(2), from close(2), and from the next write.
import errno
import os
import sys

from harness import ROOT, check, equal, errno_is, fuse_mount, image_daemons, main

PIECE = 1 << 20
ENOUGH = 600 << 20 # the host's cache is smaller than that


def images(scratch):
    for daemon, image, _ in image_daemons(scratch):
        with fuse_mount(scratch, daemon, image, mountpoint=scratch.folder(daemon)) as where:
            yield daemon, image, where


def fill(where, leave):
    """A file over all that is free but so many bytes."""
    free = os.statvfs(where)
    left = (free.f_bfree if ROOT else free.f_bavail) * free.f_frsize - leave # root has what is reserved
    with open(where + "/fill", "wb", buffering=0) as file:
        while left > 0:
            left -= file.write(bytes([1]) * min(left, PIECE))
        os.fsync(file.fileno())


def test_a_file_that_has_room_in_part_is_no_success(scratch):
    for daemon, _, where in images(scratch):
        fill(where, PIECE // 2)
        with open(where + "/part", "wb", buffering=0) as file:
            equal(file.write(bytes([2]) * PIECE), PIECE, daemon)
            with errno_is(errno.ENOSPC, f"{daemon}, fsync"):
                os.fsync(file.fileno())
        file = os.open(where + "/closed", os.O_WRONLY | os.O_CREAT)
        equal(os.write(file, bytes([3]) * PIECE), PIECE, daemon)
        with errno_is(errno.ENOSPC, f"{daemon}, close"):
            os.close(file)


def test_who_writes_until_there_is_no_room_hears_of_it(scratch):
    for daemon, _, where in images(scratch):
        fill(where, 3 * PIECE)
        file = os.open(where + "/endless", os.O_WRONLY | os.O_CREAT)
        written = 0
        with errno_is(errno.ENOSPC, f"{daemon}, write"):
            while written < ENOUGH:
                written += os.write(file, bytes([4]) * PIECE)
            os.fsync(file)
            check(False, f"{daemon}: there is no end")
        check(written < ENOUGH, f"{daemon}: only fsync said so")
        check(os.fstat(file).st_size > 0, f"{daemon}: who asks for attributes gets them")
        # With room again, nothing is left of it.
        os.unlink(where + "/fill")
        os.ftruncate(file, 0)
        equal(os.pwrite(file, bytes([5]) * PIECE, 0), PIECE, daemon)
        try:
            os.fsync(file)
        except OSError as error: # of what failed before
            equal(error.errno, errno.ENOSPC, daemon)
        equal(os.pwrite(file, bytes([6]) * PIECE, PIECE), PIECE, daemon)
        os.fsync(file)
        os.close(file)
        with open(where + "/endless", "rb") as again:
            check(again.read() == bytes([5]) * PIECE + bytes([6]) * PIECE, daemon)


if __name__ == "__main__":
    main(sys.modules[__name__])
