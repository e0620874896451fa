#!/usr/bin/env python3
# The count that ./rump test ends with: every kind of test is counted as tests/README.md says.
import json
import subprocess
import sys
import tempfile
from pathlib import Path

COUNT = Path(__file__).resolve().parents[2] / "scripts" / "count_tests.py"

# what it shows, meson's result, standard output, passed, failed, skipped
CASES = (
    ("Catch2, all well", "OK", "=====\nAll tests passed (64 assertions in 12 test cases)\n", 12, 0, 0),
    ("Catch2, one case", "OK", "All tests passed (1 assertion in 1 test case)\n", 1, 0, 0),
    ("Catch2, some failed", "FAIL", "test cases: 10 | 7 passed | 3 failed\nassertions: 99 | 96 passed | 3 failed\n",
     7, 3, 0),
    ("Catch2, all failed", "FAIL", "test cases: 2 | 2 failed\nassertions: 2 | 2 failed\n", 0, 2, 0),
    ("a Catch2 case that skips", "OK", "SKIPPED: needs root\nAll tests passed (3 assertions in 4 test cases)\n",
     3, 0, 1),
    ("a sanitizer's report at exit", "FAIL", "All tests passed (3 assertions in 4 test cases)\n", 4, 1, 0),
    ("a crash before anything was printed", "FAIL", "", 0, 1, 0),
    ("a time-out", "TIMEOUT", "half a line", 0, 1, 0),
    ("nothing could run", "SKIP", "SKIPPED: no /dev/fuse\n", 0, 0, 1),
    ("a script's summary", "OK", "SKIPPED: x: why\n5 passed, 0 failed, 1 skipped\n", 5, 0, 1),
    ("a script's failures", "FAIL", "5 passed, 2 failed, 0 skipped\n", 5, 2, 0),
    ("a script that says all is well and exits with 1", "FAIL", "5 passed, 0 failed, 0 skipped\n", 5, 1, 0),
    ("a plain program", "OK", "hello\n", 1, 0, 0),
)


def count(records, *options):
    with tempfile.NamedTemporaryFile("w", suffix=".json") as log:
        for result, output in records:
            log.write(json.dumps({"name": "t", "result": result, "stdout": output}) + "\n")
        log.flush()
        run = subprocess.run([sys.executable, COUNT, *options, f"label={log.name}"], capture_output=True, text=True)
    return run.stdout.splitlines()[-1], run.returncode


def main():
    cases = []
    for name, result, output, *numbers in CASES:
        line = "{} passed, {} failed, {} skipped".format(*numbers)
        cases.append((name, count([(result, output)]), (line, 1 if numbers[1] or not numbers[0] else 0)))
    together = [(result, output) for _, result, output, *_ in CASES]
    sums = "{} passed, {} failed, {} skipped".format(*(sum(c[i] for c in CASES) for i in (3, 4, 5)))
    cases.append(("all together", count(together), (sums, 1)))
    cases.append(("a build that failed", count([("OK", "x")], "--failed", "1"), ("1 passed, 1 failed, 0 skipped", 1)))
    failed = 0
    for name, found, wanted in cases:
        if found != wanted:
            failed += 1
            print(f"FAILED: {name}: {found}, should be {wanted}")
    print(f"{len(cases) - failed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


sys.exit(main())
