# Daemons killed at any moment while clients work: whatever was synced before is there with its content,
# after the outside fsck and after ours, and the next mount says what it found.
#   test_kill.py [--rounds N] [--seed S]
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys

import harness
from harness import check, daemon_pid, equal, fuse_mount, make_ext2, run, tool, wait_until

CLIENTS = 3


def work(top, seed, log):
    """A client: writes, syncs, renames and removes files below `top` until the mount is gone. Says in
    `log`, which is not on the mount, what is about to change and what was synced."""
    rng = random.Random(seed)
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def say(*words):
        os.write(out, (" ".join(words) + "\n").encode("ascii"))

    def name():
        return f"d{rng.randrange(4)}/f{rng.randrange(30)}"

    def write(path):
        data = rng.randbytes(rng.choice((0, 1, 700, 4096, 9000, 60000, 300000)))
        say("begin", path)
        fd = os.open(f"{top}/{path}", os.O_WRONLY | os.O_CREAT | rng.choice((0, os.O_TRUNC)), 0o644)
        try:
            os.ftruncate(fd, len(data))
            os.write(fd, data)
            if rng.randrange(2):
                os.fsync(fd)
                say("synced", path, hashlib.sha256(data).hexdigest())
        finally:
            os.close(fd)

    def rename(path, other):
        say("begin", path)
        say("begin", other)
        os.rename(f"{top}/{path}", f"{top}/{other}")

    def remove(path):
        say("begin", path)
        os.unlink(f"{top}/{path}")

    try:
        for d in range(4):
            os.mkdir(f"{top}/d{d}")
        while True:
            try:
                step = rng.randrange(10)
                if step < 7:
                    write(name())
                elif step < 8:
                    rename(name(), name())
                else:
                    remove(name())
            except FileNotFoundError:
                pass
    except OSError as error:
        say("end", str(error.errno))


def synced_files(log):
    """What must be there: path and digest."""
    files, lines = {}, 0
    with open(log, encoding="ascii") as lines_of:
        for line in lines_of:
            if not line.endswith("\n"):
                break
            words = line.split()
            lines += 1
            if words[0] == "begin":
                files.pop(words[1], None)
            elif words[0] == "synced":
                files[words[1]] = words[2]
    return files, lines


def compare(where, top, files, when):
    for path, digest in files.items():
        try:
            with open(f"{where}/{top}/{path}", "rb") as file:
                equal(hashlib.sha256(file.read()).hexdigest(), digest, f"{when}: {top}/{path}")
        except OSError as error:
            raise harness.Failure(f"{when}: {top}/{path}: {error}") from error


def mended_by_e2fsck(image):
    done = subprocess.run(["e2fsck", "-fy", image], capture_output=True, text=True, check=False)
    check(done.returncode in (0, 1), f"e2fsck -fy: {done.returncode}: {done.stdout}")


def mended_by_us(image):
    done = subprocess.run([harness.ukfs(), "check", "-fy", image], capture_output=True, text=True, check=False)
    check(done.returncode in (0, 1), f"ukfs check -y: {done.returncode}: {done.stdout}{done.stderr}")


def one_round(scratch, image, number, rng):
    """Returns how many files were compared."""
    where, top = scratch.file("mnt"), f"round{number}"
    run([tool("rump_ext2fs"), image, where])
    logs = [scratch.file(f"log{number}.{c}") for c in range(CLIENTS)]
    clients = []
    try:
        for old in range(number):
            shutil.rmtree(f"{where}/round{old}", ignore_errors=True)
        os.mkdir(f"{where}/{top}")
        for c, log in enumerate(logs):
            os.mkdir(f"{where}/{top}/{c}")
            clients.append(scratch.start([sys.executable, __file__, "--client", f"{where}/{top}/{c}",
                                          str(rng.randrange(1 << 30)), log]))
        moment = rng.randrange(20, 400)
        wait_until(lambda: all(os.path.exists(l) for l in logs) and
                   sum(os.path.getsize(l) for l in logs) > moment * 30, "the clients work")
        pid = daemon_pid(where)
        fd = os.pidfd_open(pid)
        os.kill(pid, signal.SIGKILL)
        for client in clients:
            equal(client.wait(60), 0, "client")
        os.close(fd)
    finally:
        run([tool("rump_umount"), where])
    expected = [synced_files(log)[0] for log in logs]

    found = run([tool("rump_ext2fs"), "-r", image, where])
    check("not unmounted cleanly" in found.stderr, f"the next mount says: {found.stderr!r}")
    for c, files in enumerate(expected):
        compare(where, f"{top}/{c}", files, "before fsck")
    run([tool("rump_umount"), where])
    (mended_by_us if number % 2 else mended_by_e2fsck)(image)
    run(["e2fsck", "-fn", image])
    with fuse_mount(scratch, "rump_ext2fs", image, mountpoint=where):
        for c, files in enumerate(expected):
            compare(where, f"{top}/{c}", files, "after fsck")
    return sum(len(files) for files in expected)


def test_what_was_synced_survives_a_kill(scratch):
    scratch.folder()
    rng = random.Random(SEED)
    print(f"seed {SEED}, {ROUNDS} rounds")
    compared = 0
    for number in range(ROUNDS):
        if number % 20 == 0:
            options = rng.choice((["-b", "1024"], ["-b", "4096"], ["-b", "1024", "-I", "128"]))
            image = make_ext2(scratch.file("image"), 64, *options)
        compared += one_round(scratch, image, number, rng)
    check(compared > ROUNDS, f"{compared} files were synced in {ROUNDS} rounds")


def option(name, default):
    return int(sys.argv[sys.argv.index(name) + 1]) if name in sys.argv else default


if sys.argv[1:2] == ["--client"]:
    work(sys.argv[2], int(sys.argv[3]), sys.argv[4])
    sys.exit(0)
ROUNDS, SEED = option("--rounds", 6), option("--seed", random.randrange(1 << 30))
if __name__ == "__main__":
    del sys.argv[1:]
    harness.main(sys.modules[__name__])
