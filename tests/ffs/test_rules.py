#!/usr/bin/env python3
"""What our newfs and our driver leave is judged by the rules of NetBSD's and FreeBSD's kernels and fsck_ffs
(bsd_rules.py): every layout, samples of these systems and images of makefs, after random work.

usage: test_rules.py FSTOOL SOURCE_ROOT [--all]
"""
import itertools
import pathlib
import random
import struct
import sys

SOURCE = pathlib.Path(sys.argv[2])
ALL = "--all" in sys.argv
sys.path.insert(0, str(SOURCE / "tests" / "support"))
import bsd_rules  # noqa: E402
from image_trees import MIB, Cases, make_tree, run, sample_folder, sparse, unpack  # noqa: E402

TOOL = [sys.argv[1], "ffs"]
STEPS = 2500 if ALL else 500


def judge(image, when, ours):
    wrong = bsd_rules.problems(image, ours=ours)
    assert not wrong, "after %s: %s" % (when, "\n  ".join(wrong[:8]))


def work_on(image, ours):
    run(*TOOL, "touch", image)
    judge(image, "a mount", ours)
    run(*TOOL, "fill", image, 150, 40)
    judge(image, "many names", ours)
    for seed in (1, 2):
        run(*TOOL, "churn", image, seed, STEPS)
        judge(image, "churn %d" % seed, ours)


def made_here(work, options):
    image = sparse(work / "image", 24 * MIB)
    run(*TOOL, "newfs", image, *options)
    judge(image, "newfs", True)
    work_on(image, True)


def sample(work, packed):
    image = unpack(packed, work / "image")
    run(*TOOL, "touch", image)  # a log may have to be replayed
    judge(image, "a mount", False)
    if all(free > 400 for free in bsd_rules.free_blocks_and_inodes(image)):
        work_on(image, False)


def of_makefs(work, version, order):
    image = work / "image"
    run("makefs", "-t", "ffs", "-B", order, "-s", "48m", "-f", 900, "-o", "version=%d,bsize=8192,fsize=1024" % version,
        image, make_tree(work / "tree"))
    judge(image, "makefs", False)
    work_on(image, False)


def with_check_hashes(work, order):
    """As FreeBSD makes it: check hashes of superblock, groups and inodes, which are then judged."""
    image = sparse(work / "image", 24 * MIB)
    run(*TOOL, "newfs", image, "O=2", "B=" + order, "b=16k", "f=2k")
    code = "<" if order == "le" else ">"
    found = bsd_rules.Image(image, True)
    with found.file, open(image, "r+b") as f:
        assert found.find()
        sb = found.sb

        def hashed(place, length, at, change=()):
            f.seek(place)
            raw = bytearray(f.read(length))
            for name, value in change:
                offset, size, _, _ = bsd_rules.SB[name]
                struct.pack_into(code + ("I" if size == 4 else "Q"), raw, offset, value)
            raw[at:at + 4] = bytes(4)
            struct.pack_into(code + "I", raw, at, bsd_rules.crc32c(raw))
            f.seek(place)
            f.write(raw)

        for cg in range(sb.ncg):
            hashed((found.start(cg) + sb.cblkno) * sb.fsize, sb.cgsize, 132)
        hashed(sb.iblkno * sb.fsize + 2 * 256, 256, 244)
        for place in [found.place] + [(found.start(cg) + sb.sblkno) * sb.fsize for cg in range(sb.ncg)]:
            hashed(place, sb.sbsize, bsd_rules.SB["ckhash"][0],
                   [("flags", 0x200), ("metackhash", 7), ("sblockactualloc", place), ("mtime", sb.time)])
    judge(image, "hashing it", True)
    work_on(image, True)
    with open(image, "r+b") as f:
        f.seek(found.place)
        f.write(bytes(8192))
    run(*TOOL, "repair", image, good=(1,))
    judge(image, "putting the superblock back", True)


def large(work, size, options):
    """Only the superblock: what it says of the groups must be what other systems compute."""
    image = sparse(work / "image", size)
    run(*TOOL, "newfs", image, *options)
    found = bsd_rules.Image(image, True)
    with found.file:
        if found.find():
            found.superblock()
    assert not found.wrong, found.wrong


def superblock_lost(work, options):
    """What a repair puts back is what was there, but for times."""
    image = sparse(work / "image", 24 * MIB)
    run(*TOOL, "newfs", image, *options)
    run(*TOOL, "churn", image, 3, STEPS)
    found = bsd_rules.Image(image, True)
    with found.file:
        assert found.find()
    with open(image, "r+b") as f:
        f.seek(found.place)
        f.write(bytes(8192))
    said = run(*TOOL, "repair", image, good=(1,))
    assert "superblock-backup" in said, said
    judge(image, "putting the superblock back", True)


