// Names and paths: what a name may be, and how a path is walked (POSIX.1-2017, 4.13).
#include "tests/conformance/helpers.h"

using namespace rump;
using namespace rump::conformance;

CONFORMANCE("a name of 255 bytes works everywhere") {
    const std::string longest(255, 'n');
    fs.write(longest, "x");
    CHECK(fs.read(longest) == "x");
    CHECK(fs.stat(longest) == ok);
    const std::string other(255, 'm');
    CHECK(fs.rename(longest, other) == ok);
    if (fs.traits.persistent) fs.reopen();
    CHECK(fs.read(other) == "x");
    CHECK(fs.unlink(other) == ok);
    CHECK(fs.mkdir(longest) == ok);
    CHECK(fs.rmdir(longest) == ok);
}

CONFORMANCE("a name has as many letters as it may, also of several bytes each") {
    fs.mkdir("d");
    // Of three bytes, of two, and of four, which are two code units where those are counted.
    for (const std::string letter : {"\u4e2d", "\u00e4", "\U0001f4be"}) {
        const size_t units = fs.traits.name_max > 255 ? 255 : 255 / letter.size();
        const size_t count = fs.traits.name_max > 255 && letter.size() == 4 ? units / 2 : units;
        std::string longest;
        for (size_t i = 0; i < count; ++i) longest += letter;
        fs.write("d/" + longest, "x");
        CHECK(fs.open("d/" + longest + letter, O_RDWR | O_CREAT) == Errno::nametoolong);
        CHECK(fs.stat("d/" + longest + letter) == Errno::nametoolong);
        CHECK(fs.list("d") == Names{longest});
        const std::string other = longest.substr(letter.size()) + "b";
        CHECK(fs.rename("d/" + longest, "d/" + other) == ok);
        if (fs.traits.persistent) fs.reopen();
        CHECK(fs.list("d") == Names{other});
        CHECK(fs.read("d/" + other) == "x");
        CHECK(fs.unlink("d/" + other) == ok);
        CHECK(fs.mkdir(longest) == ok);
        fs.write(longest + "/" + longest, "y");
        CHECK(fs.read(longest + "/" + longest) == "y");
        CHECK(fs.unlink(longest + "/" + longest) == ok);
        CHECK(fs.rmdir(longest) == ok);
    }
}

CONFORMANCE("a name of 256 bytes or more is ENAMETOOLONG, whatever is asked, and harms nothing") {
    fs.mkdir("d");
    fs.write("d/f", "x");
    for (size_t length : {256u, 300u, 1000u, 1024u, 2000u}) {
        const std::string name = "d/" + std::string(length, 'n');
        CHECK(fs.open(name, O_RDWR | O_CREAT) == Errno::nametoolong);
        CHECK(fs.open(name) == Errno::nametoolong);
        CHECK(fs.lstat(name) == Errno::nametoolong);
        CHECK(fs.mkdir(name) == Errno::nametoolong);
        CHECK(fs.mknod(name, FileType::fifo) == Errno::nametoolong);
        CHECK(fs.symlink("f", name) == Errno::nametoolong);
        CHECK(fs.link("d/f", name) == Errno::nametoolong);
        CHECK(fs.unlink(name) == Errno::nametoolong);
        CHECK(fs.rmdir(name) == Errno::nametoolong);
        CHECK(fs.rename("d/f", name) == Errno::nametoolong);
        CHECK(fs.rename(name, "d/g") == Errno::nametoolong);
        CHECK(fs.readlink(name) == Errno::nametoolong);
        CHECK(fs.stat(name + "/below") == Errno::nametoolong);
    }
    CHECK(fs.list("d") == Names{"f"});
    CHECK(fs.read("d/f") == "x");
}

CONFORMANCE("a name is any bytes but slash and NUL") {
    if (!fs.traits.any_bytes) return;
    fs.mkdir("d");
    Names made;
    for (int byte = 1; byte < 256; ++byte) {
        if (byte == '/' || byte == '.') continue;
        made.emplace_back(1, static_cast<char>(byte));
        fs.write("d/" + made.back(), std::to_string(byte));
    }
    std::sort(made.begin(), made.end());
    if (fs.traits.persistent) fs.reopen();
    CHECK(fs.list("d") == made);
    for (const std::string& name : made)
        CHECK(fs.read("d/" + name) == std::to_string(static_cast<unsigned char>(name[0])));
}

CONFORMANCE("names in UTF-8 come back as they were given") {
    const Names names{"Bär", "naïve café", "Ω", "слово", "日本語", "😀", "straße"};
    for (const std::string& name : names) fs.write(name, name);
    if (fs.traits.persistent) fs.reopen();
    for (const std::string& name : names) CHECK(fs.read(name) == name);
    const Names listed = fs.list(".").take();
    for (const std::string& name : names)
        CHECK(std::find(listed.begin(), listed.end(), name) != listed.end());
}

CONFORMANCE("names that differ in normalisation only are two names") {
    if (!fs.traits.any_bytes) return;
    fs.write("caf\xc3\xa9", "composed");
    fs.write("cafe\xcc\x81", "decomposed");
    CHECK(fs.read("caf\xc3\xa9") == "composed");
    CHECK(fs.read("cafe\xcc\x81") == "decomposed");
}

