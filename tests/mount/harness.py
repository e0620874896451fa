# What tests of real mounts share: scratch folders, starting daemons, and cleaning up whatever happens.
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback

NOBODY = 65534
TOOLS = os.environ.get("RUMP_DAEMONS", "build/daemons")
ROOT = os.geteuid() == 0


class Skip(Exception):
    """What this machine lacks."""


class Failure(AssertionError):
    pass


def tool(name):
    return os.path.join(TOOLS, name)


def ukfs():
    return os.environ.get("RUMP_UKFS", os.path.join(TOOLS, "../ukfs/ukfs"))


def has_daemon(name):
    return os.access(tool(name), os.X_OK)


def check(condition, message):
    if not condition:
        raise Failure(message)


def equal(got, wanted, what=""):
    check(got == wanted, f"{what}: got {got!r}, wanted {wanted!r}")


@contextlib.contextmanager
def errno_is(number, what=""):
    try:
        yield
    except OSError as error:
        check(error.errno == number,
              f"{what}: {os.strerror(error.errno)}, wanted {os.strerror(number)}")
        return
    raise Failure(f"{what}: succeeded, wanted {os.strerror(number)}")


def mounted(path):
    """The type of the last mount on `path`; None: nothing."""
    found = None
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as table:
        for line in table:
            left, right = line.rstrip("\n").split(" - ", 1)
            if left.split(" ")[4] == path:
                found = right.split(" ")[0]
    return found


def wait_until(condition, what, seconds=30):
    """Polls: for what has no descriptor to wait on. The limit is generous and asserts nothing."""
    for _ in range(seconds * 100):
        if condition():
            return
        subprocess.run(["sleep", "0.01"], check=True)
    raise Failure(f"never happened: {what}")


URING = "/sys/module/fuse/parameters/enable_uring"


def uring_offered():
    try:
        with open(URING, encoding="ascii") as value:
            return value.read().strip() == "Y"
    except OSError:
        return False


@contextlib.contextmanager
def uring_switched_on():
    """Root switches it on, and back."""
    before = uring_offered()
    if not before:
        if not os.access(URING, os.W_OK):
            raise Skip("FUSE over io_uring is off, and not ours to switch on")
        with open(URING, "w", encoding="ascii") as switch:
            switch.write("Y")
    try:
        yield
    finally:
        if not before:
            with open(URING, "w", encoding="ascii") as switch:
                switch.write("N")


class Scratch:
    """A folder for one test, with everything that was mounted below it taken away at the end."""

    def __init__(self):
        self.path = os.path.realpath(tempfile.mkdtemp(prefix="rump-mount-"))
        os.chmod(self.path, 0o755)
        self.processes = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for path in sorted(self.mounts(), reverse=True):
            unmount = ["umount", "-l", path] if ROOT else ["fusermount3", "-uqz", path]
            subprocess.run(unmount, check=False, capture_output=True)
        for process in self.processes:
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.end_daemons()
        shutil.rmtree(self.path, ignore_errors=True)

    def end_daemons(self):
        """Those that a failed test left: they end as their mount is gone, unless they hang."""
        try:
            wait_until(lambda: not self.daemons(), "the daemons end")
        except Failure:
            for process in self.daemons():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)

    def daemons(self):
        """Processes of a program of ours that were told of a file in this folder."""
        found = []
        for entry in os.listdir("/proc"):
            with contextlib.suppress(OSError):
                with open(f"/proc/{entry}/cmdline", "rb") as words:
                    program, *arguments = os.fsdecode(words.read()).split("\0")
                if os.path.basename(program).startswith("rump_") and any(self.path in a for a in arguments):
                    found.append(int(entry))
        return found

    def mounts(self):
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as table:
            return [p for p in (line.split(" ")[4] for line in table) if p.startswith(self.path + "/")]

    def file(self, name):
        return os.path.join(self.path, name)

    def folder(self, name="mnt", owner=None):
        path = self.file(name)
        os.mkdir(path)
        if owner is not None:
            os.chown(path, owner, owner)
        return path

    def start(self, arguments, **more):
        process = subprocess.Popen(arguments, **more)
        self.processes.append(process)
        return process


def as_user(arguments, uid=NOBODY):
    """Runs a command as an ordinary user; as one already: as oneself."""
    if not ROOT:
        return arguments
    return ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", *arguments]


def run(arguments, code=0, **more):
    done = subprocess.run(arguments, capture_output=True, text=True, check=False,
                          stdin=subprocess.DEVNULL, timeout=120, **more)
    check(done.returncode == code,
          f"{' '.join(map(str, arguments))}: exit code {done.returncode}, wanted {code}: {done.stderr}")
    return done


def refused(arguments, code, *words, **more):
    """The command fails with this code and one line that contains the words."""
    done = run(arguments, code, **more)
    lines = done.stderr.splitlines()
    check(len(lines) == 1, f"not one line: {done.stderr!r}")
    for word in words:
        check(word in lines[0], f"{lines[0]!r} does not say {word!r}")
    return lines[0]


