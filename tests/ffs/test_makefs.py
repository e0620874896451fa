#!/usr/bin/env python3
"""FFS as NetBSD's makefs writes it, in both versions and orders and every size of block and fragment
that it takes: reads back identical; written into, it is clean, and what was there is still there.

usage: test_makefs.py FSTOOL SOURCE_ROOT [--all]
"""
import itertools
import pathlib
import shutil
import sys
import tempfile

SOURCE = pathlib.Path(sys.argv[2])
sys.path.insert(0, str(SOURCE / "tests" / "support"))
from image_trees import Cases, compare, make_tree, run  # noqa: E402

TOOL = [sys.argv[1], "ffs"]
SAMPLE = 7  # without --all, one of so many combinations


def combinations():
    for version, order, block, part in itertools.product(
            (1, 2), ("le", "be"), (4096, 8192, 16384, 32768, 65536), (1, 2, 4, 8)):
        yield version, order, block, block // part


def same(image, tree, out, **how):
    out.mkdir()
    run(*TOOL, "out", image, out)
    compare(tree, out, **how)
    shutil.rmtree(out)


def read_and_write(work, tree, version, order, block, fragment):
    image = work / "image"
    run("makefs", "-t", "ffs", "-B", order, "-s", "96m", "-f", 900,
        "-o", "version=%d,bsize=%d,fsize=%d" % (version, block, fragment), image, tree)
    run(*TOOL, "check", image)
    same(image, tree, work / "out")
    run(*TOOL, "fill", image, 400, 40)
    run(*TOOL, "check", image)
    run(*TOOL, "churn", image, block + fragment + version, 1200)
    run(*TOOL, "check", image)
    same(image, tree, work / "out", more_in_other=True)


def main():
    cases = Cases("ffs-")
    with tempfile.TemporaryDirectory(prefix="ffs-") as top:
        tree = make_tree(pathlib.Path(top) / "tree")
        for number, sizes in enumerate(combinations()):
            if "--all" in sys.argv or number % SAMPLE == 0:
                cases.run("version %d, %s, blocks of %d, fragments of %d" % sizes, read_and_write, tree, *sizes)
    return cases.done()


if __name__ == "__main__":
    sys.exit(main())
