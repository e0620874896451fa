#!/usr/bin/env python3
"""Sample images of other systems against their manifests, mounted in process.

usage: verify_images.py VERIFY_TREE SOURCE_ROOT PATTERN [option...]     exit 77: no samples
"""
import pathlib
import sys

TOOL, SOURCE, PATTERN, OPTIONS = sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3], sys.argv[4:]
sys.path.insert(0, str(SOURCE / "tests" / "support"))
from image_trees import Cases, run, sample_folder, unpack  # noqa: E402


def verify(work, packed):
    name = packed.name[:-len(".img.xz")]
    run(TOOL, *OPTIONS, unpack(packed, work / "image"), packed.parent / (name + ".manifest.json"))


def main():
    folder = sample_folder(SOURCE)
    images = sorted(folder.glob(PATTERN + ".img.xz")) if folder else []
    if not images:
        print("SKIPPED: no sample images")
        return 77
    cases = Cases("images-")
    for packed in images:
        cases.run(packed.name, verify, packed)
    return cases.done()


sys.exit(main())
