#!/usr/bin/env python3
# Every image of a folder against its manifest: NAME.img.xz and NAME.manifest.json in $RUMP_IMAGES.
# usage: verify_images.py VERIFY_TREE PATTERN [option...]     exit 0: the same; 1: differences; 77: no images
import glob
import lzma
import os
import subprocess
import sys
import tempfile


def unpack(packed, path):
    """Zeros become holes."""
    with lzma.open(packed) as source, open(path, "wb") as out:
        while block := source.read(1 << 20):
            if block.count(0) == len(block):
                out.seek(len(block), os.SEEK_CUR)
            else:
                out.write(block)
        out.truncate(out.tell())


def main():
    tool, pattern, options = sys.argv[1], sys.argv[2], sys.argv[3:]
    folder = os.environ.get("RUMP_IMAGES")
    images = sorted(glob.glob(os.path.join(folder, pattern + ".img.xz"))) if folder else []
    if not images:
        print("no images in $RUMP_IMAGES")
        return 77
    bad = 0
    for packed in images:
        name = os.path.basename(packed)[:-len(".img.xz")]
        with tempfile.TemporaryDirectory() as scratch:
            image = os.path.join(scratch, "image")
            unpack(packed, image)
            manifest = os.path.join(folder, name + ".manifest.json")
            code = subprocess.run([tool, *options, image, manifest]).returncode
        print(f"{'ok' if code == 0 else 'FAILED'}: {name} {' '.join(options)}")
        bad += code != 0
    return 1 if bad else 0


sys.exit(main())