def seen_to_fail(work):
    """Each of these lies is found."""
    image = sparse(work / "image", 24 * MIB)
    run(*TOOL, "newfs", image, "O=2", "b=8192", "f=1024")
    run(*TOOL, "fill", image, 60, 20)
    judge(image, "newfs", True)
    with open(image, "rb") as f:
        clean = f.read()
    whole = bsd_rules.Image(image, True)
    with whole.file:
        assert whole.find()
        sb = whole.sb
        group, table = sb.cblkno * sb.fsize, sb.iblkno * sb.fsize
        root = struct.unpack_from("<q", clean, table + 2 * 256 + 112)[0] * sb.fsize
        iused, free, clusters = (struct.unpack_from("<i", clean, group + at)[0] for at in (92, 96, 108))
    lies = {
        "cgsize": 65536 + bsd_rules.SB["cgsize"][0], "dsize": 65536 + bsd_rules.SB["dsize"][0],
        "cstotal": 65536 + bsd_rules.SB["cstotal"][0], "maxfilesize": 65536 + bsd_rules.SB["maxfilesize"][0],
        "copy": sb.sblkno * sb.fsize + bsd_rules.SB["ipg"][0], "summary": sb.csaddr * sb.fsize + 4,
        "group counts": group + 28, "spare": group + 150, "inode map": group + iused + 30, "free map": group + free + 300,
        "clusters": group + clusters + 20, "frsum": group + 56, "link count": table + 2 * 256 + 2,
        "blocks": table + 2 * 256 + 24, "size": table + 2 * 256 + 17, "pointer": table + 2 * 256 + 120,
        "record length": root + 4, "type": root + 6, "inode number": root, "free inode": table + 50 * 256 + 112,
    }
    for name, at in lies.items():
        with open(image, "r+b") as f:
            f.seek(at)
            f.write(bytes([clean[at] ^ 0x14]))
        assert bsd_rules.problems(image, ours=True), "the lie about %s is not seen" % name
        with open(image, "r+b") as f:
            f.seek(at)
            f.write(clean[at:at + 1])
    judge(image, "putting everything back", True)


def main():
    cases = Cases("ffs-rules-")
    cases.run("lies are seen", seen_to_fail)
    for number, (version, order, (block, fragment)) in enumerate(itertools.product(
            "12", ("le", "be"), ((8192, 1024), (16384, 2048), (32768, 4096), (4096, 4096)))):
        options = ["O=" + version, "B=" + order, "b=%d" % block, "f=%d" % fragment]
        for log in ([], ["l=1m"]) if ALL else ([["l=1m"], []][(number // 4 + number) % 2],):
            cases.run(" ".join(options + log), made_here, options + log)
    for options in (["O=0", "b=8192", "f=1024"], ["O=0", "B=be", "b=4096", "f=512"], ["O=2", "ea", "b=65536", "f=8192"],
                    ["O=1", "b=65536", "f=65536", "m=0"], ["O=2", "b=4096", "f=512", "i=1024", "o=space"]):
        cases.run(" ".join(options), made_here, options)
    for order in "le", "be":
        cases.run("check hashes, " + order, with_check_hashes, order)
    for options in (["O=1", "B=be"], ["O=2", "b=16384", "f=2048"], ["O=0", "b=8192", "f=1024"]):
        cases.run("superblock lost, " + " ".join(options), superblock_lost, options)
    for seed in range(40 if ALL else 12):
        choose = random.Random(seed)
        block = choose.choice((4096, 8192, 16384, 32768, 65536))
        options = ["b=%d" % block, "f=%d" % (block // choose.choice((1, 2, 4, 8))),
                   "i=%d" % choose.choice((512, 2048, 8192, 65536, MIB)), "O=%d" % choose.choice((1, 2, 2, 2))]
        size = choose.randrange(1 << 30, 3 << 30 if "O=1" in options else 20 << 30 if block < 16384 else 3 << 40)
        cases.run("%d bytes, %s" % (size, " ".join(options)), large, size, options)
    folder = sample_folder(SOURCE)
    for packed in sorted(folder.glob("*ffs*.img.xz")) if folder else []:
        cases.run(packed.name, sample, packed)
    if not folder:
        cases.skip("samples", "no sample images")
    for version, order in itertools.product((1, 2), ("le", "be")):
        cases.run("makefs, version %d, %s" % (version, order), of_makefs, version, order)
    return cases.done()


if __name__ == "__main__":
    sys.exit(main())