CONFORMANCE("case makes a difference where the format says so") {
    fs.write("File", "one");
    if (fs.traits.case_sensitive) {
        CHECK(fs.stat("file") == Errno::noent);
        fs.write("file", "two");
        CHECK(fs.read("File") == "one");
    } else {
        CHECK(fs.read("fILE") == "one");
        CHECK(fs.open("FILE", O_RDWR | O_CREAT | O_EXCL) == Errno::exist);
        CHECK(fs.rename("File", "FILE", vfs::RenameMode::no_replace) == Errno::exist);
        // The host takes two names of one file for links, which a rename leaves as they are.
        if (!fs.is_direct()) return;
        fs.rename("File", "FILE"); // changes how it is written
        const Names listed = fs.list(".").take();
        CHECK(std::find(listed.begin(), listed.end(), "FILE") != listed.end());
    }
}

CONFORMANCE("names that look special are names") {
    if (!fs.traits.any_bytes) return;
    const Names names{" ",  "  x", "x ", "-rf", "...",  ".hidden",
                      "a.", "con", "*",  "\\",  "a\nb", "~"};
    fs.mkdir("d");
    for (const std::string& name : names) fs.write("d/" + name, name);
    for (const std::string& name : names) CHECK(fs.read("d/" + name) == name);
    CHECK(fs.list("d")->size() == names.size());
}

CONFORMANCE("names with a long common beginning are kept apart") {
    const std::string stem(250, 's');
    for (int i = 0; i < 40; ++i) fs.write(stem + std::to_string(i), std::to_string(i));
    for (int i = 0; i < 40; ++i) CHECK(fs.read(stem + std::to_string(i)) == std::to_string(i));
    fs.unlink(stem + "7");
    CHECK(fs.stat(stem + "7") == Errno::noent);
    CHECK(fs.stat(stem) == Errno::noent);
    CHECK(fs.read(stem + "8") == "8");
}

CONFORMANCE("dot and dot-dot are there already and do not go") {
    fs.mkdir("d");
    fs.write("f", "");
    for (const char* name : {"d/.", "d/.."}) {
        CHECK(fs.mkdir(name) == Errno::exist);
        CHECK(fs.symlink("f", name) == Errno::exist);
        CHECK(fs.link("f", name) == Errno::exist);
        CHECK(fs.mknod(name, FileType::fifo) == Errno::exist);
        CHECK(fs.open(name, O_RDWR | O_CREAT | O_EXCL) == Errno::exist);
        CHECK(fails_with_one_of(fs.unlink(name), {Errno::isdir, Errno::perm, Errno::inval}));
        CHECK(fails_with_one_of(fs.rename(name, "x"), {Errno::busy, Errno::inval}));
        CHECK(fails_with_one_of(fs.rename("d", name),
                                {Errno::busy, Errno::inval, Errno::exist, Errno::notempty}));
    }
    CHECK(fs.rmdir("d/.") == Errno::inval);
    CHECK(fs.rmdir("d/..") == Errno::notempty);
    CHECK(fs.list("d") == Names{});
}

CONFORMANCE("the empty path is ENOENT") {
    CHECK(fs.stat("") == Errno::noent);
    CHECK(fs.open("", O_RDWR | O_CREAT) == Errno::noent);
    CHECK(fs.mkdir("") == Errno::noent);
    CHECK(fs.unlink("") == Errno::noent);
    CHECK(fs.rmdir("") == Errno::noent);
    fs.write("f", "");
    CHECK(fs.rename("f", "") == Errno::noent);
    CHECK(fs.rename("", "f") == Errno::noent);
    CHECK(fs.symlink("f", "") == Errno::noent);
}

CONFORMANCE("a trailing slash asks for a directory") {
    fs.write("f", "x");
    CHECK(fs.mkdir("d/") == ok);
    CHECK(fs.stat("d/") == ok);
    CHECK(fs.stat("f/") == Errno::notdir);
    CHECK(fs.lstat("f/") == Errno::notdir);
    CHECK(fs.open("f/") == Errno::notdir);
    CHECK(fs.open("new/", O_RDWR | O_CREAT) == Errno::isdir);
    CHECK(fs.unlink("f/") == Errno::notdir);
    CHECK(fs.rename("f", "g/") == Errno::notdir);
    CHECK(fs.mknod("p/", FileType::fifo) == Errno::noent);
    CHECK(fs.rename("d/", "e/") == ok);
    CHECK(fs.rmdir("e/") == ok);
    CHECK(fs.read("f") == "x");
}

CONFORMANCE("repeated slashes and dots in a path change nothing") {
    fs.mkdir("d");
    fs.mkdir("d/e");
    fs.write("d/e/f", "x");
    CHECK(fs.read("d//e///f") == "x");
    CHECK(fs.read("./d/./e/./f") == "x");
    CHECK(fs.read("d/e/../e/../../d/e/f") == "x");
    CHECK(fs.stat("d/e/..")->number == fs.stat("d")->number);
    CHECK(fs.stat("d/e/../missing/../f") == Errno::noent);
}

CONFORMANCE("a path of more than 4095 bytes is ENAMETOOLONG") {
    fs.mkdir("d");
    std::string path;
    while (path.size() <= 4200) path += "d/../";
    CHECK(fs.stat(path + "d") == Errno::nametoolong);
    path.resize(3000);
    CHECK(fs.stat(path + "d") == ok);
}
