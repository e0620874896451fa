"""What the image tests of all file systems share: trees with something of everything, comparing
them, running tools, samples of other systems.
"""
import lzma
import os
import pathlib
import subprocess
import tempfile

MIB = 1 << 20


def run(*command, good=(0,)):
    """Output of a command that must end with one of the exit codes `good`."""
    done = subprocess.run([str(c) for c in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, errors="replace", timeout=600)
    if done.returncode not in good:
        raise AssertionError("%s: exit %d\n%s" % (" ".join(map(str, command)), done.returncode, done.stdout[-3000:]))
    return done.stdout


def make_tree(top):
    """Files at the borders of blocks, holes, links, many names, names that are not UTF-8."""
    top.mkdir()
    for size in (0, 1, 1023, 1024, 1025, 4095, 4096, 4097, 12 * 1024, 12 * 1024 + 1, 70_000, 300_000):
        (top / ("size-%d" % size)).write_bytes(os.urandom(size))
    with open(top / "holes", "wb") as f:
        for at in (0, 100_000, 5_000_000, 20_000_000):
            f.seek(at)
            f.write(b"data at %d" % at)
    os.link(top / "size-4097", top / "linked")
    os.symlink("size-1", top / "fast")
    os.symlink("s" * 200, top / "slow")
    os.mkfifo(top / "fifo")
    many = top / "many"
    many.mkdir()
    for i in range(300):
        (many / ("entry-%d-%s" % (i, "x" * (i % 60)))).write_bytes(b"%d" % i)
    (top / ("n" * 255)).write_bytes(b"long name")
    with open(os.fsencode(top) + b"/not-utf8-\xff\xfe", "wb") as f:
        f.write(b"odd name")
    os.chmod(top / "size-1", 0o4751)
    os.utime(top / "size-0", ns=(10**18, 10**18))
    return top


def facts(path):
    st = os.lstat(path)
    kind = st.st_mode
    out = [kind, st.st_uid, st.st_gid, st.st_nlink if not os.path.isdir(path) else 0, int(st.st_mtime)]
    if os.path.islink(path):
        return out[:4] + [os.readlink(path)]
    if os.path.isfile(path):
        with open(path, "rb") as f:
            out.append(hash(f.read()))
    return out


def compare(one, other, more_in_other=False):
    """The same names with the same facts; `other` may have further names if told so."""
    def names(top):
        found = {}
        for folder, dirs, files in os.walk(os.fsencode(top)):
            for name in dirs + files:
                full = os.path.join(folder, name)
                rel = os.path.relpath(full, os.fsencode(top))
                if not rel.startswith(b"lost+found"):
                    found[rel] = full
        return found
    a, b = names(one), names(other)
    missing = a.keys() - b.keys() if more_in_other else a.keys() ^ b.keys()
    assert not missing, "names differ: %s" % sorted(missing)[:5]
    for rel in a:
        assert facts(a[rel]) == facts(b[rel]), "%s: %s, %s" % (rel, facts(a[rel]), facts(b[rel]))


def sparse(path, size):
    with open(path, "wb") as f:
        f.truncate(size)
    return path


def sample_folder(source):
    """The folder of sample images ($RUMP_SAMPLES, else shared/images beside the source or above it), or None."""
    named = os.environ.get("RUMP_SAMPLES")
    candidates = [pathlib.Path(named)] if named else [p.parent / "shared" / "images" for p in [source, *source.parents]]
    return next((c for c in candidates if (c / "verify-tree.py").exists()), None)


def unpack(packed, path):
    """Zeros become holes."""
    with lzma.open(packed) as source, open(path, "wb") as out:
        while block := source.read(1 << 16):
            if block.count(0) == len(block):
                out.seek(len(block), os.SEEK_CUR)
            else:
                out.write(block)
        out.truncate(out.tell())
    return path


class Cases:
    """Runs cases, each in a scratch folder, and prints what tests/README.md asks for."""

    def __init__(self, prefix):
        self.prefix, self.passed, self.failed, self.skipped = prefix, 0, 0, 0

    def run(self, name, body, *args):
        with tempfile.TemporaryDirectory(prefix=self.prefix) as work:
            try:
                body(pathlib.Path(work), *args)
                self.passed += 1
            except (AssertionError, OSError, subprocess.TimeoutExpired) as error:
                self.failed += 1
                print("FAILED: %s: %s" % (name, error), flush=True)

    def skip(self, name, why):
        self.skipped += 1
        print("SKIPPED: %s: %s" % (name, why))

    def done(self):
        print("%d passed, %d failed, %d skipped" % (self.passed, self.failed, self.skipped))
        return 1 if self.failed else 0
