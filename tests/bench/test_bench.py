#!/usr/bin/env python3
# The bench's own test: every workload runs at a small scale and says what it did, a failure is told as
# one, the report's files can be read back. No speed is asserted.
# usage: test_bench.py BENCH_CLIENT
import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import report

CLIENT = sys.argv[1]
PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
SIZE = ["65536"]  # KiB, the unit of both mke2fs -b 1024 and mkfs.fat -C
FILES, DIRECTORIES = 40, 4
SCALE = ["--files", FILES, "--directories", DIRECTORIES, "--big", 4, "--random", 50, "--parallel", 1]
OPERATIONS = {"create": FILES, "stat-warm": 5 * FILES, "readdir-stat": FILES, "unlink": FILES, "seq-write": 4,
              "rand-read": 50, "write-8": 8, "create-8": FILES, "mixed": FILES}


class Client:
    def __init__(self, *target):
        self.process = subprocess.Popen([CLIENT, *map(str, SCALE), *map(str, target)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        assert self.process.wait(300) == 0, "the client failed at the end"

    def ask(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


def run_all(client):
    for workload in json.loads(subprocess.run([CLIENT, "list"], capture_output=True, check=True).stdout):
        name = workload["name"]
        if workload["programs"]:
            continue
        assert client.ask(f"prepare {name}") == {}, name
        done = client.ask(f"run {name}")
        assert done.get("seconds", 0) > 0, (name, done)
        assert done["operations"] == OPERATIONS.get(name, done["operations"]) > 0, (name, done)
        assert client.ask(f"finish {name}") == {}, name


def workloads_run_on_a_directory():
    with tempfile.TemporaryDirectory(prefix="rump-test-bench.") as folder:
        with Client("posix", folder) as client:
            run_all(client)
        left = {p.name for p in Path(folder).rglob("*") if p.is_file()}
        assert left == {"big", *(f"p{n:05}" for n in range(8))}, left
        assert (Path(folder) / "big").stat().st_size == 4 << 20


def workloads_run_in_process():
    with Client("kernel", "tmpfs") as client:
        run_all(client)
        assert client.ask("drop") == {}


def run_on_image(fs_type, make, check):
    """Also the load of many threads on each file system, for the thread sanitizer; judged from outside."""
    types = subprocess.run([CLIENT, "types"], capture_output=True, check=True, text=True).stdout.split()
    assert fs_type in types, types
    with tempfile.TemporaryDirectory(prefix="rump-test-bench.") as folder:
        image = f"{folder}/image"
        subprocess.run([*make, image, *SIZE], check=True, capture_output=True, env={"PATH": PATH})
        with Client("kernel", fs_type, image) as client:
            run_all(client)
            assert client.ask("drop") == {}
        checked = subprocess.run([*check, image], capture_output=True, text=True, env={"PATH": PATH})
        assert checked.returncode == 0, checked.stdout


def workloads_leave_a_clean_ext2():
    run_on_image("ext2fs", ["mke2fs", "-q", "-t", "ext2", "-b", "1024"], ["e2fsck", "-fn"])


def workloads_leave_a_clean_fat():
    run_on_image("msdosfs", ["mkfs.fat", "-F", "32", "-C"], ["fsck.fat", "-n"])


def a_failure_is_told():
    with tempfile.TemporaryDirectory(prefix="rump-test-bench.") as folder, Client("posix", folder) as client:
        assert "d00" in client.ask("run stat-cold")["error"]
        assert "nonsense" in client.ask("run nonsense")["error"]
        assert client.ask("prepare create") == {}


def report_files_can_be_read():
    results = report.Results([("create", "create, <empty>"), ("seq-read", "read")], {"a": "A", "b": "B"})
    for rate in (3.0, 1.0, 2.0):
        results.add("create", "a", {"rate": rate, "bytes": 0, "requests_per_operation": 2.0,
                                    "cpu_us_per_operation": None})
        results.add("seq-read", "b", {"rate": rate * 1000, "bytes": 1, "requests_per_operation": None,
                                      "cpu_us_per_operation": None})
    results.fail("create", "b", "why")
    assert results.median("create", "a") == 2.0 and results.unit("seq-read") == "MB/s"
    with tempfile.TemporaryDirectory(prefix="rump-test-bench.") as folder:
        report.write_json(results, f"{folder}/r.json", {"files": 1}, "now")
        report.write_svg(results, f"{folder}/r.svg")
        read = json.loads(Path(folder, "r.json").read_text())
        assert {(r["workload"], r["driver"], r["median"]) for r in read["results"]} == {
            ("create", "a", 2.0), ("seq-read", "b", 2000.0)}
        assert read["failures"] == [{"workload": "create", "driver": "b", "reason": "why"}]
        texts = [t.text for t in ElementTree.parse(f"{folder}/r.svg").iter() if t.tag.endswith("text")]
        assert "create, <empty>" in texts and "2.00 ops/s" in texts, texts


def the_limit_is_told_with_its_reason():
    names = [w["name"] for w in json.loads(subprocess.run([CLIENT, "list"], capture_output=True, check=True).stdout)
             if w["plain"]]
    assert set(names) == set(report.BEYOND_NULL), set(names) ^ set(report.BEYOND_NULL)
    results = report.Results([("rename", "rename")], {"ext2fs": "", "ext2fs-uring": "", "inproc": "", "null": ""})
    for driver, rate in (("inproc", 90.0), ("ext2fs-uring", 30.0), ("ext2fs", 15.0), ("null", 20.0)):
        results.add("rename", driver, {"rate": rate, "bytes": 0})
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        report.print_tables(results)
    lines = [line.split() for line in text.getvalue().splitlines() if report.BEYOND_NULL["rename"] in line]
    assert [line[:3] for line in lines] == [["rename", "0.75", "ext2fs"]], text.getvalue()


def main():
    failed = 0
    cases = (workloads_run_on_a_directory, workloads_run_in_process, workloads_leave_a_clean_ext2,
             workloads_leave_a_clean_fat, a_failure_is_told, report_files_can_be_read,
             the_limit_is_told_with_its_reason)
    for case in cases:
        try:
            case()
            print(f"ok: {case.__name__}")
        except Exception as problem:  # each case is told on its own
            print(f"FAILED: {case.__name__}: {type(problem).__name__}: {problem}")
            failed += 1
    print(f"{len(cases) - failed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


sys.exit(main())
