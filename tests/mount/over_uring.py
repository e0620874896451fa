# Runs a program while FUSE over io_uring is switched on: mounts that choose for themselves use it.
#
# usage: over_uring.py PROGRAM ARGUMENT...
import subprocess
import sys

from harness import Skip, uring_switched_on


def main():
    try:
        with uring_switched_on():
            return subprocess.run(sys.argv[1:], check=False).returncode
    except Skip as why:
        print(f"SKIPPED: {why}")
        return 77


if __name__ == "__main__":
    sys.exit(main())
