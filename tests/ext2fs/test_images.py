#!/usr/bin/env python3
"""ext2 against other implementations: what mke2fs wrote reads back identical, what we write is clean
for e2fsck and identical through debugfs and the host's own driver.

usage: test_images.py FSTOOL SOURCE_ROOT
"""
import itertools
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

SOURCE = pathlib.Path(sys.argv[2])
sys.path.insert(0, str(SOURCE / "tests" / "support"))
from image_trees import MIB, Cases, compare, make_tree, run, sample_folder, sparse, unpack  # noqa: E402

TOOL = [sys.argv[1], "ext2fs"]
FEATURES = ["", "^dir_index", "^filetype", "^resize_inode,^sparse_super", "^resize_inode,sparse_super2",
            "^ext_attr,^large_file"]


def clean(image):
    run("e2fsck", "-fn", image)
    run(*TOOL, "check", image)


def host_mount(image, folder):
    """False where the host cannot mount it."""
    folder.mkdir()
    return subprocess.run(["mount", "-o", "loop,ro", image, folder], stderr=subprocess.DEVNULL).returncode == 0


def read_and_write(work, tree, block, inode, features):
    image = sparse(work / "image", 48 * MIB)
    command = ["mke2fs", "-q", "-F", "-t", "ext2", "-b", block, "-I", inode, "-N", 8192]
    command += ["-O", features] if features else []
    run(*command, "-d", tree, image)
    (work / "out").mkdir()
    run(*TOOL, "out", image, work / "out")
    compare(tree, work / "out")

    image = sparse(work / "image", 48 * MIB)
    run(*command, image)
    run(*TOOL, "in", image, tree)
    clean(image)
    listing = run("debugfs", "-R", "ls -l /many", image)
    assert listing.count("entry-") == 300, listing[:500]
    mount = work / "mount"
    if os.geteuid() == 0 and host_mount(image, mount):
        try:
            compare(tree, mount)
        finally:
            run("umount", mount)
    run(*TOOL, "fill", image, 2000, 40)
    clean(image)
    run(*TOOL, "churn", image, block + inode, 1500)
    clean(image)


def revision_0(work, tree):
    image = sparse(work / "image", 48 * MIB)
    run("mke2fs", "-q", "-F", "-r", "0", "-b", 1024, image)
    run(*TOOL, "in", image, tree)
    run(*TOOL, "churn", image, 5, 1500)
    clean(image)


def newfs(work, block, inode):
    image = sparse(work / "image", 60 * MIB)
    run(*TOOL, "newfs", image, "block_size=%d" % block, "inode_size=%d" % inode, "label=tested")
    clean(image)
    run(*TOOL, "fill", image, 500, 20)
    clean(image)


def huge_directory(work, count, length, indexed):
    """Hash trees of two levels; with long names one that cannot grow, which the directory then does without."""
    image = sparse(work / "image", 256 * MIB)
    run("mke2fs", "-q", "-F", "-t", "ext2", "-b", 1024, "-N", count + 1000, image)
    run(*TOOL, "fill", image, count, length)
    clean(image)
    flags = int(run("debugfs", "-R", "stat /filled", image).split("Flags:")[1].split()[0], 16)
    assert bool(flags & 0x1000) == indexed, "flags 0x%x" % flags


