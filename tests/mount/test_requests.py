# How many requests an operation costs over FUSE, and that every lookup meets its forget. Numbers are
# what the protocol allows with a writeback cache; the requests that only the first file costs
# (learning that open and flush are not needed) are spent beforehand.
import functools
import os
import sys

from harness import (NOBODY, ROOT, Failure, Scratch, check, counters, drop_caches, equal, fuse_mount, main, need_root, requests,
                     wait_until)


def undisturbed(test):
    """The host's caches are everybody's: when somebody else drops them meanwhile, requests are more,
    never fewer. So the best of some attempts counts."""
    @functools.wraps(test)
    def attempts(scratch):
        for left in reversed(range(8)):
            try:
                with Scratch() as fresh:
                    return test(fresh)
            except Failure:
                if not left:
                    raise
        return None
    return attempts


def warm_up(where):
    with open(where + "/warm", "w", encoding="ascii") as file:
        file.write("x")
    with open(where + "/warm", encoding="ascii") as file:
        file.read()
    os.listdir(where)
    os.stat(where + "/warm")
    os.access(where + "/warm", os.R_OK)


def cost(where, operation):
    """The requests that `operation` causes, without those of asking (getxattr of the root)."""
    requests(where)
    before = requests(where)
    operation()
    after = requests(where)
    difference = {k: after[k] - before[k] for k in after if after[k] != before[k]}
    if ROOT:
        difference["getxattr"] = difference.get("getxattr", 0) - 2 # size and value
    else:
        difference.pop("getxattr", None) # and the root's ACL, at each step of another user through it
    return {k: v for k, v in difference.items() if v and k not in ("forget", "batch_forget", "interrupt")}


def at_most(where, number, operation, what):
    spent = cost(where, operation)
    check(sum(spent.values()) <= number, f"{what}: {spent}, wanted at most {number}")
    return spent


def make(path, size=4096):
    with open(path, "wb") as file:
        file.write(b"x" * size)


@undisturbed
def test_warm_stat_open_close_cost_nothing(scratch):
    with fuse_mount(scratch, "rump_tmpfs") as where:
        warm_up(where)
        path = where + "/warm"
        os.stat(path)
        equal(cost(where, lambda: os.stat(path)), {}, "stat")
        equal(cost(where, lambda: os.close(os.open(path, os.O_RDONLY))), {}, "open and close")
        # Where root may do everything, the host asks for access(2) and nothing else.
        at_most(where, 1, lambda: os.access(path, os.R_OK), "access")
        os.path.exists(where + "/absent")
        equal(cost(where, lambda: os.path.exists(where + "/absent")), {}, "a name that is not there")


def stat_as(uid, path, times):
    """os.stat by another user, of a path that begins at the root of all."""
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(uid)
            os.setuid(uid)
            for _ in range(times):
                os.stat(path)
            os._exit(0)
        except OSError:
            os._exit(1)
    equal(os.waitpid(child, 0)[1], 0, f"stat by user {uid}")


@undisturbed
def test_without_acls_a_warm_stat_of_another_user_costs_nothing(scratch):
    need_root()
    os.chmod(scratch.path, 0o755)
    with fuse_mount(scratch, "rump_tmpfs", options=["allow_other", "noacl"]) as where:
        warm_up(where)
        stat_as(NOBODY, where + "/warm", 1)
        equal(cost(where, lambda: stat_as(NOBODY, where + "/warm", 10)), {}, "stat")


@undisturbed
def test_create_costs_two(scratch):
    need_root()
    with fuse_mount(scratch, "rump_tmpfs") as where:
        warm_up(where)
        # mknod, not create: what create opens is released by one more.
        equal(cost(where, lambda: os.close(os.open(where + "/a", os.O_CREAT | os.O_WRONLY))),
              {"lookup": 1, "mknod": 1}, "create")
        at_most(where, 2, lambda: os.mkdir(where + "/d"), "mkdir")
        at_most(where, 2, lambda: os.symlink("x", where + "/s"), "symlink")


@undisturbed
def test_create_with_checked_permissions_costs_three(scratch):
    # The host throws a directory's attributes away when an entry comes, and asks for its mode anew.
    with fuse_mount(scratch, "rump_tmpfs", options=["default_permissions"]) as where:
        warm_up(where)
        path = where + "/warm"
        os.stat(path)
        equal(cost(where, lambda: os.access(path, os.R_OK)), {}, "access")
        at_most(where, 3, lambda: os.close(os.open(where + "/a", os.O_CREAT | os.O_WRONLY)), "create")