def daemon_pid(path):
    return int(os.getxattr(path, "user.rump.pid"))


def counters(path):
    return json.loads(os.getxattr(path, "user.rump.counters"))


def requests(path):
    """Requests so far by kind, without those that asking causes."""
    prefix = "fuse.requests."
    return {name[len(prefix):]: value for name, value in counters(path).items()
            if name.startswith(prefix)}


@contextlib.contextmanager
def fuse_mount(scratch, daemon, *arguments, options=(), mountpoint=None, user=None):
    """A mount that is live inside the with block and properly gone after it."""
    where = mountpoint or scratch.folder(owner=user)
    command = [tool(daemon), *arguments, where]
    if options:
        command[1:1] = ["-o", ",".join(options)]
    run(as_user(command, user) if user is not None else command)
    try:
        yield where
    finally:
        if mounted(where):
            command = [tool("rump_umount"), where]
            run(as_user(command, user) if user is not None else command)


def make_ext2(path, megabytes=16, *more):
    with open(path, "wb") as image:
        image.truncate(megabytes << 20)
    run(["mke2fs", "-q", "-F", "-t", "ext2", "-E", f"root_owner={os.geteuid()}:{os.getegid()}", *more, path])
    return path


def make_fat(path, megabytes=16, program="mkfs.vfat"):
    with open(path, "wb") as image:
        image.truncate(megabytes << 20)
    run([program, path])
    return path


def make_exfat(path, megabytes=16):
    return make_fat(path, megabytes, "mkfs.exfat")


def make_ffs(path, megabytes=16):
    run([ukfs(), "newfs", "-t", "ffs", "--size", f"{megabytes}M", path])
    run([ukfs(), "chown", path, f"{os.geteuid()}:{os.getegid()}", "/"])
    return path


def image_daemons(scratch):
    """Each daemon with a fresh image of its type and the outside check, or ours where there is none."""
    for daemon, make, check_with in (("rump_ext2fs", make_ext2, ["e2fsck", "-fn"]),
                                     ("rump_exfat", make_exfat, ["fsck.exfat", "-n"]),
                                     ("rump_ffs", make_ffs, [ukfs(), "check", "-f"]),
                                     ("rump_msdos", make_fat, ["fsck.vfat", "-n"])):
        yield daemon, make(scratch.file(daemon + ".img")), check_with


@contextlib.contextmanager
def programs_for_all():
    """Copies, when the build lies where another user cannot go."""
    global TOOLS # pylint: disable=global-statement
    if not ROOT or subprocess.run(as_user(["test", "-x", tool("rump_umount")]), check=False).returncode == 0:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="rump-bin-") as copies:
        os.chmod(copies, 0o755)
        for name in os.listdir(TOOLS):
            if os.path.isfile(tool(name)) and has_daemon(name):
                shutil.copy(tool(name), copies)
        TOOLS = copies
        yield


def main(module):
    """Runs every function test_* of a module; names on the command line choose."""
    os.umask(0o022) # what is made is for other users to look at, too
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        print("SKIPPED: /dev/fuse is closed to us")
        sys.exit(77)
    if ROOT and not may_mount():
        print("SKIPPED: this root may not mount")
        sys.exit(77)
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    with programs_for_all():
        for name, test in sorted(vars(module).items()):
            if not name.startswith("test_") or (sys.argv[1:] and not any(a in name for a in sys.argv[1:])):
                continue
            try:
                with Scratch() as scratch:
                    test(scratch)
                counts["passed"] += 1
            except Skip as why:
                print(f"SKIPPED: {name}: {why}")
                counts["skipped"] += 1
            except Exception: # pylint: disable=broad-except
                print(f"FAILED: {name}")
                traceback.print_exc(file=sys.stdout)
                counts["failed"] += 1
    print(", ".join(f"{n} {what}" for what, n in counts.items()))
    sys.exit(1 if counts["failed"] else 0)


def drop_caches():
    """Of the host; of a container they are not its own."""
    os.sync()
    try:
        with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as file:
            file.write("3")
    except OSError as why:
        raise Skip(f"the host's caches cannot be dropped: {why.strerror}") from why


def may_mount():
    """Root of a container may not, without CAP_SYS_ADMIN."""
    with open("/proc/self/status", encoding="ascii") as status:
        effective = next(line.split()[1] for line in status if line.startswith("CapEff:"))
    return int(effective, 16) >> 21 & 1


def need_root():
    if not ROOT:
        raise Skip("needs root")


def need_user_mounts():
    """A user other than root who may mount: an open /dev/fuse."""
    if ROOT and not os.stat("/dev/fuse").st_mode & 0o002:
        raise Skip("/dev/fuse is closed to users")
