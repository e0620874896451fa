# FFS as a user mounts it: images by our newfs, in both versions and orders, by root and by an ordinary
# user. What the operations mean is the conformance suite's, which the long suite runs over these mounts.
import os
import sys

from harness import (NOBODY, ROOT, as_user, check, equal, fuse_mount, has_daemon, main, need_root,
                     need_user_mounts, refused, run, tool, ukfs)

LAYOUTS = ("O=1,B=be,b=8k,f=1k,l=1m", "O=1,B=le,b=16k,f=2k", "O=2,B=le,b=32k,f=4k", "O=2,B=be,b=16k,f=2k,l=1m,ea")


def images(scratch, owner=None):
    for layout in LAYOUTS:
        image = scratch.file(layout.replace(",", "-"))
        with open(image, "wb") as file:
            file.truncate(24 << 20)
        run([ukfs(), "newfs", "-t", "ffs", "-o", layout, image])
        if owner is not None and ROOT:
            os.chown(image, owner, owner)
        yield layout, image


def test_root_works_in_every_layout(scratch):
    need_root()
    for layout, image in images(scratch):
        data = os.urandom(3_000_001)
        where = scratch.folder("mnt-" + os.path.basename(image))
        with fuse_mount(scratch, "rump_ffs", image, mountpoint=where):
            os.makedirs(where + "/a/b")
            with open(where + "/a/b/file", "wb") as file:
                file.write(data)
            os.rename(where + "/a/b/file", where + "/a/moved")
            os.link(where + "/a/moved", where + "/name")
            os.symlink("a/moved", where + "/link")
            os.chown(where + "/name", 12345, 23456)
            os.chmod(where + "/name", 0o640)
            if layout.startswith("O=2"):
                os.setxattr(where + "/name", "user.key", b"value")
            for i in range(300):
                with open(f"{where}/a/b/{i}", "wb") as file:
                    file.write(b"x" * i)
            for i in range(0, 300, 2):
                os.unlink(f"{where}/a/b/{i}")
        run([ukfs(), "check", image])
        with fuse_mount(scratch, "rump_ffs", image, options=["ro"], mountpoint=where):
            with open(where + "/link", "rb") as file:
                check(file.read() == data, layout)
            status = os.stat(where + "/name")
            equal((status.st_nlink, status.st_uid, status.st_gid, status.st_mode & 0o7777),
                  (2, 12345, 23456, 0o640), layout)
            if layout.startswith("O=2"):
                equal(os.getxattr(where + "/name", "user.key"), b"value", layout)
            equal({int(n) for n in os.listdir(where + "/a/b")}, set(range(1, 300, 2)), layout)


def test_a_lost_superblock_is_named_and_put_back(scratch):
    for layout, image in images(scratch):
        run([ukfs(), "put", image, __file__, "/file"])
        with open(image, "r+b") as file:
            file.seek(65536 if layout.startswith("O=2") else 8192)
            file.write(bytes(8192))
        refused([tool("rump_ffs"), image, scratch.folder("mnt-" + layout)], 32, "there is a copy at byte")
        said = run([ukfs(), "check", image], code=4)
        check("the copy of group 0 is used" in said.stdout, said.stdout)
        run([ukfs(), "check", "-y", image], code=1)
        run([ukfs(), "check", "-f", image])
        with open(__file__, "rb") as here:
            equal(run([ukfs(), "cat", image, "/file"]).stdout, here.read().decode(), layout)


def test_an_ordinary_user_works_in_every_layout(scratch):
    need_user_mounts()
    for layout, image in images(scratch, NOBODY):
        where = scratch.folder("mnt-" + os.path.basename(image), NOBODY if ROOT else None)
        run(as_user([tool("rump_ffs"), "-o", "fakeroot", image, where]))
        run(as_user(["mkdir", "-p", where + "/d/e"]))
        run(as_user(["sh", "-c", f"echo text >{where}/d/e/file && mv {where}/d/e/file {where}/d/f"]))
        equal(run(as_user(["cat", where + "/d/f"])).stdout, "text\n", layout)
        run(as_user(["rmdir", where + "/d/e"]))
        run(as_user([tool("rump_umount"), where]))
        run([ukfs(), "check", image])


if __name__ == "__main__":
    if not has_daemon("rump_ffs"):
        print("SKIPPED: rump_ffs is not built")
        sys.exit(77)
    main(sys.modules[__name__])
