#!/usr/bin/env python3
"""FAT and exFAT against other implementations: what mkfs.fat made and mtools wrote is read, what we write is clean
for fsck.fat and read by mtools, names intact; the same for mkfs.exfat and fsck.exfat.

usage: test_tools.py FSTOOL SOURCE_ROOT [--all]     without --all: one of 17 combinations of mkfs.fat's options
"""
import itertools
import os
import pathlib
import shutil
import subprocess
import sys

SOURCE = pathlib.Path(sys.argv[2])
sys.path.insert(0, str(SOURCE / "tests" / "support"))
from image_trees import MIB, Cases, run, sparse  # noqa: E402

TOOL = sys.argv[1]
ALL = "--all" in sys.argv[3:]
NAMES = ["UPPER.TXT", "lower.txt", "UPPER.low", "Mixed Case.Text", "no-extension", "a.b.c.d", ".hidden", "+,;=[]",
         "the same beginning 1.txt", "the same beginning 2.txt", "the same beginning 3.txt", "Gr\u00fcn \u00c4\u00d6\u00dc.jpeg",
         "\u65e5\u672c\u8a9e.txt", "\u03b1\u03b2\u03b3", "x" * 200 + ".end", "12345678.123", "123456789.1234", "~tilde~1"]
os.environ.update({"MTOOLS_SKIP_CHECK": "1", "LC_ALL": "C.UTF-8"})


def make_tree(top):
    """Sizes at the borders of clusters, names of every kind, a directory of more than one cluster."""
    for folder, sizes in (("", (0, 1, 511, 512, 513, 4096, 4097, 32768, 70_000)), ("SHORT", (1, 5000)),
                          ("Folder with a name/deeper", (1, 10_000))):
        (top / folder).mkdir(parents=True, exist_ok=True)
        for size in sizes:
            (top / folder / ("size-%d" % size)).write_bytes(os.urandom(size))
    for name in NAMES:
        (top / name).write_bytes(name.encode())
    (top / "many").mkdir()
    for i in range(150):
        (top / "many" / ("entry number %d" % i)).write_bytes(b"%d" % i)
    return top


def contents(top):
    return {str(p.relative_to(top)): p.read_bytes() if p.is_file() else None for p in pathlib.Path(top).rglob("*")}


def same(tree, other):
    a, b = contents(tree), contents(other)
    assert a.keys() == b.keys(), "names differ: %s" % sorted(a.keys() ^ b.keys())[:5]
    for path in a:
        assert a[path] == b[path], "%s differs" % path


def fsck_fat(image):
    return subprocess.run(["fsck.fat", "-n", image], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)


def fat(work, tree, options, size):
    """False: mkfs.fat does not make such a thing."""
    image = sparse(work / "image", size)
    command = ["mkfs.fat", *options, image]
    if subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode != 0:
        return False
    judged = fsck_fat(image).returncode == 0 # an Atari's it complains of from the start
    run("cp", "--sparse=always", image, work / "empty")
    entries = [str(p) for p in sorted(tree.iterdir())]

    run("mcopy", "-s", "-i", image, *entries, "::")
    (work / "ours").mkdir()
    run(TOOL, "vfat", "out", image, work / "ours")
    same(tree, work / "ours")

    run("cp", "--sparse=always", work / "empty", image)
    run(TOOL, "vfat", "in", image, tree)
    (work / "theirs").mkdir()
    run("mcopy", "-s", "-i", image, "::*", work / "theirs")
    same(tree, work / "theirs")
    run(TOOL, "vfat", "churn", image, 7, 400)
    if judged:
        done = fsck_fat(image)
        assert done.returncode == 0, done.stdout.decode(errors="replace")[-2000:]
    run(TOOL, "vfat", "check", image)
    return True


def fat_matrix(cases, tree):
    options = itertools.product(
        (["-F", "12"], ["-F", "16"], ["-F", "32"]), (["-S", "512"], ["-S", "1024"], ["-S", "4096"]),
        (["-s", "1"], ["-s", "4"], ["-s", "64"]), (["-f", "1"], ["-f", "2"]), ([], ["-a"]), ([], ["-A"]),
        ([], ["-R", "40"]), ([], ["-h", "63"]))
    made = 0
    for number, parts in enumerate(options):
        if not ALL and number % 17 != 3:
            continue
        flat = [word for part in parts for word in part]
        cluster = int(flat[flat.index("-S") + 1]) * int(flat[flat.index("-s") + 1])
        clusters = {"12": 3000, "16": 9000, "32": 70_000}[flat[1]]
        if cluster * clusters > 300 * MIB:
            continue

        def body(work, flat=flat, size=(clusters + 200) * cluster):
            nonlocal made
            made += fat(work, tree, flat, max(size, 3 * MIB))
        cases.run("mkfs.fat " + " ".join(flat), body)
    print("%d kinds of FAT" % made)
    assert made > 0


def exfat(work, tree, options):
    image = sparse(work / "image", 64 * MIB)
    run("mkfs.exfat", *options, image)
    run(TOOL, "exfat", "in", image, tree)
    run("fsck.exfat", "-n", image)
    (work / "ours").mkdir()
    run(TOOL, "exfat", "out", image, work / "ours")
    same(tree, work / "ours")
    run(TOOL, "exfat", "churn", image, 7, 600)
    run("fsck.exfat", "-n", image)
    run(TOOL, "exfat", "check", image)


def main():
    cases = Cases("fat-tools-")
    work = pathlib.Path(run("mktemp", "-d").strip())
    try:
        tree = make_tree(work / "tree")
        fat_matrix(cases, tree)
        for options in (["-c", "512"], ["-c", "4K"], ["-c", "128K"], ["-b", "1M", "-c", "32K"],
                        ["-L", "label", "-c", "8K"]):
            cases.run("mkfs.exfat " + " ".join(options), exfat, tree, options)
    finally:
        shutil.rmtree(work)
    return cases.done()


sys.exit(main())
