// Reading directories: getdents(2) and its cookies.
#include "tests/conformance/helpers.h"

using namespace rump;
using namespace rump::conformance;

namespace {

void fill(Fs& fs, const std::string& dir, int from, int to) {
    for (int i = from; i < to; ++i) {
        auto made = fs.open(dir + "/entry-" + std::to_string(i), O_WRONLY | O_CREAT | O_EXCL);
        REQUIRE(made == ok);
    }
}

} // namespace

CONFORMANCE("an empty directory lists itself and its parent") {
    fs.mkdir("d");
    fs.mkdir("d/e");
    auto items = read_all(fs, "d/e");
    REQUIRE(items.size() == 2);
    if (items[0].name != ".") std::swap(items[0], items[1]);
    CHECK(items[0].name == ".");
    CHECK(items[0].number == fs.attr("d/e").number.value());
    CHECK(items[1].name == "..");
    CHECK(items[1].number == fs.attr("d").number.value());
}

CONFORMANCE("a thousand entries are listed once each") {
    fs.mkdir("d");
    fill(fs, "d", 0, 1000);
    std::multiset<std::string> seen;
    for (const DirItem& item : read_all(fs, "d")) seen.insert(item.name);
    CHECK(seen.size() == 1002);
    CHECK(std::set<std::string>(seen.begin(), seen.end()).size() == 1002);
    CHECK(seen.count("entry-777") == 1);
}

CONFORMANCE("a directory that has become shorter grows again") {
    const auto name = [](const char* of, int i) {
        return of + std::to_string(i) + std::string(150, 'n');
    };
    Names wanted{name("old", 0)};
    fs.mkdir("d");
    for (int i = 0; i < 24; ++i) fs.write("d/" + name("old", i), "");
    if (fs.traits.persistent) fs.reopen();
    for (int i = 23; i > 0; --i) CHECK(fs.unlink("d/" + name("old", i)) == ok);
    for (int i = 0; i < 24; ++i) {
        fs.write("d/" + name("new", i), "");
        wanted.push_back(name("new", i));
    }
    std::sort(wanted.begin(), wanted.end());
    CHECK(fs.list("d") == wanted);
    if (fs.traits.persistent) fs.reopen();
    CHECK(fs.list("d") == wanted);
}

CONFORMANCE("entries carry the number and the type of what they name") {
    fs.mkdir("d");
    fs.write("d/file", "");
    fs.mkdir("d/dir");
    if (fs.traits.symlinks) fs.symlink("x", "d/link");
    if (fs.traits.special_files) {
        fs.mknod("d/fifo", FileType::fifo);
        fs.mknod("d/sock", FileType::sock);
    }
    if (fs.traits.hard_links) fs.link("d/file", "d/again");
    for (const DirItem& item : read_all(fs, "d")) {
        if (item.name == "." || item.name == "..") continue;
        const Attr attr = fs.attr("d/" + item.name);
        CHECK(item.number == attr.number.value());
        if (item.type != FileType::unknown) CHECK(item.type == attr.type);
    }
}

CONFORMANCE("reading goes on from every cookie") {
    fs.mkdir("d");
    fill(fs, "d", 0, 150);
    const auto all = read_all(fs, "d");
    auto dir = fs.opendir("d");
    for (size_t at = 0; at < all.size(); at += 7) {
        REQUIRE(dir->seek(all[at].cookie) == ok);
        const auto rest = dir->next().take();
        if (at + 1 == all.size()) {
            CHECK(rest.empty());
            continue;
        }
        REQUIRE(!rest.empty());
        CHECK(rest[0].name == all[at + 1].name);
    }
    REQUIRE(dir->seek(0) == ok);
    CHECK((*dir->next())[0].name == all[0].name);
}

CONFORMANCE("entries that stay are seen once while others are removed") {
    fs.mkdir("d");
    fill(fs, "d", 0, 600);
    std::multiset<std::string> seen;
    auto dir = fs.opendir("d");
    int next_victim = 0;
    while (true) {
        const auto items = dir->next().take();
        if (items.empty()) break;
        for (const DirItem& item : items) seen.insert(item.name);
        for (int i = 0; i < 10 && next_victim < 600; ++i, next_victim += 2)
            fs.unlink("d/entry-" + std::to_string(next_victim));
    }
    for (int i = 1; i < 600; i += 2) CHECK(seen.count("entry-" + std::to_string(i)) == 1);
}

