#!/usr/bin/env python3
"""The tables of fat_name_cases.h against the rules as they are published, worked out a second time: the basis of a
short name, numeric tails and who needs a long entry (Microsoft FAT specification, 7; Windows' numbers 1 to 9, then
its checksum of the long name), and the table of capitals (exFAT specification, 7.2.5).

usage: fat_name_rules.py SOURCE_ROOT
"""
import pathlib
import re
import sys

SOURCE = pathlib.Path(sys.argv[1])
HEADER = (SOURCE / "tests/unit/fat_name_cases.h").read_text(encoding="utf-8")
TABLE = (SOURCE / "kernel/vfs/upcase_table.cc").read_text(encoding="utf-8")
STRINGS = r'(?:"(?:\\.|[^"\\])*"\s*)+'
ESCAPES = {"n": b"\n", "t": b"\t"}
# The exFAT specification gives it for the recommended table.
CAPITALS_CHECKSUM = 0xE619D30D


def c_string(text):
    out = b""
    for literal in re.findall(r'"((?:\\.|[^"\\])*)"', text):
        for octal, hexadecimal, unicode, other, plain in re.findall(
                r"\\([0-7]{1,3})|\\x([0-9a-f]{2})|\\u([0-9a-f]{4})|\\(.)|([^\\]+)", literal):
            out += (bytes([int(octal, 8)]) if octal else bytes([int(hexadecimal, 16)]) if hexadecimal
                    else chr(int(unicode, 16)).encode() if unicode else ESCAPES.get(other, other.encode()) if other
                    else plain.encode())
    return out


def rows(name):
    """Of one table of the header: lists of bytes, booleans and None."""
    body = HEADER[HEADER.index(name + "[] = {"):]
    body = re.sub(r"//.*", "", body[len(name) + 6:body.index("\n};")])
    for row in re.findall(r"\{((?:\s*(?:nullptr|true|false|%s),?)+)\s*\}" % STRINGS, body):
        yield [None if word == "nullptr" else word == "true" if word in ("true", "false") else c_string(word)
               for word in re.findall(r"nullptr|true|false|%s" % STRINGS, row)]


def capitals():
    """The upper case of each code unit."""
    packed = [int(n, 16) for n in re.findall(r"0x[0-9a-f]{4}", TABLE[TABLE.index("compressed_upcase_table"):])]
    checksum = 0
    for unit in packed:
        for byte in (unit & 0xFF, unit >> 8):
            checksum = ((checksum << 31 | checksum >> 1) + byte) & 0xFFFFFFFF
    assert checksum == CAPITALS_CHECKSUM, "not the published table: %#x" % checksum
    upper, at = list(range(65536)), 0
    words = iter(packed)
    for word in words:
        if word == 0xFFFF and at < 0xFFFF:
            at += next(words)
        else:
            upper[at] = word
            at += 1
    return upper


UPPER = capitals()


def units(text):
    raw = text.encode("utf-16-le", "surrogatepass")
    return [raw[i] | raw[i + 1] << 8 for i in range(0, len(raw), 2)]


def folded(name):
    return [UPPER[unit] for unit in units(name.rstrip(". "))]


def checksum(name):
    """Four digits of Windows NT: a sum over the long name, stirred, its digits from behind."""
    total = 0
    for unit in units(name):
        total = (total * 37 + unit) % 65536
    product = total * 314159269 % 2**32
    if product >= 2**31:
        product = 2**32 - product
    return ("%04X" % (product % 1000000007 % 65536))[::-1]


def oem(unit):
    """The character of a short name for a code unit; None: there is none."""
    letter = chr(UPPER[unit])
    try:
        letter.encode("cp437")
    except UnicodeEncodeError:
        return None
    return None if letter in "+,;=[]" else letter


def part(text, limit):
    """Of a name, and whether it is less than all."""
    kept = [unit for unit in units(text) if chr(unit) not in ". "]
    letters = [oem(unit) for unit in kept]
    loss = len(kept) < len(units(text)) or None in letters or len(letters) > limit
    return "".join(letter or "_" for letter in letters)[:limit], loss


def mixed(text):
    return any("a" <= c <= "z" for c in text) and any("A" <= c <= "Z" for c in text)


def short_name(name, taken):
    """The short name, and whether a long entry is needed."""
    name = name.rstrip(". ")
    stripped = name.lstrip(". ")
    base, dot, extension = stripped.rpartition(".")
    if not dot:
        base, extension = stripped, ""
    (base_part, base_loss), (extension_part, extension_loss) = part(base, 8), part(extension, 3)

    def whole(first):
        return first + ("." + extension_part if extension_part else "")
    if not (base_loss or extension_loss or stripped != name):
        return whole(base_part), mixed(base) or mixed(extension) or not name.isascii()
    candidates = [base_part[:6] + "~%d" % n for n in range(1, 10)] + [base_part[:2] + checksum(name) + "~1"]
    return next(whole(c) for c in candidates if whole(c) not in taken), True


def main():
    count, taken, wrong = 0, set(), []
    for name, expected, *long_entry in rows("name_cases"):
        if name is None:
            taken = set()
            continue
        count += 1
        found = short_name(name.decode(), taken)
        taken.add(found[0])
        if found != (expected.decode(), long_entry == [True]):
            wrong.append("%r: %r by the rules, %r %r in the table" % (name.decode(), found, expected.decode(), long_entry))
    for name, other, same in rows("fold_cases"):
        count += 1
        equal = folded(name.decode()) == folded(other.decode())
        if equal != same and short_name(name.decode(), set())[0] != other.decode():
            wrong.append("%s and %s: not %s" % (name.decode(), other.decode(), same))
    refused = re.findall(r'"(?:\\.|[^"\\])*"', HEADER[HEADER.index("refused_names[]"):])
    for text in refused:
        count += 1
        name = c_string(text)
        try:
            held = name.decode()
        except UnicodeDecodeError:
            continue
        if held.rstrip(". ") and not re.search(r'[\x00-\x1f"*/:<>?\\|]', held):
            wrong.append("%r: nothing forbids it" % held)
    print("\n".join(wrong))
    assert count >= 600, "only %d names were found" % count
    print("%d passed, %d failed, 0 skipped" % (count - len(wrong), len(wrong)))
    return 1 if wrong else 0


sys.exit(main())
