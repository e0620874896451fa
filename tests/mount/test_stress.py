# Stressors of stress-ng on a mount of each type, all at once; each verifies what it sees. Then the outside
# checker of the format judges the image. For how long: --seconds N (2).
import os
import subprocess
import sys

from harness import check, fuse_mount, main, make_ext2, mounted, need_root, run, ukfs

ANYWHERE = ("copy-file", "dentry", "dirdeep", "dirmany", "fallocate", "getdent", "hdd", "mmap", "msync", "rename",
            "seek", "sync-file", "touch")
POSIX = ("chmod", "fpunch", "link", "mknod", "symlink", "utime", "xattr")
# Together they must fit: without a limit a stressor fills the volume, and another one calls that a failure.
SIZES = {"copy-file": "--copy-file-bytes 128m", # its least, twice
         "fallocate": "--fallocate-bytes 16m", "hdd": "--hdd-bytes 16m", "mmap": "--mmap-bytes 16m",
         "msync": "--msync-bytes 16m", "seek": "--seek-size 16m", "sync-file": "--sync-file-bytes 16m"}
NO_VERDICT = (3, 4) # what the machine, or the file system, does not have
seconds = 2 # pylint: disable=invalid-name


def stress(where, stressors):
    """All at once, for some seconds."""
    words = [word for name in stressors for word in ("--" + name, "1")]
    words += [word for name in stressors for word in SIZES.get(name, "").split()]
    result = subprocess.run(["stress-ng", "--temp-path", where, "--verify", "--timeout", str(seconds), *words],
                            capture_output=True, text=True, check=False) # cleaning up takes its time
    output = result.stdout + result.stderr
    check(result.returncode in (0, *NO_VERDICT) and "fail:" not in output, output)
    check(mounted(where), "the mount is gone")


def stressed(scratch, daemon, image, stressors, judge, options=()):
    where = scratch.folder("mnt")
    with fuse_mount(scratch, daemon, *([image] if image else []), mountpoint=where, options=options):
        stress(where, stressors)
    if judge:
        run([*judge, image])


def new_image(scratch, kind, *options, megabytes=512):
    image = scratch.file(kind)
    with open(image, "wb") as file:
        file.truncate(megabytes << 20)
    run([ukfs(), "newfs", "-t", kind, *options, image])
    return image


def test_tmpfs(scratch):
    need_root()
    stressed(scratch, "rump_tmpfs", None, ANYWHERE + POSIX, None, ["size=512M"])


def test_ext2(scratch):
    need_root()
    stressed(scratch, "rump_ext2fs", make_ext2(scratch.file("image"), 512), ANYWHERE + POSIX, ["e2fsck", "-fn"])


def test_ffs(scratch):
    need_root()
    stressed(scratch, "rump_ffs", new_image(scratch, "ffs", "-o", "O=2,ea"), ANYWHERE + POSIX, [ukfs(), "check", "-f"])


def test_ffs_with_a_log(scratch):
    need_root()
    stressed(scratch, "rump_ffs", new_image(scratch, "ffs", "-o", "O=1,B=be,b=8k,f=1k,l=4m"), ANYWHERE,
             [ukfs(), "check", "-f"])


def test_msdos(scratch):
    need_root()
    stressed(scratch, "rump_msdos", new_image(scratch, "msdos"), ANYWHERE, ["fsck.fat", "-n"])


def test_exfat(scratch):
    need_root()
    stressed(scratch, "rump_exfat", new_image(scratch, "exfat"), ANYWHERE, ["fsck.exfat", "-n"])


if __name__ == "__main__":
    if "--seconds" in sys.argv:
        at = sys.argv.index("--seconds")
        seconds = int(sys.argv[at + 1])
        del sys.argv[at:at + 2]
    main(sys.modules[__name__])