CONFORMANCE("entries that stay are seen once while others are made") {
    fs.mkdir("d");
    fill(fs, "d", 0, 300);
    std::multiset<std::string> seen;
    auto dir = fs.opendir("d");
    int made = 0;
    for (int step = 0; step < 2000; ++step) {
        const auto items = dir->next().take();
        if (items.empty()) break;
        for (const DirItem& item : items) seen.insert(item.name);
        if (made < 300) {
            fs.write("d/new-" + std::to_string(made++), "");
            fs.unlink("d/new-" + std::to_string(made - 1));
            fs.write("d/more-" + std::to_string(made), "");
        }
    }
    for (int i = 0; i < 300; ++i) CHECK(seen.count("entry-" + std::to_string(i)) == 1);
}

CONFORMANCE("what is removed as it is read leaves nothing behind") {
    fs.mkdir("d");
    fill(fs, "d", 0, 500);
    auto dir = fs.opendir("d");
    int removed = 0;
    while (true) {
        const auto items = dir->next().take();
        if (items.empty()) break;
        for (const DirItem& item : items) {
            if (item.name == "." || item.name == "..") continue;
            REQUIRE(fs.unlink("d/" + item.name) == ok);
            ++removed;
        }
    }
    CHECK(removed == 500);
    CHECK(fs.rmdir("d") == ok);
}

CONFORMANCE("reading from the start again shows what is there now") {
    fs.mkdir("d");
    fs.write("d/old", "");
    auto dir = fs.opendir("d");
    CHECK(dir->next()->size() == 3);
    fs.unlink("d/old");
    fs.write("d/new1", "");
    fs.write("d/new2", "");
    dir->seek(0);
    std::set<std::string> seen;
    while (true) {
        const auto items = dir->next().take();
        if (items.empty()) break;
        for (const DirItem& item : items) seen.insert(item.name);
    }
    CHECK(seen == std::set<std::string>{".", "..", "new1", "new2"});
}

CONFORMANCE("a directory of five thousand long names is found, listed and emptied") {
    fs.mkdir("d");
    const std::string stem(60, 'x');
    for (int i = 0; i < 5000; ++i)
        REQUIRE(fs.open("d/" + stem + std::to_string(i), O_WRONLY | O_CREAT | O_EXCL) == ok);
    CHECK(fs.list("d")->size() == 5000);
    if (fs.traits.persistent) fs.reopen();
    for (int i = 0; i < 5000; i += 97) CHECK(fs.stat("d/" + stem + std::to_string(i)) == ok);
    CHECK(fs.stat("d/" + stem + "5000") == Errno::noent);
    for (int i = 4999; i >= 0; --i) REQUIRE(fs.unlink("d/" + stem + std::to_string(i)) == ok);
    CHECK(fs.list("d") == Names{});
    CHECK(fs.rmdir("d") == ok);
}

CONFORMANCE("a directory full of holes is filled again") {
    fs.mkdir("d");
    fill(fs, "d", 0, 800);
    for (int i = 0; i < 800; ++i)
        if (i % 3 != 0) fs.unlink("d/entry-" + std::to_string(i));
    for (int i = 0; i < 400; ++i)
        fs.write("d/" + std::string(1 + static_cast<size_t>(i) % 200, 'y') + std::to_string(i),
                 "z");
    if (fs.traits.persistent) fs.reopen();
    CHECK(fs.list("d")->size() == 267 + 400);
    for (int i = 0; i < 800; i += 3) CHECK(fs.stat("d/entry-" + std::to_string(i)) == ok);
}

CONFORMANCE("a renamed entry is found under its new name only") {
    fs.mkdir("d");
    fill(fs, "d", 0, 100);
    for (int i = 0; i < 100; ++i)
        fs.rename("d/entry-" + std::to_string(i), "d/renamed-" + std::to_string(i));
    const Names names = fs.list("d").take();
    CHECK(names.size() == 100);
    for (const std::string& name : names) CHECK(name.starts_with("renamed-"));
}
