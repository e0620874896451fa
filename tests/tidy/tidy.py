#!/usr/bin/env python3
# The house rules as a test: layers and host calls (layers.py), form of files and texts (here).
# usage: tidy.py [check...]     exit 0: all hold; 1: what does not, one line each; 77: nothing could run
import re
import shutil
import subprocess
import sys

import layers
from source import ROOT, code, cpp_files, files, lines_matching, text, with_suffix

WARN_LINES = 600
MOST_LINES = 1200


class Skip(Exception):
    pass


def file_sizes():
    """a source file has at most 1,200 lines; above 600 it is named"""
    for name in with_suffix(".cc", ".h", ".py", ".sh") + ["rump"]:
        if name not in files():
            continue
        count = len(text(name).splitlines())
        if count > MOST_LINES:
            yield f"{name}: {count} lines: it has two jobs"
        elif count > WARN_LINES:
            print(f"note: {name}: {count} lines, more than {WARN_LINES}")


def opening_comments():
    """a file opens with a comment that says what it is for"""
    for name in cpp_files() + scripts():
        lines = text(name).splitlines()
        mark = "//" if name.endswith((".cc", ".h")) else "#"
        if lines and lines[0].startswith("#!"):
            lines = lines[1:]
        if not lines or not (lines[0].startswith(mark) and len(lines[0].lstrip("#/ ")) > 8
                             or lines[0].startswith(("/*", '"""'))):
            yield f"{name}:1: say what the file is for"


def include_guards():
    """a header starts with #pragma once, and brings no namespace in"""
    using = re.compile(r"^\s*using\s+namespace\b")
    for name in with_suffix(".h"):
        if name.endswith("ukfs/ukfs.h"):
            continue  # for C programs: has a guard of its own
        if "#pragma once" not in code(name):
            yield f"{name}: no #pragma once"
        for number, _ in lines_matching(name, using):
            yield f"{name}:{number}: using namespace in a header"


def unfinished_words():
    """nothing is left for later"""
    words = "|".join(("TO" "DO", "FIX" "ME", "X" "XX", "not " "implemented", "un" "implemented"))
    pattern = re.compile(rf"\b(?:{words})\b")
    for name in files():
        if text(name) is None or name.endswith("STYLE.md"):
            continue
        for number, match in lines_matching(name, pattern, text(name)):
            yield f"{name}:{number}: {match.group()}"


def machine_paths():
    """no path of a particular machine, no tracker number"""
    pattern = re.compile(r"(?<![\w.$}~-])/(?:home|work|Users|farm)/\w|\bissues? #?\d+\b|\bsession \d")
    for name in files():
        if text(name) is not None:
            for number, match in lines_matching(name, pattern, text(name)):
                yield f"{name}:{number}: {match.group()}"


def white_space():
    """no tabs in code, no trailing blanks, a newline at the end"""
    for name in files():
        content = text(name)
        if not content or name.endswith((".svg", ".patch", ".json")):
            continue
        if not content.endswith("\n"):
            yield f"{name}: no newline at the end"
        for number, line in enumerate(content.splitlines(), 1):
            if line != line.rstrip():
                yield f"{name}:{number}: blanks at the end of the line"
            if "\t" in line and name.endswith((".cc", ".h", ".py", "meson.build")):
                yield f"{name}:{number}: a tab"


def format_clean():
    """clang-format has nothing to change"""
    tool = shutil.which("clang-format-14")
    if not tool:
        raise Skip("clang-format-14 is not installed (other versions format differently)")
    run = subprocess.run([tool, "--dry-run", "--style=file", *cpp_files()], cwd=ROOT, capture_output=True,
                         text=True)
    bad = {}
    for line in run.stderr.splitlines():
        match = re.match(r"(\S+?):(\d+):\d+: warning: code should be clang-formatted", line)
        if match:
            bad.setdefault(match[1], match[2])
    for name, number in bad.items():
        yield f"{name}:{number}: run clang-format-14 -i {name}"
    if run.returncode:
        yield run.stderr.strip()


def manual_pages():
    """mandoc has nothing to say about the manual pages"""
    if not shutil.which("mandoc"):
        raise Skip("mandoc is not installed")
    names = [n for n in files() if re.fullmatch(r"man/.*\.[1-9]", n)]
    if names:
        run = subprocess.run(["mandoc", "-T", "lint", "-W", "style", *names], cwd=ROOT,
                             capture_output=True, text=True)
        # Which pages and indexes this machine has is not the point.
        about_us = re.compile(r"(?!.*referenced manual not found)mandoc: man/")
        yield from filter(about_us.match, run.stdout.splitlines())


def scripts():
    """Files that a shell or Python runs."""
    def is_script(name):
        return name.endswith((".sh", ".py")) or re.match(r"#!.*\b(?:bash|sh|python3)\b", text(name) or "")
    return [n for n in files() if is_script(n)]


def shell_syntax():
    """bash and python can parse every script"""
    for name in scripts():
        if name.endswith(".py") or "python3" in text(name).partition("\n")[0]:
            try:
                compile(text(name), name, "exec")
            except SyntaxError as error:
                yield f"{name}:{error.lineno}: {error.msg}"
        else:
            run = subprocess.run(["bash", "-n", name], cwd=ROOT, capture_output=True, text=True)
            yield from run.stderr.splitlines()


CHECKS = (*layers.CHECKS, file_sizes, opening_comments, include_guards, unfinished_words, machine_paths,
          white_space, format_clean, manual_pages, shell_syntax)


def main(wanted):
    unknown = set(wanted) - {c.__name__ for c in CHECKS}
    if unknown:
        sys.exit(f"tidy: no check {', '.join(sorted(unknown))}; there are "
                 + ", ".join(c.__name__ for c in CHECKS))
    passed = failed = skipped = 0
    for check in CHECKS:
        if wanted and check.__name__ not in wanted:
            continue
        try:
            problems = list(check())
        except Skip as reason:
            print(f"SKIPPED: {check.__name__}: {reason}")
            skipped += 1
            continue
        print(f"{'FAILED' if problems else 'ok'}: {check.__name__}: {check.__doc__}")
        for problem in problems:
            print(f"    {problem}")
        passed += not problems
        failed += bool(problems)
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0 if passed else 77


sys.exit(main(sys.argv[1:]))