@undisturbed
def test_unlink_and_rename(scratch):
    need_root()
    # The host's writeback cache hands over a regular file's ctime when its names change: one more.
    with fuse_mount(scratch, "rump_tmpfs") as where:
        warm_up(where)
        for name in "ab":
            os.mkdir(f"{where}/{name}")
            make(f"{where}/f{name}")
        spent = at_most(where, 3, lambda: os.rename(where + "/fa", where + "/fc"), "rename")
        equal({k: v for k, v in spent.items() if k != "setattr"}, {"lookup": 1, "rename": 1}, "rename")
        at_most(where, 2, lambda: os.rename(where + "/a", where + "/c"), "rename of a directory")
        spent = at_most(where, 2, lambda: os.unlink(where + "/fb"), "unlink")
        equal(spent["unlink"], 1, "unlink")
        at_most(where, 1, lambda: os.rmdir(where + "/b"), "rmdir")


def read_whole(path):
    fd = os.open(path, os.O_RDONLY)
    os.read(fd, 4096)
    os.close(fd)


@undisturbed
def test_cold_small_file_costs_two_or_one_after_a_listing(scratch):
    need_root()
    with fuse_mount(scratch, "rump_tmpfs") as where:
        warm_up(where)
        os.mkdir(where + "/d")
        for i in range(10):
            make(f"{where}/d/f{i}")
        drop_caches()
        os.stat(where + "/d")
        equal(cost(where, lambda: read_whole(where + "/d/f0")), {"lookup": 1, "read": 1}, "cold read")
        drop_caches()
        os.listdir(where + "/d")
        for i in range(10):
            spent = cost(where, lambda n=i: read_whole(f"{where}/d/f{n}"))
            equal(spent, {"read": 1}, "after a listing")


@undisturbed
def test_listing_with_attributes_costs_few(scratch):
    need_root()
    with fuse_mount(scratch, "rump_tmpfs") as where:
        warm_up(where)
        os.mkdir(where + "/d")
        for i in range(1000):
            os.close(os.open(f"{where}/d/file{i}", os.O_CREAT | os.O_WRONLY))
        drop_caches()
        os.stat(where + "/d")

        def listing():
            equal(sum(1 for entry in os.scandir(where + "/d") if entry.stat().st_size == 0), 1000, "files")

        spent = cost(where, listing)
        equal(set(spent), {"readdirplus"}, "kinds")
        check(spent["readdirplus"] <= 50, spent)


@undisturbed
def test_large_transfers_use_large_requests(scratch):
    need_root()
    with fuse_mount(scratch, "rump_tmpfs", options=["size=64M"]) as where:
        warm_up(where)

        def write():
            with open(where + "/big", "wb", buffering=0) as file:
                for _ in range(16):
                    file.write(b"x" * (1 << 20))
                os.fsync(file.fileno())

        spent = cost(where, write)
        check(spent["write"] <= 32, f"16 MiB written: {spent}")
        drop_caches()
        os.stat(where + "/big")
        spent = cost(where, lambda: open(where + "/big", "rb").read())
        check(spent["read"] <= 200, f"16 MiB read: {spent}")


def test_every_lookup_meets_its_forget(scratch):
    need_root()
    with fuse_mount(scratch, "rump_tmpfs") as where:
        for i in range(50):
            os.makedirs(f"{where}/d{i}/e/f")
            for j in range(10):
                make(f"{where}/d{i}/e/{j}", 10)
            os.link(f"{where}/d{i}/e/0", f"{where}/d{i}/e/f/l")
            os.rename(f"{where}/d{i}/e/1", f"{where}/d{i}/e/f/m")
            os.unlink(f"{where}/d{i}/e/2")
        for _ in range(3):
            for _, _, _ in os.walk(where):
                pass
        check(counters(where)["fuse.nodes"] > 500, "nodes while in use")

        def dropped():
            drop_caches() # what others use just then stays
            return counters(where)["fuse.nodes"] == 0

        wait_until(dropped, "the host to drop its caches")
        values = counters(where)
        equal(values["fuse.forgets"], values["fuse.lookups"], "forgets")


def test_removed_files_are_forgotten_at_once(scratch):
    with fuse_mount(scratch, "rump_tmpfs") as where:
        for i in range(100):
            make(f"{where}/{i}", 10)
            os.unlink(f"{where}/{i}")
        # Over io_uring forgets come by another way, a little later.
        wait_until(lambda: counters(where)["fuse.nodes"] <= 2, "the nodes to go")


if __name__ == "__main__":
    main(sys.modules[__name__])
