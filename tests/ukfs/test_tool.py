# The `ukfs` command on ext2 images: trees in and out, every change, refusals, exit codes. What it leaves is
# judged by e2fsck.
import filecmp
import hashlib
import itertools
import json
import os
import stat
import subprocess
import sys
import tempfile
import traceback

UKFS = os.environ.get("RUMP_UKFS", "build/ukfs/ukfs")
ROOT = os.geteuid() == 0


def ukfs(*arguments, code=0, stdin=None, binary=False):
    """Runs the command; its standard output. Exit codes other than `code` are failures."""
    done = subprocess.run([UKFS, *arguments], input=stdin, capture_output=True, check=False)
    assert done.returncode == code, (arguments, done.returncode, done.stderr.decode())
    if code == 0:
        assert not done.stderr, (arguments, done.stderr.decode())
    return done.stdout if binary else done.stdout.decode(errors="surrogateescape")


def refusal(*arguments, code=1):
    """What a command that fails says: one line, and nothing on standard output."""
    done = subprocess.run([UKFS, *arguments], capture_output=True, check=False)
    assert done.returncode == code, (arguments, done.returncode, done.stderr.decode())
    text = done.stderr.decode()
    assert text.startswith("ukfs: ") and text.count("\n") == 1, text
    assert not done.stdout, done.stdout
    return text


def image_in(scratch, name="image", megabytes=16, *more):
    path = os.path.join(scratch, name)
    with open(path, "wb") as file:
        file.truncate(megabytes << 20)
    subprocess.run(["mke2fs", "-q", "-F", "-t", "ext2", *more, path], check=True,
                   stdout=subprocess.DEVNULL)
    return path


def fsck(image):
    done = subprocess.run(["e2fsck", "-fn", image], capture_output=True, check=False)
    assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()


