# The drivers that the bench compares: how each gets an image, is mounted, is looked at and goes away.
import json
import os
import resource
import shutil
import struct
import subprocess
import time
from pathlib import Path

URING_SWITCH = Path("/sys/module/fuse/parameters/enable_uring")


class Unavailable(Exception):
    pass


def run(*words, **keywords):
    words = [str(w) for w in words]
    done = subprocess.run(words, capture_output=True, text=True, **keywords)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}: {(done.stderr or done.stdout).strip() or done.returncode}")
    return done.stdout


def is_mount(directory):
    directory = str(directory)
    with open("/proc/self/mountinfo") as mounts:
        return any(line.split()[4] == directory for line in mounts)


def wait_for(condition, what, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise RuntimeError(f"waited {seconds} s for {what}")
        time.sleep(0.01)


def spoil_every_other_cluster(image):
    """Marks every other cluster of an empty FAT32 as bad, so that files are in pieces of one cluster."""
    with open(image, "r+b") as file:
        boot = file.read(512)
        sector, = struct.unpack_from("<H", boot, 11)
        reserved, fats = struct.unpack_from("<HB", boot, 14)
        sectors, fat_sectors = struct.unpack_from("<II", boot, 32)
        clusters = (sectors - reserved - fats * fat_sectors) // boot[13]
        pattern = struct.pack("<II", 0, 0x0ffffff7) * (clusters // 2 - 1)
        for copy in range(fats):
            file.seek((reserved + copy * fat_sectors) * sector + 4 * 4)
            file.write(pattern)
        file.seek(sector + 488) # FSInfo: the count of free clusters
        file.write(struct.pack("<I", 0xffffffff))


class Driver:
    """One way to serve a file system. A context: entered it is mounted, left it is gone."""
    image_type = "ext2"   # None: has no image
    plain_only = False    # serves only the names of the plain workloads
    in_process = False

    def __init__(self, bench, name, description):
        self.bench, self.name, self.description = bench, name, description
        self.image = bench.folder / "image"
        self.directory = bench.folder / "mnt"
        self.daemon = None  # a child of ours in the foreground
        self.pid = None     # whose CPU time counts

    def check(self):
        """Unavailable: why it cannot run here."""

    def __enter__(self):
        self.directory.mkdir(exist_ok=True)
        try:
            self.make_image()
            self.mount()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        try:
            self.unmount()
        finally:
            self.pid = None
            self.image.unlink(missing_ok=True)

    def make_image(self):
        size = f"{self.bench.image_mib}M"
        if self.image_type is None:
            return
        self.image.unlink(missing_ok=True)
        if self.image_type == "ext2":
            run("mke2fs", "-q", "-t", "ext2", "-b", "4096", "-N", "200000", "-E",
                f"root_owner={os.getuid()}:{os.getgid()}", self.image, size)
        elif self.image_type == "ffs":
            empty = self.bench.folder / "empty"
            empty.mkdir(exist_ok=True)
            run("makefs", "-t", "ffs", "-s", size.lower(), "-f", "200000", "-o", "version=2,bsize=32768,fsize=4096",
                self.image, empty)
            empty.rmdir()
        elif self.image_type in ("fat", "fat-half"):
            run("mkfs.fat", "-F", "32", "-s", "8", "-C", self.image, self.bench.image_mib * 1024)
            if self.image_type == "fat-half":
                spoil_every_other_cluster(self.image)
        elif self.image_type == "exfat":
            with open(self.image, "wb") as file:
                file.truncate(self.bench.image_mib << 20)
            run("mkfs.exfat", self.image)

    def mount(self):
        raise NotImplementedError

    def start(self, *words):
        """A daemon in the foreground, until its mount is live."""
        self.daemon = subprocess.Popen([str(w) for w in words], stdin=subprocess.DEVNULL,
                                       stdout=self.bench.log, stderr=self.bench.log)
        self.pid = self.daemon.pid
        wait_for(lambda: is_mount(self.directory) or self.daemon.poll() is not None, f"{self.name} to mount")
        if self.daemon.poll() is not None:
            raise RuntimeError(f"{self.name}: exit {self.daemon.returncode}, see {self.bench.log.name}")

    def unmount(self):
        if is_mount(self.directory):
            try:
                run("fusermount3", "-u", self.directory)
            except RuntimeError:
                run("fusermount3", "-u", "-z", self.directory)
        if self.daemon:
            try:
                self.daemon.wait(30)
            except subprocess.TimeoutExpired:
                self.daemon.kill()
                self.daemon.wait()
                raise RuntimeError(f"{self.name} did not end within 30 s of its unmount") from None
            finally:
                self.daemon = None

    def remount(self):
        self.unmount()
        self.mount()

    def client(self):
        return ["posix", self.directory]

    def cpu_ns(self):
        """CPU time of the daemon so far, threads that ended included; None: there is no daemon."""
        if self.pid is None:
            return None
        try:
            return time.clock_gettime_ns(((~self.pid) << 3) | 2)  # clock_getcpuclockid(3)
        except OSError:
            return None

    def requests(self):
        """FUSE requests answered so far; None: it does not say."""
        return None


def allow_many_files():
    """For this process and its children: passthrough_ll holds a descriptor for each inode in use."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = int(Path("/proc/sys/fs/nr_open").read_text())
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    except (ValueError, OSError):  # not even every root may
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def check_uring():
    if not URING_SWITCH.exists():
        raise Unavailable("this kernel has no FUSE over io_uring")
    if URING_SWITCH.read_text().strip() != "Y" and os.geteuid() != 0:
        raise Unavailable("FUSE over io_uring is off, and only root can switch it on")


class Ours(Driver):
    """A daemon of this suite over one of its transports."""
    def __init__(self, bench, name, description, daemon, image_type, transport):
        super().__init__(bench, name, description)
        self.program = bench.build / "daemons" / daemon
        self.image_type, self.transport = image_type, transport
        self.pidfile = bench.folder / "pid"

    def check(self):
        if not self.program.exists():
            raise Unavailable(f"{self.program.name} is not built")
        if self.transport == "uring":
            check_uring()

    def mount(self):
        if self.transport == "uring":
            self.bench.enable_uring()
        words = [self.program, "-o", f"transport={self.transport},pidfile={self.pidfile}"]
        run(*words, *([self.image] if self.image_type else []), self.directory)
        self.pid = int(self.pidfile.read_text())

    def unmount(self):
        if is_mount(self.directory):
            try:
                run(self.bench.build / "daemons" / "rump_umount", self.directory)
            except RuntimeError:
                run("fusermount3", "-u", "-z", self.directory)
                raise
        self.pidfile.unlink(missing_ok=True)

    def requests(self):
        counters = json.loads(os.getxattr(self.directory, "user.rump.counters"))
        return sum(value for name, value in counters.items() if name.startswith("fuse.requests."))


class InProcess(Driver):
    in_process = True

    def __init__(self, bench, name, description, fs_type, image_type):
        super().__init__(bench, name, description)
        self.fs_type, self.image_type = fs_type, image_type

    def mount(self):
        pass

    def unmount(self):
        pass

    def client(self):
        return ["kernel", self.fs_type, *([self.image] if self.image_type else [])]

    def check(self):
        if self.fs_type not in self.bench.kernel_types:
            raise Unavailable(f"{self.fs_type} is not built")


class Fuse2fs(Driver):
    def check(self):
        if not shutil.which("fuse2fs"):
            raise Unavailable("fuse2fs is not installed")

    def mount(self):
        self.start("fuse2fs", "-f", "-o", "rw", self.image, self.directory)


class HostKernel(Driver):
    """The host's own ext4 driver, on a loop device."""
    def check(self):
        if os.geteuid() != 0:
            raise Unavailable("a loop mount needs root")

    def mount(self):
        run("mount", "-t", "ext4", "-o", "loop", self.image, self.directory)

    def unmount(self):
        if is_mount(self.directory):
            run("umount", self.directory)


class Passthrough(Driver):
    """libfuse's passthrough_ll, compiled from the examples that Debian installs, over tmpfs."""
    image_type = None
    SOURCE = Path("/usr/share/doc/libfuse3-dev/examples/passthrough_ll.c")

    def __init__(self, bench, name, description, one_cpu=False):
        super().__init__(bench, name, description)
        self.program = bench.folder / "passthrough_ll"
        self.source = bench.folder / "source"
        self.one_cpu = one_cpu

    def check(self):
        if not self.SOURCE.exists():
            raise Unavailable(f"there is no {self.SOURCE}")

    def mount(self):
        if not self.program.exists():
            flags = run("pkg-config", "--cflags", "--libs", "fuse3").split()
            run("gcc", "-O2", "-w", "-o", self.program, self.SOURCE, *flags)
        self.source.mkdir(exist_ok=True)
        self.start(self.program, "-f", "-o", f"source={self.source},cache=always,writeback", self.directory)

    def __exit__(self, *_):
        super().__exit__()
        shutil.rmtree(self.source, ignore_errors=True)


class Null(Driver):
    image_type = None
    plain_only = True

    def __init__(self, bench, name, description, transport):
        super().__init__(bench, name, description)
        self.transport = transport
        self.program = bench.build / "tests" / "bench" / "null_server"
        self.counter = bench.folder / "requests"

    def check(self):
        if not self.program.exists():
            raise Unavailable(f"{self.program.name} is not built")
        if self.transport == "uring":
            check_uring()

    def mount(self):
        scale = self.bench.scale
        options = []
        if self.transport == "uring":
            self.bench.enable_uring()
            options = ["--uring"]
        self.start(self.program, *options, "--big", scale["big"], "--parallel", scale["parallel"], "--per-directory",
                   scale["files"] // scale["directories"], "--counters", self.counter, self.directory)

    def requests(self):
        return struct.unpack("=Q", self.counter.read_bytes())[0]


def all_drivers(bench):
    """In the order of the table's columns."""
    return [
        Ours(bench, "ext2fs", "rump_ext2fs over /dev/fuse", "rump_ext2fs", "ext2", "dev"),
        Ours(bench, "ext2fs-uring", "rump_ext2fs over io_uring", "rump_ext2fs", "ext2", "uring"),
        Ours(bench, "ffs", "rump_ffs over /dev/fuse", "rump_ffs", "ffs", "dev"),
        Ours(bench, "msdos", "rump_msdos over /dev/fuse", "rump_msdos", "fat", "dev"),
        Ours(bench, "msdos-half", "the same, FAT32 of which every other cluster is bad", "rump_msdos", "fat-half", "dev"),
        Ours(bench, "exfat", "rump_exfat over /dev/fuse", "rump_exfat", "exfat", "dev"),
        Ours(bench, "tmpfs", "rump_tmpfs over /dev/fuse", "rump_tmpfs", None, "dev"),
        HostKernel(bench, "kernel", "Linux ext4 driver, ext2 image on a loop device"),
        Fuse2fs(bench, "fuse2fs", "fuse2fs of e2fsprogs"),
        Passthrough(bench, "ll", "libfuse's passthrough_ll over tmpfs"),
        Null(bench, "null", "a server that answers from nothing, over our /dev/fuse transport", "dev"),
        Null(bench, "null-uring", "the same over our io_uring transport", "uring"),
        InProcess(bench, "inproc", "ext2fs in the client's process, no FUSE", "ext2fs", "ext2"),
        InProcess(bench, "inproc-tmpfs", "tmpfs in the client's process: the cost of the layers above", "tmpfs", None),
        InProcess(bench, "inproc-ffs", "ffs in the client's process, no FUSE", "ffs", "ffs"),
    ]
