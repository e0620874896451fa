#!/usr/bin/env python3
# ./rump bench: runs the client's workloads on each driver, in interleaved rounds, image in memory, and
# reports medians. What is measured is measured by the client (client.cc); this mounts, asks and counts.
import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import corpus
import report
from drivers import URING_SWITCH, Unavailable, all_drivers, allow_many_files

FULL = {"files": 10_000, "directories": 100, "big": 512, "random": 20_000, "parallel": 32}
QUICK = {"files": 2_000, "directories": 100, "big": 64, "random": 4_000, "parallel": 4}
SETTLE = 0.2  # seconds for what a driver still does after the caches were dropped


class ClientFailed(Exception):
    pass


class Client:
    """The client process of one session."""
    def __init__(self, bench, driver):
        words = [bench.client, *bench.client_options, *driver.client()]
        self.process = subprocess.Popen([str(w) for w in words], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=bench.log, text=True)

    def ask(self, command):
        try:
            self.process.stdin.write(command + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise ClientFailed(f"the client ended with {self.process.wait(10)}")
        answer = json.loads(line)
        if "error" in answer:
            raise ClientFailed(answer["error"])
        return answer

    def close(self):
        try:
            self.process.stdin.close()
        except BrokenPipeError:
            pass
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Bench:
    def __init__(self, options):
        self.build = Path(options.build).resolve()
        self.client = self.build / "tests" / "bench" / "bench_client"
        self.scale = QUICK if options.quick else FULL
        self.image_mib = 2048 if not options.quick else 512
        memory = Path("/dev/shm") # of a container it may be tiny
        if not memory.is_dir() or shutil.disk_usage(memory).free < self.image_mib << 20:
            memory = Path(tempfile.gettempdir())
            print(f"/dev/shm has no room for images: they are in {memory}, on a disk maybe", file=sys.stderr)
        self.folder = Path(tempfile.mkdtemp(prefix="rump-bench.", dir=memory))
        os.chmod(self.folder, 0o755)
        self.log = open(self.folder / "log", "w+")
        self.client_options = [w for key, value in self.scale.items() for w in (f"--{key}", value)]
        self.workloads = json.loads(subprocess.run([self.client, "list"], check=True, capture_output=True).stdout)
        self.kernel_types = subprocess.run([self.client, "types"], check=True, capture_output=True,
                                           text=True).stdout.split()
        self.root = os.geteuid() == 0
        self.uring_before = None

    def build_type(self):
        """How what is measured was compiled: "debugoptimized" is what users get."""
        options = json.loads((self.build / "meson-info" / "intro-buildoptions.json").read_text())
        values = {option["name"]: option["value"] for option in options}
        return values["buildtype"] + ("" if values["b_sanitize"] == "none" else f", {values['b_sanitize']} sanitizer")

    def make_corpus(self):
        self.client_options += ["--source-tree", corpus.make_source_tree(self.folder),
                                "--repository", corpus.make_repository(self.folder)]

    def enable_uring(self):
        if URING_SWITCH.read_text().strip() != "Y":
            self.uring_before = URING_SWITCH.read_text()
            URING_SWITCH.write_text("1")

    def close(self):
        if self.uring_before is not None:
            URING_SWITCH.write_text(self.uring_before)
        self.log.close()
        shutil.rmtree(self.folder)

    def drop_caches(self, driver, client):
        if driver.in_process:
            client.ask("drop")
            return
        client.ask("sync")
        if self.root and os.access("/proc/sys/vm/drop_caches", os.W_OK):
            Path("/proc/sys/vm/drop_caches").write_text("3")
        else:
            driver.remount()  # a new mount has nothing cached
        time.sleep(SETTLE)

    def measure(self, workload, driver, client):
        name = workload["name"]
        client.ask(f"prepare {name}")
        if workload["cold"]:
            self.drop_caches(driver, client)
        cpu, requests = driver.cpu_ns(), driver.requests()
        one = client.ask(f"run {name}")
        cpu_after, requests_after = driver.cpu_ns(), driver.requests()
        client.ask(f"finish {name}")
        one["rate"] = (one["bytes"] / 1e6 if one["bytes"] else one["operations"]) / one["seconds"]
        one["cpu_us_per_operation"] = (cpu_after - cpu) / 1e3 / one["operations"] if cpu is not None else None
        one["requests_per_operation"] = ((requests_after - requests) / one["operations"]
                                         if requests is not None else None)
        return one

    def session(self, driver, workloads, wanted, results):
        """One round of one driver: all workloads on a fresh file system."""
        with driver:
            client = Client(self, driver)
            try:
                for workload in workloads:
                    if (driver.plain_only and not workload["plain"]) or (driver.in_process and workload["programs"]):
                        continue
                    try:
                        one = self.measure(workload, driver, client)
                    except ClientFailed as failure:
                        results.fail(workload["name"], driver.name, str(failure))
                        if client.process.poll() is not None:
                            return
                        continue
                    if workload["name"] in wanted:
                        results.add(workload["name"], driver.name, one)
            finally:
                client.close()


# A workload that uses what another one made.
NEEDS = {
    "write-small": ["create"], "stat-warm": ["create"], "stat-cold": ["create"], "readdir-stat": ["create"],
    "read-small": ["create", "write-small"], "rename": ["create"], "unlink": ["create", "rename"],
    "seq-read-cold": ["seq-write"], "seq-read-warm": ["seq-write"], "rand-read": ["seq-write"],
    "rand-write": ["seq-write"], "rand-write-fsync": ["seq-write"], "read-1": ["write-1"], "read-8": ["write-8"],
    "create-1": ["create"], "create-8": ["create"], "mixed": ["create", "create-8"], "tar": ["untar"],
    "rm": ["untar"],
}


def choose(workloads, only):
    """The workloads to run, and the names to report."""
    names = [w["name"] for w in workloads]
    if not only:
        return workloads, set(names)
    wanted = {n for n in names if any(n == o or n.startswith(o + "-") for o in only)}
    unknown = [o for o in only if not any(n == o or n.startswith(o + "-") for n in names)]
    if unknown:
        sys.exit(f"bench: no workload {', '.join(unknown)}; there are {' '.join(names)}")
    needed = wanted.union(*(NEEDS.get(n, []) for n in wanted))
    return [w for w in workloads if w["name"] in needed], wanted


def choose_drivers(bench, wanted):
    drivers = all_drivers(bench)
    names = [d.name for d in drivers]
    unknown = [w for w in wanted if w not in names]
    if unknown:
        sys.exit(f"bench: no driver {', '.join(unknown)}; there are {' '.join(names)}")
    usable = []
    for driver in drivers:
        if wanted and driver.name not in wanted:
            continue
        try:
            driver.check()
            usable.append(driver)
        except Unavailable as reason:
            print(f"SKIPPED: {driver.name}: {reason}")
    if not usable:
        sys.exit("bench: no driver can run here")
    return usable


def parse(arguments):
    parser = argparse.ArgumentParser(prog="rump bench")
    parser.add_argument("--build", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--quick", action="store_true", help="a fifth of the work, one round, no programs")
    parser.add_argument("--only", default="", help="workloads, separated by commas")
    parser.add_argument("--drivers", default="", help="drivers, separated by commas")
    parser.add_argument("--rounds", type=int, help="3, or 1 with --quick")
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--svg", metavar="FILE")
    return parser.parse_args(arguments)


def main(arguments):
    options = parse(arguments)
    def stop(number, _):
        sys.exit(128 + number)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    allow_many_files()
    bench = Bench(options)
    try:
        workloads, wanted = choose(bench.workloads, [o for o in options.only.split(",") if o])
        if bench.build_type() not in ("debugoptimized", "release"):
            print(f"note: this build is \"{bench.build_type()}\": slower than what users get")
        drivers = choose_drivers(bench, [d for d in options.drivers.split(",") if d])
        if options.quick:
            workloads = [w for w in workloads if not w["programs"]]
        if any(w["programs"] for w in workloads):
            bench.make_corpus()
        shown = [(w["name"], w["description"]) for w in workloads if w["name"] in wanted]
        results = report.Results(shown, {d.name: d.description for d in drivers})
        date = time.strftime("%Y-%m-%dT%H:%M:%S%z")
        rounds = options.rounds or (1 if options.quick else 3)
        for number in range(rounds):
            for driver in drivers:
                start = time.monotonic()
                print(f"round {number + 1} of {rounds}: {driver.name} …", end="", flush=True)
                try:
                    bench.session(driver, workloads, wanted, results)
                    print(f" {time.monotonic() - start:.0f} s")
                except RuntimeError as failure:
                    results.fail("mount", driver.name, str(failure))
                    print(f" failed: {failure}")
        report.print_tables(results)
        if options.json:
            report.write_json(results, options.json, {**bench.scale, "build": bench.build_type()}, date)
        if options.svg:
            report.write_svg(results, options.svg)
        return 1 if results.failures else 0
    finally:
        bench.close()


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
