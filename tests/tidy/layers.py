# The layers of ARCHITECTURE.md: who may include what, and who may call the host.
import re

from source import cpp_files, lines_matching

# A layer is the longest prefix here that a file's path has. It may include itself and what is named.
KERNEL = ("hostshim/", "kernel/sys/", "kernel/kern/", "kernel/vfs/")
LAYERS = {
    "hostshim/": (),
    "kernel/sys/": ("hostshim/",),
    "kernel/kern/": ("hostshim/", "kernel/sys/"),
    "kernel/vfs/": ("hostshim/", "kernel/sys/", "kernel/kern/"),
    "kernel/net/": KERNEL,
    "images/": ("hostshim/", "kernel/sys/options.h"),
    "p2k/": KERNEL,
    "ukfs/": (*KERNEL, "images/", "kernel/fs/registry.h"),
}
# What several formats are made of: no file system, and known to these only.
LIBRARIES = {"kernel/fs/msdosfs/": ("kernel/fs/clusters/",), "kernel/fs/exfatfs/": ("kernel/fs/clusters/",)}
# The registry names every type; a file system knows itself only.
REGISTRY = ("kernel/fs/registry.cc", "kernel/fs/registry.h")
ANYTHING = ("daemons/", "tests/")
TOP = ("hostshim/", "kernel/", "images/", "p2k/", "ukfs/", "daemons/", "tests/")

INCLUDE = re.compile(r'^\s*#\s*include\s*(?P<what>"[^"]+"|<[^>]+>)')


def allowed(name):
    """Prefixes that `name` may include; None: no rule."""
    if name.startswith(ANYTHING):
        return None
    if name in REGISTRY:
        return ("kernel/", "hostshim/")
    fs = re.match(r"kernel/fs/[^/]+/", name)
    if fs:
        return (fs.group(), *LIBRARIES.get(fs.group(), ()), *KERNEL)
    for layer, below in LAYERS.items():
        if name.startswith(layer):
            return (layer, *below)
    return ()


def include_rules():
    """includes point down only"""
    for name in cpp_files():
        may = allowed(name)
        for number, match in lines_matching(name, INCLUDE):
            what = match["what"]
            path = what[1:-1]
            if what[0] == "<":
                if path.startswith(TOP):
                    yield f"{name}:{number}: {path} is ours: include it with quotes"
            elif not path.startswith(TOP):
                yield f"{name}:{number}: {path}: name the file from the project's root"
            elif may is not None and not path.startswith(may):
                yield f"{name}:{number}: {path}: this layer includes only {', '.join(may)}"


# Layers that are made of host calls. Everything else asks hostshim.
HOSTED = ("hostshim/", "images/", "p2k/", "daemons/", "ukfs/tool/", "tests/")

HOST_HEADER = re.compile(
    r"<(?:unistd|fcntl|pthread|signal|time|stdio|poll|dirent|sched|semaphore|ftw|glob|pwd|grp|dlfcn|spawn"
    r"|syslog|mntent|termios)\.h>"
    r"|<(?:sys/(?!types\.h)|linux/|netinet/|arpa/|net/|asm/)[^>]*>"
    r"|<(?:thread|mutex|shared_mutex|condition_variable|future|semaphore|latch|barrier|stop_token|chrono"
    r"|filesystem|fstream|iostream|ostream|istream|sstream|cstdio|ctime|csignal|random|print)>"
    r"|<(?:fuse|fuse3|spdlog|liburing|blkid|seccomp|libnbd|CLI)[/.][^>]*>|<(?:liburing|libnbd|archive)\.h>"
    r"|<fmt/(?:os|ostream|chrono|std)\.h>")

# Distinct names: a call in any form. Common words (read, open) count only with a leading "::".
HOST_CALL = re.compile(
    r"(?<![\w.>])(?:f?printf|v?dprintf|puts|fputs|putchar|perror|fopen|fdopen|freopen|getenv|setenv|putenv|system|popen"
    r"|gettimeofday|clock_gettime|clock_getres|nanosleep|usleep|localtime(?:_r)?|gmtime(?:_r)?|mktime"
    r"|s?rand|srandom|rand_r|drand48|getrandom|getentropy|arc4random\w*"
    r"|mmap|munmap|mremap|madvise|mlock|pread(?:v2?|64)?|pwrite(?:v2?|64)?|fdatasync|sync_file_range|posix_fadvise"
    r"|fork|vfork|exec[lv]p?e?|waitpid|wait4|getpid|gettid|getppid|getuid|geteuid|getgid|getegid|getgroups"
    r"|setuid|setgid|pthread_\w+|sched_\w+|syscall|prctl|sigaction|raise|openat|fstatat|lstat|mkdirat|unlinkat"
    r"|renameat2?|readlinkat|opendir|closedir|getcwd|chdir|socket|epoll_\w+|eventfd|timerfd_\w+|futex"
    r"|_exit|quick_exit|atexit)\s*\("
    r"|(?<![\w>])::(?:open|close|read|write|readv|writev|lseek|fsync|sync|ftruncate|truncate|fallocate|fstat|stat"
    r"|unlink|rename|link|symlink|mkdir|rmdir|ioctl|fcntl|flock|poll|dup2?|pipe2?|splice|sendfile|time|clock"
    r"|sleep|kill|access|chmod|chown|isatty|sysconf)\s*\("
    r"|\bstd::(?:j?thread|this_thread|(?:recursive_|timed_|shared_)*mutex|condition_variable\w*|async|future"
    r"|promise|chrono|filesystem|cout|cerr|clog|cin|[io]?fstream|random_device|mt19937\w*|uniform_\w+"
    r"|default_random_engine|lock_guard|unique_lock|scoped_lock|shared_lock|time|clock|terminate|abort|exit|getenv|print(?:ln)?)\b"
    r"|\bfmt::print\w*|\bspdlog::|\b__DATE__\b|\b__TIME__\b|\berrno\b")


def host_calls():
    """no host call outside hostshim, images, p2k, daemons, ukfs/tool and tests"""
    for name in cpp_files():
        if name.startswith(HOSTED) or not name.startswith(TOP):
            continue
        for pattern in (HOST_HEADER, HOST_CALL):
            for number, match in lines_matching(name, pattern):
                yield f"{name}:{number}: {match.group().strip()}: the host's; ask hostshim"


# `static` that can change: a variable, not a function (no parenthesis before the end of its name), not
# const. hostshim keeps lock ranks of a thread.
MUTABLE_STATIC = re.compile(
    r"^\s*(?:inline\s+)?(?:static|thread_local)\s+(?!.*\bconst(?:expr|init)?\b)(?:thread_local\s+)?"
    r"[\w:<>,&*\s]+?[\s&*](\w+)\s*(?:=[^=]|;|\{|\[)")


def mutable_statics():
    """no mutable statics outside hostshim and tests: a Kernel owns all state"""
    for name in cpp_files():
        if name.startswith(("hostshim/", "tests/")) or not name.startswith(TOP):
            continue
        for number, match in lines_matching(name, MUTABLE_STATIC):
            if "(" not in match.group():
                yield f"{name}:{number}: static {match[1]} can change"


def raw_memory():
    """the kernel uses no raw memory and no unbounded string functions"""
    pattern = re.compile(r"\b(?:malloc|calloc|realloc|alloca|strcpy|strcat|sprintf|gets)\s*\(")
    for name in cpp_files():
        if name.startswith("kernel/"):
            for number, match in lines_matching(name, pattern):
                yield f"{name}:{number}: {match.group()}"


CHECKS = (include_rules, host_calls, mutable_statics, raw_memory)
