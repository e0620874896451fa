# What the tidy checks read: the project's files as git knows them, and C++ text without its comments
# and strings.
import functools
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@functools.cache
def files():
    """Tracked and new files, without what .gitignore names; an unpacked archive has no git: all."""
    try:
        out = subprocess.run(
            ["git", "-c", f"safe.directory={ROOT}", "-C", ROOT, "ls-files", "-co", "-z",
             "--exclude-standard"], capture_output=True, check=True).stdout.decode()
        names = [n for n in out.split("\0") if n]
    except (OSError, subprocess.CalledProcessError):
        names = [str(p.relative_to(ROOT)) for p in ROOT.rglob("*")
                 if not any(part.startswith(("build", ".git")) for part in p.relative_to(ROOT).parts)]
    return sorted(n for n in names if (ROOT / n).is_file())


def with_suffix(*suffixes):
    return [n for n in files() if n.endswith(suffixes)]


def cpp_files():
    return with_suffix(".cc", ".h")


@functools.cache
def text(name):
    """None for what is not text (an image sample)."""
    data = (ROOT / name).read_bytes()
    if b"\0" in data:
        return None
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


TOKEN = re.compile(
    r"""//[^\n]*|/\*.*?\*/|R"(?P<tag>[^\s()\\]{0,16})\(.*?\)(?P=tag)"|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])+'""",
    re.DOTALL)


@functools.cache
def code(name):
    """The text with comments and literals blanked, line numbers kept. #include lines stay whole."""
    def blank(match):
        token = match.group()
        line_start = match.string.rfind("\n", 0, match.start()) + 1
        if token.startswith('"') and match.string[line_start:match.start()].lstrip().startswith("#include"):
            return token
        return re.sub(r"[^\n]", " ", token)
    # 1'000'000 is a number, not a character
    return TOKEN.sub(blank, re.sub(r"(?<=[0-9a-fA-F])'(?=[0-9a-fA-F])", "_", text(name) or ""))


def lines_matching(name, pattern, source=None):
    for number, line in enumerate((source or code(name)).splitlines(), 1):
        match = pattern.search(line)
        if match:
            yield number, match
