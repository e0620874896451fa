# The trees that untar, tar, rm and git work on: real source files of this machine, packed once per run.
import io
import itertools
import os
import subprocess
import tarfile
from pathlib import Path

SOURCE_FILES = 10_000
REPOSITORY_FILES = 5_000
ROOTS = ("/usr/include", "/usr/lib/python3", "/usr/lib/python3.11", "/usr/share/doc", "/usr/share")
LARGEST = 256 << 10


def source_files(count):
    """Paths of `count` regular files; a machine with fewer gives the same ones again, renamed."""
    found = []
    for root in ROOTS:
        for folder, folders, names in os.walk(root):
            folders.sort()
            for name in sorted(names):
                path = os.path.join(folder, name)
                if os.path.isfile(path) and not os.path.islink(path) and os.path.getsize(path) < LARGEST:
                    found.append(path)
                    if len(found) == count:
                        return [(path, path.lstrip("/")) for path in found]
    if not found:
        raise RuntimeError("this machine has no source files under " + ", ".join(ROOTS))
    again = itertools.cycle(found)
    return [(path, f"copy{n // len(found)}{path}") for n, path in zip(range(count), again)]


def pack(archive, files):
    with tarfile.open(archive, "w", format=tarfile.PAX_FORMAT) as tar:
        for path, name in files:
            data = Path(path).read_bytes()
            member = tarfile.TarInfo(name)
            member.size, member.mtime, member.mode = len(data), 1_600_000_000, 0o644
            tar.addfile(member, io.BytesIO(data))


def make_source_tree(folder):
    archive = Path(folder) / "source.tar"
    pack(archive, source_files(SOURCE_FILES))
    return archive


def make_repository(folder):
    """A committed git repository as an archive."""
    folder = Path(folder)
    repository, files = folder / "repo", folder / "files.tar"
    repository.mkdir()
    pack(files, source_files(REPOSITORY_FILES))
    def git(*words):
        subprocess.run(["git", "-c", "user.name=bench", "-c", "user.email=bench@localhost", "-c", "gc.auto=0",
                        "-C", repository, *words], check=True, capture_output=True)
    subprocess.run(["tar", "-xf", files, "-C", repository], check=True)
    git("init", "-q")
    git("add", "-A", "-f")
    git("commit", "-q", "-m", "files")
    archive = folder / "repository.tar"
    subprocess.run(["tar", "-cf", archive, "-C", repository, "."], check=True)
    subprocess.run(["rm", "-rf", repository, files], check=True)
    return archive