# What is done to a good image by debugfs, and what the repair is to find. NAME of the tree is inode <I>.
DAMAGES = {
    "a file without a name": (["unlink size-4096"], "unconnected"),
    "a directory without a name": (["unlink many"], "unconnected"),
    "no lost+found to put it in": (["unlink size-4096", "rmdir lost+found"], "unconnected"),
    "too many links": (["sif size-4096 links_count 9"], "links"),
    "too few links": (["sif linked links_count 1"], "links"),
    "a name without an inode": (["clri size-4096"], "entry-inode"),
    "a lying type": (["ln size-4096 more", "sif fifo mode 0100644"], "entry-type"),
    "a time of removal": (["sif size-4096 dtime 77777"], "removal-time"),
    "sectors": (["sif size-70000 blocks 2"], "sectors"),
    "blocks marked free": (["freeb 1000 3000"], "block-marked-free"),
    "blocks marked used": (["setb 40000 100"], "blocks-lost"),
    "an inode marked free": (["freei size-4096"], "inode-marked-free"),
    "an inode marked used": (["seti <3000>"], "inodes-lost"),
    "counts": (["ssv free_blocks_count 5", "ssv free_inodes_count 5"], "free-blocks"),
    "counts of a group": (["set_bg 0 free_blocks_count 5", "set_bg 0 used_dirs_count 5"], "directories"),
    "blocks behind the end": (["sif size-300000 size 1024", "ssv state 0"], "blocks-behind-end"),
    "an open file that was removed": (["unlink size-300000", "sif <I> links_count 0", "sif <I> dtime 0",
                                       "ssv last_orphan I"], "orphan"),
    "an index that says nothing": (["sif many flags 0x1000"], "index"),
    "a parent": (["mkdir a", "mkdir a/b", "cd a/b", "unlink ..", "ln /many .."], "dotdot"),
    "marked as wrong": (["ssv state 3"], "marked-wrong"),
}


def damage(work, tree, good, commands, code):
    """Damage, repair, and then nobody finds anything."""
    image = work / "image"
    shutil.copy(good, image)
    number = run("debugfs", "-R", "stat size-300000", image).split("Inode: ")[1].split()[0]
    script = work / "script"
    script.write_text("\n".join(c.replace("<I>", "<%s>" % number).replace(" I", " " + number) for c in commands))
    run("debugfs", "-w", "-f", script, image)
    found = run(*TOOL, "check", image, good=(4,) if code != "orphan" else (0, 4))
    assert code == "orphan" or code + ":" in found, found
    mended = run(*TOOL, "repair", image, good=(0, 1))
    assert code + ":" in mended, mended
    clean(image)
    (work / "out").mkdir()
    run(*TOOL, "out", image, work / "out")
    assert (work / "out" / "size-70000").read_bytes() == (tree / "size-70000").read_bytes()


def damages(cases, top, tree):
    good = sparse(top / "good", 48 * MIB)
    run("mke2fs", "-q", "-F", "-t", "ext2", "-b", 1024, "-N", 8192, "-d", tree, good)
    for name, (commands, code) in DAMAGES.items():
        cases.run("repair: " + name, damage, tree, good, commands, code)


def sample(work, folder, name):
    unpack(folder / (name + ".img.xz"), work / "image")
    (work / "out").mkdir()
    run(*TOOL, "out", work / "image", work / "out")
    run(sys.executable, folder / "verify-tree.py", work / "out", folder / (name + ".manifest.json"))


def main():
    cases = Cases("ext2fs-")
    with tempfile.TemporaryDirectory(prefix="ext2fs-") as top:
        tree = make_tree(pathlib.Path(top) / "tree")
        for block, inode, features in itertools.product((1024, 2048, 4096), (128, 256), FEATURES):
            cases.run("blocks of %d, inodes of %d, %s" % (block, inode, features or "defaults"),
                      read_and_write, tree, block, inode, features)
        cases.run("revision 0", revision_0, tree)
        damages(cases, pathlib.Path(top), tree)
    cases.run("100,000 names in a directory", huge_directory, 100_000, 20, True)
    cases.run("an index that cannot grow", huge_directory, 60_000, 255, False)
    for block, inode in ((1024, 128), (2048, 256), (4096, 256), (8192, 512), (65536, 256)):
        cases.run("newfs, blocks of %d" % block, newfs, block, inode)
    folder = sample_folder(SOURCE)
    for name in ("ext2-1k", "ext2-4k", "ext2-rev0"):
        if folder is None or os.geteuid() != 0:
            cases.skip(name, "no samples, or not root to make what is in them")
        else:
            cases.run("sample " + name, sample, folder, name)
    return cases.done()


if __name__ == "__main__":
    sys.exit(main())
