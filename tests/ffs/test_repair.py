#!/usr/bin/env python3
"""Random damage to inodes, directories, groups, summary and superblock: what our check says that it has repaired is
clean for itself, and by the rules of NetBSD and FreeBSD (bsd_rules.py).

usage: test_repair.py FSTOOL SOURCE_ROOT [--all]
"""
import pathlib
import random
import struct
import subprocess
import sys

SOURCE = pathlib.Path(sys.argv[2])
ROUNDS = 250 if "--all" in sys.argv else 30
sys.path.insert(0, str(SOURCE / "tests" / "support"))
import bsd_rules  # noqa: E402
from image_trees import MIB, Cases, run, sparse  # noqa: E402

TOOL = [sys.argv[1], "ffs"]
LAYOUTS = (["O=1", "b=8k", "f=1k"], ["O=2", "b=8k", "f=1k", "B=be"], ["O=2", "b=4k", "f=4k"],
           ["O=1", "B=be", "b=16k", "f=2k"], ["O=2", "b=16k", "f=2k", "l=256k"], ["O=0", "b=8k", "f=1k"])
# What mounts and fsck_ffs only warn of, or take from the superblock as it is.
WARNINGS = ("superblock: flags", "superblock: old_", "superblock: dsize", "superblock: maxbsize")


def spots(path):
    """Where the metadata is: offset and length."""
    image = bsd_rules.Image(path, True)
    with image.file:
        image.find()
        image.superblock()
        image.inodes()
        sb = image.sb
        width = 256 if image.ufs2 else 128
        found = [(image.place, 1376), (sb.csaddr * sb.fsize, sb.ncg * 16)]
        for number in image.state:
            group = number // sb.ipg
            found.append(((image.start(group) + sb.iblkno) * sb.fsize + number % sb.ipg * width, width))
        for size, blocks in image.dirs.values():
            found += [(block * sb.fsize, min(sb.bsize, size - lbn * sb.bsize)) for lbn, block in enumerate(blocks)]
        found += [((image.start(cg) + sb.cblkno) * sb.fsize, sb.cgsize) for cg in range(sb.ncg)]
    return found


def lie(choose, data, places):
    at, length = choose.choice(places)
    at += choose.randrange(length)
    kind = choose.randrange(4)
    if kind == 0:
        value = bytes([data[at] ^ 1 << choose.randrange(8)])
    elif kind == 1:
        value = bytes([choose.randrange(256)])
    elif kind == 2:
        value = struct.pack("<I", choose.choice((0, 1, 2, 3, 0xFFFFFFFF, 0x7FFFFFFF, choose.randrange(1 << 16))))
        at &= ~3
    else:
        value = bytes(choose.randrange(1, 64))
    data[at:at + len(value)] = value
    return "%d: %s" % (at, value.hex())


def repaired(work, options, seed):
    image = sparse(work / "image", 6 * MIB)
    run(*TOOL, "newfs", image, *options)
    run(*TOOL, "fill", image, 60, 30)
    run(*TOOL, "churn", image, seed, 700)
    whole = image.read_bytes()
    places = spots(image)
    mended = 0
    for number in range(ROUNDS):
        choose = random.Random(seed * 1000 + number)
        data = bytearray(whole)
        lies = [lie(choose, data, places) for _ in range(choose.choice((1, 1, 2, 4, 10)))]
        image.write_bytes(data)
        done = subprocess.run([*TOOL, "repair", image], capture_output=True, text=True, timeout=120)
        assert done.returncode in (0, 1, 4, 8), "seed %d, round %d: exit %d" % (seed, number, done.returncode)
        if done.returncode > 1:
            continue
        mended += 1
        wrong = [text for text in bsd_rules.problems(image) if not text.startswith(WARNINGS)]
        assert not wrong, "seed %d, round %d, %s: %s" % (seed, number, ", ".join(lies), "\n  ".join(wrong[:4]))
        run(*TOOL, "check", image)
    assert mended > ROUNDS // 2, "%d of %d were repaired" % (mended, ROUNDS)


def main():
    cases = Cases("ffs-repair-")
    for number, options in enumerate(LAYOUTS):
        cases.run(" ".join(options), repaired, options, number + 1)
    return cases.done()


if __name__ == "__main__":
    sys.exit(main())