def digest(path):
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def make_tree(top):
    os.makedirs(os.path.join(top, "dir/deeper"))
    with open(os.path.join(top, "dir/file"), "wb") as file:
        file.write(b"hello\n" * 5000)
    with open(os.path.join(top, "empty"), "wb"):
        pass
    with open(os.path.join(top, "sparse"), "wb") as file:
        file.seek(3 << 20)
        file.write(b"end")
        file.truncate(4 << 20)
    os.link(os.path.join(top, "dir/file"), os.path.join(top, "hard"))
    os.symlink("dir/file", os.path.join(top, "short"))
    os.symlink("x" * 200, os.path.join(top, "long"))
    os.mkfifo(os.path.join(top, "fifo"), 0o640)
    with open(os.path.join(top, b"bytes-\xff".decode(errors="surrogateescape")), "wb") as file:
        file.write(b"\0" * 10)
    os.chmod(os.path.join(top, "dir"), 0o2750)
    os.chmod(os.path.join(top, "hard"), 0o4711)
    os.utime(os.path.join(top, "dir/deeper"), ns=(-10**18, 123456789))
    os.utime(os.path.join(top, "short"), ns=(5, 6 * 10**9 + 7), follow_symlinks=False)
    if ROOT:
        os.chown(os.path.join(top, "empty"), 1234, 4321)
        os.mknod(os.path.join(top, "null"), 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    try:
        os.setxattr(os.path.join(top, "hard"), "user.mime", b"text\0plain")
    except OSError:
        pass  # a host file system without them


def facts(top):
    """Everything about a tree that a copy keeps."""
    found = {}
    for folder, _, names in os.walk(top):
        for path in [folder] + [os.path.join(folder, name) for name in names]:
            s = os.lstat(path)
            key = os.path.relpath(path, top)
            value = [stat.S_IFMT(s.st_mode), stat.S_IMODE(s.st_mode), s.st_mtime_ns, s.st_rdev,
                     s.st_nlink if not stat.S_ISDIR(s.st_mode) else None]
            if ROOT:
                value += [s.st_uid, s.st_gid]
            if stat.S_ISLNK(s.st_mode):
                value.append(os.readlink(path))
            if stat.S_ISREG(s.st_mode):
                value += [s.st_size, digest(path)]
                value.append({n: os.getxattr(path, n) for n in os.listxattr(path)
                              if n.startswith("user.")})
            found[key] = value
    return found


def test_newfs_takes_options_as_the_types_own_does(scratch):
    image = os.path.join(scratch, "bsd")
    ukfs("newfs", "-t", "ffs", "--size", "24M", "-O", "2", "-b", "16k", "-f", "2048", "-m", "1", "-V", "a label",
         "-B", "be", "-l", "1m", "--ea", image)
    found = json.loads(ukfs("info", "--json", image))
    assert (found["version"], found["block_size"], found["fragment_size"]) == ("UFS2 with attributes", 16384, 2048)
    assert (found["byte_order"], found["label"], found["features"]) == ("big", "a label", "log-at-end")
    ukfs("check", "-f", image)
    refusal("newfs", "-t", "ffs", "--force", "-O", "7", image)
    refusal("newfs", "-t", "ffs", "--force", image, "-O")
    ukfs("newfs", "-t", "ffs", "--force", "-o", "O=1,b=8k", "-f", "1k", image)
    assert json.loads(ukfs("info", "--json", image))["block_size"] == 8192
    ukfs("newfs", "-t", "msdos", "--size", "24M", "--force", "--fat", "16", image)
    assert ukfs("-V") == ukfs("--version")


def test_tree_in_and_out(scratch):
    source, image = os.path.join(scratch, "source"), image_in(scratch)
    make_tree(source)
    ukfs("put", image, source, "/")
    fsck(image)
    ukfs("get", image, "/source", os.path.join(scratch, "back"))
    here, there = facts(source), facts(os.path.join(scratch, "back"))
    if not ROOT:  # set-id bits leave with an owner that is not given
        for tree in (here, there):
            for value in tree.values():
                value[1] &= 0o1777
    assert here == there, [(k, here.get(k), there.get(k)) for k in here | there
                           if here.get(k) != there.get(k)]
    # Holes stayed holes, there and back.
    blocks = ukfs("stat", image, "/source/sparse").split("blocks: ")[1].split()[0]
    assert int(blocks) < 200, blocks
    assert os.stat(os.path.join(scratch, "back/sparse")).st_blocks < 200


def test_put_contents_and_streams(scratch):
    source, image = os.path.join(scratch, "source"), image_in(scratch)
    os.mkdir(source)
    with open(os.path.join(source, "a"), "w", encoding="ascii") as file:
        file.write("1")
    ukfs("put", image, source + "/.", "/")
    assert ukfs("ls", image, "/").split() == ["a", "lost+found"]
    ukfs("put", image, os.path.join(source, "a"), "/renamed")
    ukfs("put", image, "-", "/typed", stdin=b"abc\0")
    assert ukfs("cat", image, "/renamed", "/typed", binary=True) == b"1abc\0"
    assert ukfs("get", image, "/typed", "-", binary=True) == b"abc\0"
    os.mkdir(os.path.join(scratch, "out"))
    ukfs("get", image, "/", os.path.join(scratch, "out"))
    assert sorted(os.listdir(os.path.join(scratch, "out"))) == ["a", "lost+found", "renamed",
                                                                "typed"]
    fsck(image)


def test_changes(scratch):
    image = image_in(scratch)
    ukfs("mkdir", "-p", image, "/a/b/c")
    ukfs("touch", image, "/a/file")
    ukfs("truncate", "-s", "70000", image, "/a/file")
    ukfs("ln", image, "/a/file", "/a/second")
    ukfs("ln", "-s", image, "file", "/a/link")
    ukfs("chmod", image, "u=rw,go=", "/a/link")
    ukfs("chown", image, "7:8", "/a/file")
    ukfs("mknod", "-m", "600", image, "/a/device", "c", "10", "200")
    ukfs("xattr", image, "/a/file", "user.x", "value")
    assert ukfs("xattr", image, "/a/file") == "user.x\n"
    assert ukfs("xattr", image, "/a/file", "user.x") == "value"
    line = ukfs("ls", "-l", image, "/a/file").split()
    assert line[:5] == ["-rw-------", "2", "7", "8", "70000"], line
    assert ukfs("readlink", image, "/a/link") == "file\n"
    assert " 10, 200 " in ukfs("ls", "-l", image, "/a/device")
    ukfs("cp", "-r", "-p", image, "/a", "/copy")
    assert ukfs("xattr", image, "/copy/second", "user.x") == "value"
    assert ukfs("ls", "-l", image, "/copy/file").split()[1] == "2"
    ukfs("cp", "-r", image, "/a", "/a/b")
    assert ukfs("ls", image, "/a/b/a").split() == ["b", "device", "file", "link", "second"]
    ukfs("mv", image, "/a/file", "/a/second", "/a/b/c")
    assert ukfs("ls", image, "/a/b/c").split() == ["file", "second"]
    ukfs("xattr", "-d", image, "/a/b/c/file", "user.x")
    ukfs("rm", "-r", image, "/copy", "/a/b")
    ukfs("rm", "-f", image, "/a/nothing")
    ukfs("rm", image, "/a/device", "/a/link")
    ukfs("rmdir", image, "/a")
    assert ukfs("ls", image).split() == ["lost+found"]
    fsck(image)


def test_looking_changes_no_byte(scratch):
    image = image_in(scratch)
    ukfs("mkdir", image, "/d")
    ukfs("put", image, "-", "/d/f", stdin=b"text")
    before = digest(image)
    for command in (["ls", "-laR"], ["info"], ["info", "--json"], ["check"], ["check", "-f"],
                    ["probe"], ["stat"], ["cat"], ["xattr"]):
        path = {"stat": ["/d"], "cat": ["/d/f"], "xattr": ["/d/f"]}.get(command[0], [])
        ukfs(*command, image, *path)
    ukfs("get", image, "/d", os.path.join(scratch, "out"))
    assert "Read-only" in refusal("-r", "touch", image, "/d/new")
    assert digest(image) == before
    ukfs("touch", "-o", "cow", image, "/d/new")
    assert digest(image) == before
    delta = os.path.join(scratch, "delta")
    ukfs("touch", "-o", "cow=" + delta, image, "/d/new")
    assert ukfs("ls", "-o", "cow=" + delta, image, "/d").split() == ["f", "new"]
    assert ukfs("ls", image, "/d").split() == ["f"]
    assert digest(image) == before


def test_newfs_check_info(scratch):
    image = os.path.join(scratch, "new")
    ukfs("newfs", "-t", "ext2fs", "--size", "8M", image)
    assert os.path.getsize(image) == 8 << 20
    fsck(image)
    assert "ext2" in refusal("newfs", "-t", "ext2fs", image)
    ukfs("newfs", "-t", "ext2fs", "--force", image)
    told = json.loads(ukfs("info", "--json", image))
    assert told["type"] == "ext2fs" and told["blocks"] > 0
    assert ukfs("probe", image).startswith("type    ext2fs\n")
    report = json.loads(ukfs("check", "-f", "--json", image))
    assert report["clean"] and report["exit_code"] == 0 and report["findings"] == []
    # A block that the map calls free although a file has it is found.
    ukfs("put", image, "-", "/f", stdin=b"x" * 5000)
    block = subprocess.run(["debugfs", "-R", "blocks /f", image], check=True,
                           capture_output=True).stdout.decode().split()[0]
    subprocess.run(["debugfs", "-w", "-R", "freeb " + block, image], check=True, capture_output=True)
    found = json.loads(ukfs("check", "-f", "--json", image, code=4))
    assert found["findings"] and not found["clean"]
    ukfs("check", "-f", "-y", image, code=1)
    fsck(image)
    assert json.loads(ukfs("check", "-f", "--json", image))["clean"]
    refusal("check", "/dev/null", code=8)


def test_refusals(scratch):
    image = image_in(scratch)
    other = os.path.join(scratch, "other")
    with open(other, "wb") as file:
        file.truncate(1 << 20)
    assert "No such file" in refusal("ls", os.path.join(scratch, "missing"))
    assert "directory" in refusal("ls", scratch)
    assert "no known file system" in refusal("ls", other)
    assert "nosuchfs" in refusal("ls", "-t", "nosuchfs", image)
    assert "unknown option" in refusal("ls", "-o", "nonsense", image)
    assert "/nothing: No such file" in refusal("cat", image, "/nothing")
    assert "too short" in refusal("touch", "-o", "size=64M", image, "/new")
    assert "not a mode" in refusal("chmod", image, "u!x", "/", code=2)
    assert "UID" in refusal("chown", image, "root", "/", code=2)
    refusal("rm", image, "/lost+found")
    refusal("rmdir", image, "/nothing")
    with open(os.path.join(scratch, "empty"), "wb"):
        pass
    assert "empty" in refusal("ls", os.path.join(scratch, "empty"))
    refusal(code=2)
    assert '"dance"' in refusal("dance", image, code=2)
    assert "image is required" in refusal("ls", code=2)
    assert "--nonsense" in refusal("ls", "--nonsense", image, code=2)
    assert "image is required" in refusal("check", code=16)
    assert "exclude each other" in refusal("check", "-n", "-y", image, code=16)
    assert "exclude each other" in refusal("check", "-r", "-y", image, code=16)
    fsck(image)


def test_only_directories_are_made_with_a_slash_behind(scratch):
    image, file = image_in(scratch), os.path.join(scratch, "file")
    with open(file, "wb"):
        pass
    for command in (["put", image, file], ["cp", image, "/f"]):
        ukfs("touch", image, "/f")
        assert "/none/: No such file" in refusal(*command, "/none/")
        assert "/f/: Not a directory" in refusal(*command, "/f/")
    missing = os.path.join(scratch, "none/")
    assert missing + ": No such file" in refusal("get", image, "/f", missing)
    assert file + "/: Not a directory" in refusal("get", image, "/f", file + "/")
    for command in (["put", image, scratch, "/a/"], ["cp", "-r", image, "/lost+found", "/b/"],
                    ["get", image, "/lost+found", missing]):
        ukfs(*command)
    assert ukfs("ls", image).split() == ["a", "b", "f", "lost+found"]
    fsck(image)


def test_a_full_standard_output_is_an_error(scratch):
    image = image_in(scratch)
    ukfs("put", image, "-", "/f", stdin=b"x")
    for command in (["ls", image], ["info", image], ["cat", image, "/f"], ["get", image, "/f", "-"],
                    ["types"], ["--help"], ["check", image]):
        with open("/dev/full", "wb") as full:
            done = subprocess.run([UKFS, *command], stdout=full, stderr=subprocess.PIPE, check=False)
        assert done.returncode == 1 and b"No space left" in done.stderr, (command, done)


def test_newfs_that_fails_changes_nothing(scratch):
    new, image = os.path.join(scratch, "new"), image_in(scratch)
    before = digest(image)
    assert "too small" in refusal("newfs", "-t", "ext2fs", "--size", "1000", new)
    assert not os.path.exists(new)
    assert "too small" in refusal("newfs", "-t", "ext2fs", "--force", "--size", "1000", image)
    refusal("newfs", "-t", "ext2fs", "--force", "-o", "block_size=5", "--size", "64M", image)
    assert digest(image) == before
    for size in (8, 24): # smaller and larger than it is
        ukfs("newfs", "-t", "ext2fs", "--force", "--size", f"{size}M", image)
        assert os.path.getsize(image) == size << 20
        fsck(image)


def test_closed_standard_descriptors(scratch):
    image = image_in(scratch)
    before = digest(image)
    done = subprocess.run(["sh", "-c", f"exec {UKFS} rm {image} /none <&- >&- 2>&-"], check=False)
    assert done.returncode == 1
    fsck(image)
    subprocess.run(["sh", "-c", f"exec {UKFS} ls {image} /none <&- >&- 2>&-"], check=False)
    subprocess.run(["sh", "-c", f"exec {UKFS} ls -o offset=512 {image} <&- >&- 2>&-"], check=False)
    fsck(image)
    assert ukfs("ls", image).split() == ["lost+found"], before


def test_messages_escape_control_characters(scratch):
    image = image_in(scratch, "image", 4)
    assert "/\\033[2J\\nx" in refusal("cat", image, "/\033[2J\nx")


def test_partitions(scratch):
    inner, disk = image_in(scratch, "inner", 4), os.path.join(scratch, "disk")
    ukfs("touch", inner, "/here")
    with open(disk, "wb") as file:
        file.truncate(8 << 20)
    subprocess.run(["sfdisk", "-q", disk], input=b"label: gpt\nstart=2048, size=8192, name=root\n",
                   check=True)
    subprocess.run(["dd", "if=" + inner, "of=" + disk, "bs=1M", "seek=1", "conv=notrunc"], check=True,
                   capture_output=True)
    for where in ([disk + "%PART:1%"], ["--part", "root", disk], ["-o", "part=1", disk],
                  ["-o", "offset=1M,size=4M", disk]):
        assert ukfs("ls", *where).split() == ["here", "lost+found"], where
    assert "root" in ukfs("parts", disk)
    assert "gpt" in refusal("ls", disk)
    assert "no partition 7" in refusal("ls", disk + "%PART:7%")
    before = digest(inner)
    ukfs("touch", "--part", "1", disk, "/new")
    assert ukfs("ls", "--part", "1", disk).split() == ["here", "lost+found", "new"]
    assert digest(inner) == before


def test_the_rest_of_an_image_whose_end_is_missing(scratch):
    image = image_in(scratch, "short", 4)
    ukfs("touch", image, "/here")
    os.truncate(image, 3 << 20)
    before = digest(image)
    assert "-o ro,size=4194304" in refusal("ls", image)
    assert "too short" in refusal("touch", "-o", "size=4M", image, "/new")
    assert ukfs("ls", "-o", "ro,size=4M", image).split() == ["here", "lost+found"]
    assert digest(image) == before


def test_hostile_names_stay_inside(scratch):
    image, out = image_in(scratch), os.path.join(scratch, "out")
    outside = os.path.join(scratch, "outside")
    os.mkdir(out)
    os.mkdir(outside)
    # On the host a link stands where the image has a directory: it is not followed.
    os.symlink(outside, os.path.join(out, "d"))
    ukfs("mkdir", image, "/d")
    ukfs("touch", image, "/d/f")
    done = subprocess.run([UKFS, "get", image, "/", out], capture_output=True, check=False)
    assert done.returncode == 1, done
    assert os.listdir(outside) == []


def test_a_directory_within_itself_ends(scratch):
    image = image_in(scratch)
    ukfs("mkdir", "-p", image, "/d/e")
    ukfs("touch", image, "/d/e/f")
    for place in ("/d/e/again", "/d/e/and-again"):
        subprocess.run(["debugfs", "-w", "-R", "ln /d " + place, image], check=True,
                       capture_output=True)
    for command in (["ls", "-R", image, "/d"], ["get", image, "/d", os.path.join(scratch, "out")],
                    ["cp", "-r", image, "/d", "/copy"]):
        done = subprocess.run([UKFS, *command], capture_output=True, check=False, timeout=60)
        assert done.returncode == 1, (command, done)
        assert b"elsewhere in the tree" in done.stderr, (command, done)
    assert os.path.exists(os.path.join(scratch, "out/e/f"))
    assert len([1 for _ in os.walk(os.path.join(scratch, "out"))]) < 10


def test_the_root_is_not_emptied(scratch):
    image = image_in(scratch)
    ukfs("mkdir", "-p", image, "/d/e")
    ukfs("touch", image, "/d/e/f")
    # In /d/e the root has a second name: what a damaged image says.
    subprocess.run(["debugfs", "-w", "-R", "ln / /d/e/top", image], check=True, capture_output=True)
    before = ukfs("ls", image)
    for path in ("/", "//", "/.", "/d/..", "/d/e/..", "/d/e/.", "/d/e/top"):
        assert "cannot be removed" in refusal("rm", "-r", image, path), path
        assert "cannot be removed" in refusal("rm", "-rf", image, path), path
    assert ukfs("ls", image) == before and ukfs("ls", image, "/d/e").split() == ["f", "top"]
    done = subprocess.run([UKFS, "rm", "-r", image, "/d"], capture_output=True, check=False)
    assert done.returncode == 1 and b"elsewhere in the tree" in done.stderr, done
    assert ukfs("ls", image).split() == ["d", "lost+found"]


def test_sizes_have_units(scratch):
    image = image_in(scratch)
    ukfs("touch", image, "/f")
    for text, size in (("5M", 5 << 20), ("3k", 3072), ("0", 0), ("7", 7), ("2g", 2 << 30)):
        ukfs("truncate", "-s", text, image, "/f")
        assert f"  size: {size}\n" in ukfs("stat", image, "/f"), text
    for text in ("", "M", "-1", "5x", "5MB", "1.5M", "99999999999999999999", "16777216T"):
        assert "not a size" in refusal("truncate", "-s", text, image, "/f", code=2), text
    for text in ("0", "M", "20000000T"):
        assert "not a size" in refusal("newfs", "-t", "ext2fs", "--size", text, scratch + "/new", code=2), text
    assert "--size" in refusal("newfs", "-t", "ext2fs", scratch + "/new")
    assert not os.path.exists(scratch + "/new")


def test_newfs_leaves_nothing_of_another_type(scratch):
    """Neither we nor the host's tools take the image for what it was."""
    image = os.path.join(scratch, "image")
    names = {"ext2fs": "ext2", "ffs": "ufs", "msdosfs": "vfat", "exfatfs": "exfat"}
    for before, after in itertools.permutations(names, 2):
        for kind in (before, after):
            ukfs("newfs", "-t", kind, "--size", "24M", "--force", image)
        assert ukfs("probe", image).split()[1] == after, (before, after)
        found = subprocess.run(["wipefs", "-nO", "TYPE", "--noheadings", image], check=True, capture_output=True)
        assert set(found.stdout.decode().split()) == {names[after]}, (before, found.stdout)
        ukfs("check", "-f", image)


def test_numbers_in_json_are_numbers(scratch):
    image = os.path.join(scratch, "image")
    for kind, label, numbers in (("ext2fs", "label=2024", ("inode_size", "revision", "groups", "mount_count")),
                                 ("ffs", "V=2024", ("cylinder_groups", "inodes_per_group", "superblock")),
                                 ("msdosfs", "label=2024", ("sector_size", "cluster_size", "clusters", "fats")),
                                 ("exfatfs", "label=2024", ("sector_size", "cluster_size", "clusters"))):
        ukfs("newfs", "-t", kind, "--size", "24M", "--force", "-o", label, image)
        told = json.loads(ukfs("info", "--json", image))
        assert told["label"] == "2024", told
        for name in (*numbers, "block_size", "blocks", "files_free"):
            assert isinstance(told[name], int), (kind, name, told[name])
        assert told["state"] == "clean", told
        report = json.loads(ukfs("check", "-f", "--json", image))
        assert {name: type(report[name]) for name in ("exit_code", "files", "clean")} == {
            "exit_code": int, "files": int, "clean": bool}


def test_large_directories(scratch):
    image, source = image_in(scratch), os.path.join(scratch, "many")
    os.mkdir(source)
    for number in range(1500):
        with open(os.path.join(source, f"n{number}"), "w", encoding="ascii") as file:
            file.write(str(number))
    ukfs("put", image, source, "/")
    fsck(image)
    ukfs("get", image, "/many", os.path.join(scratch, "back"))
    names = sorted(os.listdir(source))
    assert sorted(os.listdir(os.path.join(scratch, "back"))) == names
    same = filecmp.cmpfiles(source, os.path.join(scratch, "back"), names, shallow=False)[0]
    assert len(same) == 1500
    ukfs("rm", "-r", image, "/many")
    fsck(image)


def main():
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    for name, test in sorted(globals().items()):
        if not name.startswith("test_") or (sys.argv[1:] and name not in sys.argv[1:]):
            continue
        try:
            with tempfile.TemporaryDirectory(prefix="rump-test-") as scratch:
                test(scratch)
            counts["passed"] += 1
        except Exception:  # pylint: disable=broad-except
            print(f"FAILED: {name}")
            traceback.print_exc(file=sys.stdout)
            counts["failed"] += 1
    print(", ".join(f"{n} {what}" for what, n in counts.items()))
    sys.exit(1 if counts["failed"] else 0)


main()
