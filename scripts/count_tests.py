#!/usr/bin/env python3
# Counts test cases in meson's logs of several runs, shows what failed, and prints the closing line.
# usage: count_tests.py [--failed N] LABEL=testlog.json...     exit 1 when anything failed or nothing ran
import argparse
import json
import re
import sys

ALL_PASSED = re.compile(r"^All tests passed \(.*?in (\d+) test cases?\)", re.M)
SOME_FAILED = re.compile(r"^test cases:\s*(\d+)((?:\s*\|\s*\d+ [a-z ]+)+)", re.M)
SUMMARY = re.compile(r"^(\d+) passed, (\d+) failed, (\d+) skipped$", re.M)
SKIPPED_CASE = re.compile(r"^\s*SKIPPED: .*", re.M)


def cases(test):
    """passed, failed, skipped of one executable; see tests/README.md, "What a test prints"."""
    result, out = test["result"], test.get("stdout") or ""
    passed = failed = skipped = 0
    summary = SUMMARY.findall(out)
    catch_ok, catch_bad = ALL_PASSED.findall(out), SOME_FAILED.findall(out)
    if result == "SKIP":
        return 0, 0, 1
    if summary:
        passed, failed, skipped = (int(n) for n in summary[-1])
    elif catch_ok:
        passed = int(catch_ok[-1])
    elif catch_bad:
        bad = re.search(r"(\d+) failed", catch_bad[-1][1])
        failed = int(bad[1]) if bad else 0
        passed = int(catch_bad[-1][0]) - failed
    elif result == "OK":
        passed = 1
    if not summary:  # inside Catch2, a case that skips returns: it counted as passed
        skipped = min(len(SKIPPED_CASE.findall(out)), passed)
        passed -= skipped
    if result not in ("OK", "EXPECTEDFAIL") and failed == 0:
        failed = 1  # crash, sanitizer report, time-out
    return passed, failed, skipped


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--failed", type=int, default=0, help="failures outside the logs")
    parser.add_argument("logs", nargs="*")
    args = parser.parse_args()
    total = [0, args.failed, 0]
    reasons = {}
    for spec in args.logs:
        label, _, path = spec.partition("=")
        count = [0, 0, 0]
        with open(path) as log:
            tests = [json.loads(line) for line in log if line.strip()]
        for test in tests:
            one = cases(test)
            count = [a + b for a, b in zip(count, one)]
            if one[1]:
                print(f"FAILED ({label}): {test['name']}: {test['result'].lower()}, {one[1]} of {sum(one)}")
            for line in SKIPPED_CASE.findall(test.get("stdout") or ""):
                reasons.setdefault(line.strip(), []).append(label)
        print(f"{label}: {count[0]} passed, {count[1]} failed, {count[2]} skipped in {len(tests)} executables")
        total = [a + b for a, b in zip(total, count)]
    for reason, labels in reasons.items():
        print(f"{reason} ({', '.join(sorted(set(labels)))})")
    print(f"{total[0]} passed, {total[1]} failed, {total[2]} skipped")
    return 1 if total[1] or total[0] == 0 else 0


sys.exit(main())
