# Memory of a daemon: many files, all of which the host has looked at and remembers.
#   test_memory.py [--files N]
import os
import subprocess
import sys

import harness
from harness import check, daemon_pid, fuse_mount, run

KIB_PER_FILE = 0.33 # an inode in core, its slot in the tables
KIB_AT_MOST = 64 * 1024
SPARE_KIB = 8 * 1024 # code, threads and their buffers, names


def resident_most(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM:"))


def fill(where):
    os.rmdir(where + "/lost+found") # root's, which an ordinary user cannot list
    for d in range(0, FILES, 1000):
        folder = f"{where}/directory{d // 1000}"
        os.mkdir(folder)
        for i in range(min(1000, FILES - d)):
            os.close(os.open(f"{folder}/file-number-{i:04}", os.O_WRONLY | os.O_CREAT, 0o644))


def walk(scratch, image, *options):
    """KiB that the daemon needed at most, and how many names were seen."""
    # Each thread has its buffers, and there are as many as the machine has CPUs.
    options = (*options, "threads=4", "transport=dev")
    with fuse_mount(scratch, "rump_ext2fs", image, mountpoint=scratch.file("mnt"), options=options) as where:
        pid = daemon_pid(where)
        names = subprocess.run(["find", where], capture_output=True, check=True).stdout.count(b"\n")
        run(["ls", "-lR", where])
        return resident_most(pid), names


def test_walking_many_files_stays_small(scratch):
    scratch.folder()
    image = harness.make_ext2(scratch.file("image"), 1024, "-N", str(FILES * 11 // 10 + 1000))
    with fuse_mount(scratch, "rump_ext2fs", image, mountpoint=scratch.file("mnt")) as where:
        fill(where)
    for cache in (8, 1, 24):
        kib, names = walk(scratch, image, f"cache={cache}M")
        check(names >= FILES, f"{names} names seen")
        limit = FILES * KIB_PER_FILE + cache * 1024 * 1.15 + SPARE_KIB
        print(f"{FILES} files, cache={cache}M: {kib} KiB resident, limit {limit:.0f}")
        check(kib <= limit, f"cache={cache}M: {kib} KiB, limit {limit:.0f}")
    kib, _ = walk(scratch, image)
    check(kib < KIB_AT_MOST, f"default cache: {kib} KiB")


FILES = int(sys.argv[sys.argv.index("--files") + 1]) if "--files" in sys.argv else 10000
if __name__ == "__main__":
    del sys.argv[1:]
    harness.main(sys.modules[__name__])
