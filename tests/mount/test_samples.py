# Images of other systems against their manifests: mounted by root and by an ordinary user, and taken out by
# ukfs. They are sought in $RUMP_SAMPLES, else in shared/images beside the source tree or above it.
import os
import pathlib
import re
import shutil
import subprocess
import sys

from harness import NOBODY, ROOT, Skip, as_user, check, fuse_mount, main, need_root, need_user_mounts, run, ukfs

SOURCE = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(SOURCE / "tests" / "support"))
from image_trees import sample_folder, unpack  # noqa: E402

# Names of images, the daemon, the outside check.
SAMPLES = (("ext2-1k", "rump_ext2fs", ["e2fsck", "-fn"]), ("ext2-4k", "rump_ext2fs", ["e2fsck", "-fn"]),
           ("ext2-rev0", "rump_ext2fs", ["e2fsck", "-fn"]))
PYTHON = "/usr/bin/python3" # which an ordinary user may run, too
MORE = ["--ctime", "--blocks", "--dir-size", "--ino", "--link-mode", "--flags"]
if [int(n) for n in re.findall(r"\d+", os.uname().release)[:2]] >= [6, 6]:
    MORE.append("--btime") # the host asks FUSE for it


def folder():
    found = sample_folder(SOURCE)
    if not found:
        raise Skip("no sample images")
    return found


def samples(scratch):
    for name, daemon, fsck in SAMPLES:
        image = unpack(folder() / (name + ".img.xz"), scratch.file(name))
        yield name, daemon, image, fsck


def verify(scratch, name, where, *options, user=None):
    # Copies: the samples may lie where another user cannot go.
    files = [scratch.file(f) for f in ("verify-tree.py", name + ".manifest.json")]
    for file in files:
        shutil.copyfile(folder() / os.path.basename(file), file)
    script, manifest = files
    command = [PYTHON, script, *options, where, manifest]
    done = subprocess.run(as_user(command) if user else command, capture_output=True, text=True, check=False)
    check(done.returncode == 0, f"{name}: {done.stdout[-2000:]}{done.stderr[-500:]}")


def test_samples_mounted_by_root(scratch):
    need_root()
    for name, daemon, image, fsck in samples(scratch):
        with fuse_mount(scratch, daemon, image, mountpoint=scratch.folder("m" + name)) as where:
            verify(scratch, name, where, *MORE)
        run([*fsck, image])


def test_samples_mounted_by_an_ordinary_user(scratch):
    need_user_mounts()
    user = NOBODY if ROOT else None
    for name, daemon, image, fsck in samples(scratch):
        if ROOT:
            os.chown(image, NOBODY, NOBODY)
        with fuse_mount(scratch, daemon, image, mountpoint=scratch.folder("m" + name, owner=user),
                        options=["fakeroot"], user=user) as where:
            # The host lets nobody else read or list trusted attributes.
            verify(scratch, name, where, *MORE, "--xattr-prefix", "user.", "--xattr-prefix", "security.",
                   "--xattr-prefix", "system.", user=ROOT)
        run([*fsck, image])


def test_samples_taken_out_by_ukfs(scratch):
    need_root() # to make what is in them
    for name, _, image, _ in samples(scratch):
        out = scratch.file("out")
        run([ukfs(), "get", image, "/", out])
        verify(scratch, name, out)
        shutil.rmtree(out)


if __name__ == "__main__":
    main(sys.modules[__name__])
