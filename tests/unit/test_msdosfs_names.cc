// Names on FAT: short names by a table, refusals, folding, case bits, code pages, numbers of files.
#include "tests/unit/fat_name_cases.h"

#include "hostshim/faulty_device.h"
#include "hostshim/memory_device.h"
#include "kernel/fs/msdosfs/geometry.h"
#include "kernel/fs/msdosfs/names.h"
#include "kernel/fs/registry.h"
#include "kernel/kern/kernel.h"
#include "kernel/vfs/dos_time.h"
#include "kernel/vfs/utf16.h"
#include "kernel/vfs/vfs_ops.h"

#include <catch2/catch.hpp>

#include <map>
#include <set>

using namespace rump;
using namespace rump::test;

namespace {

const FileSystemType& fat() { return *find_filesystem("msdosfs"); }

/// An empty volume in memory with room for many entries in its root, and mounts of it.
class Disk {
public:
    Disk() : device_(host::make_memory_device(16 << 20)) {
        OptionSet options;
        for (auto [name, value] : {std::pair{"fat", "16"}, {"root_entries", "8192"}})
            REQUIRE(options.set(fat().newfs_options(), name, value).ok());
        REQUIRE(fat().newfs(kernel, *device_, options).ok());
    }
    Mount& mount(std::vector<std::pair<std::string, std::optional<std::string>>> options = {}) {
        MountArgs args{std::make_unique<host::FaultyDevice>(*device_), {}};
        for (const auto& [name, value] : options)
            REQUIRE(args.options.fs.set(fat().mount_options(), name, value).ok());
        auto mounted = kernel.mount(fat(), std::move(args));
        INFO((mounted.ok() ? "" : mounted.error().text));
        REQUIRE(mounted.ok());
        return **mounted;
    }
    void unmount(Mount& mount) { REQUIRE(kernel.unmount(mount, false).ok()); }

    /// Short name -> whether long pieces stand before it; from the bytes of the root.
    std::map<std::string, bool> short_names(const char* page = "437") {
        auto geometry = msdosfs::Geometry::read(*device_);
        REQUIRE(geometry.ok());
        std::vector<msdosfs::disk::DirEntry> entries(geometry->root_entries);
        REQUIRE(
            device_->read(geometry->root_offset, std::as_writable_bytes(std::span(entries))).ok());
        std::map<std::string, bool> names;
        bool is_long = false;
        msdosfs::NameRules rules;
        rules.code_page = *msdosfs::CodePage::find(page);
        for (const auto& entry : entries) {
            if (entry.name[0] == 0) break;
            if (entry.name[0] == 0xe5) continue;
            if (entry.attributes == 0x0f) {
                is_long = true;
                continue;
            }
            msdosfs::ShortName name;
            std::copy_n(entry.name, name.size(), name.begin());
            msdosfs::NameUnits shown;
            msdosfs::show_short_name(name, 0, rules, shown);
            names[vfs::utf16_to_utf8(shown.view())] = is_long;
            is_long = false;
        }
        return names;
    }

    std::vector<uint8_t> root_bytes(uint64_t at, size_t count) {
        std::vector<uint8_t> bytes(count);
        REQUIRE(device_->read(root() + at, std::as_writable_bytes(std::span(bytes))).ok());
        return bytes;
    }
    void set_label(std::string_view label) {
        msdosfs::disk::DirEntry entry{};
        std::fill_n(entry.name, sizeof entry.name, ' ');
        std::copy(label.begin(), label.end(), entry.name);
        if (entry.name[0] == msdosfs::disk::name_deleted) entry.name[0] = msdosfs::disk::name_is_e5;
        entry.attributes = msdosfs::disk::attr_label;
        REQUIRE(device_->write(root(), std::as_bytes(std::span(&entry, 1))).ok());
    }
    std::string probed_label() { return (*fat().probe(*device_))->label; }

    Kernel kernel;

private:
    uint64_t root() { return msdosfs::Geometry::read(*device_)->root_offset; }

    std::unique_ptr<host::BlockDevice> device_;
};

std::set<std::string> listed(Mount& mount) {
    std::set<std::string> names;
    auto root = *mount.root();
    REQUIRE(vfs::readdir(*root, 0, [&](const DirEntry& e) {
                if (e.name != "." && e.name != "..") names.emplace(e.name);
                return true;
            }).ok());
    return names;
}

Result<VnodeRef> create(Mount& mount, std::string_view name) {
    return vfs::create(**mount.root(), name, {}, Cred::superuser());
}

Result<VnodeRef> lookup(Mount& mount, std::string_view name) {
    return vfs::lookup(**mount.root(), name, Cred::superuser());
}

std::string without_tail(std::string name) {
    name.resize(name.find_last_not_of(". ") + 1);
    return name;
}

} // namespace

TEST_CASE("short names are the published ones") {
    const NameCase* at = std::begin(name_cases);
    while (at != std::end(name_cases)) {
        INFO(at->expected);
        Disk disk;
        Mount* mount = &disk.mount();
        std::map<std::string, bool> expected;
        std::set<std::string> shown;
        for (++at; at != std::end(name_cases) && at->name; ++at) {
            INFO(at->name);
            REQUIRE(create(*mount, at->name).ok());
            expected[at->expected] = at->long_entry;
            shown.insert(without_tail(at->name));
        }
        CHECK(listed(*mount) == shown);
        disk.unmount(*mount);
        CHECK(disk.short_names() == expected);
        mount = &disk.mount();
        CHECK(listed(*mount) == shown);
        // Every file is found by either name, in any case.
        for (const auto& [name, is_long] : expected) {
            INFO(name);
            CHECK(lookup(*mount, name).ok());
        }
        for (const std::string& name : shown) {
            std::string upper = name;
            for (char& c : upper) c = c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c;
            INFO(upper);
            CHECK(lookup(*mount, upper).ok());
        }
        disk.unmount(*mount);
    }
}

TEST_CASE("names that FAT cannot hold are refused, and nothing is made") {
    Disk disk;
    Mount& mount = disk.mount();
    for (std::string name : refused_names) {
        INFO(name);
        auto made = create(mount, name);
        REQUIRE_FALSE(made.ok());
        CHECK(made.error() == Errno::inval);
        auto made_dir = vfs::mkdir(**mount.root(), name, {}, Cred::superuser());
        REQUIRE_FALSE(made_dir.ok());
        CHECK(made_dir.error() == Errno::inval);
        CHECK(lookup(mount, name).error() == Errno::noent);
    }
    CHECK(create(mount, std::string(256, 'x')).error() == Errno::nametoolong);
    CHECK(create(mount, std::string(255, 'x')).ok());
    CHECK(listed(mount).size() == 1);
    disk.unmount(mount);
}

TEST_CASE("names are one whatever their case, and keep the case they were made with") {
    Disk disk;
    Mount& mount = disk.mount();
    REQUIRE(create(mount, "Straße ÄÖÜ Ñandú.txt").ok());
    CHECK(lookup(mount, "STRAßE äöü ñANDÚ.TXT").ok());
    CHECK(create(mount, "straße äöü ñandú.TXT").error() == Errno::exist);
    REQUIRE(create(mount, "Привет Мир").ok());
    CHECK(lookup(mount, "ПРИВЕТ мир").ok());
    REQUIRE(create(mount, "dots...").ok());
    CHECK(lookup(mount, "DOTS").ok());
    CHECK(lookup(mount, "dots. .").ok());
    REQUIRE(create(mount, "case").ok());
    auto before = (*lookup(mount, "case"))->number();
    auto root = *mount.root();
    REQUIRE(vfs::rename(*root, "case", *root, "CaSe", vfs::RenameMode::replace, Cred::superuser())
                .ok());
    CHECK(listed(mount) ==
          std::set<std::string>{"Straße ÄÖÜ Ñandú.txt", "Привет Мир", "dots", "CaSe"});
    CHECK((*lookup(mount, "case"))->number() == before);
    root.reset();
    disk.unmount(mount);
}

TEST_CASE("case bits say what needs no long name, by the style") {
    struct Style {
        const char* style;
        const char* name;
        const char* shown;
        bool is_long;
    };
    for (Style one : {Style{"winnt", "readme.txt", "readme.txt", false},
                      Style{"winnt", "README.txt", "README.txt", false},
                      Style{"winnt", "ReadMe.txt", "ReadMe.txt", true},
                      Style{"mixed", "readme.txt", "readme.txt", true},
                      Style{"win95", "readme.txt", "readme.txt", true},
                      Style{"win95", "README.TXT", "README.TXT", false},
                      Style{"lower", "readme.txt", "readme.txt", true},
                      Style{"lower", "README.TXT", "README.TXT", true}}) {
        INFO(one.style << " " << one.name);
        Disk disk;
        Mount& mount = disk.mount({{"shortname", one.style}});
        REQUIRE(create(mount, one.name).ok());
        CHECK(listed(mount) == std::set<std::string>{one.shown});
        disk.unmount(mount);
        CHECK(disk.short_names() == std::map<std::string, bool>{{"README.TXT", one.is_long}});
    }
}

TEST_CASE("with showexec, the names of files say what is executable") {
    Disk disk;
    auto mode = [](Mount& mount, const char* name) {
        return vfs::getattr(**lookup(mount, name))->mode;
    };
    const char* const programs[] = {"run.exe", "A long name.Com", "x.bat"};
    const char* const others[] = {"notes.txt", "exe", "a.ex"};

    Mount& plain = disk.mount();
    for (const auto& names : {programs, others})
        for (const char* name : std::span(names, 3)) REQUIRE(create(plain, name).ok());
    CHECK(mode(plain, "notes.txt") == 0555);
    disk.unmount(plain);

    Mount& mount = disk.mount({{"showexec", std::nullopt}});
    for (const char* name : programs) CHECK(mode(mount, name) == 0555);
    for (const char* name : others) CHECK(mode(mount, name) == 0444);
    CHECK(vfs::getattr(**mount.root())->mode == 0755);

    auto rename = [&](const char* from, const char* to) {
        return vfs::rename(**mount.root(), from, **mount.root(), to, vfs::RenameMode::replace,
                           Cred::superuser());
    };
    REQUIRE(rename("notes.txt", "notes.exe").ok());
    CHECK(mode(mount, "notes.exe") == 0555);
    REQUIRE(rename("run.exe", "exe").ok());
    CHECK(mode(mount, "exe") == 0444);
    REQUIRE(create(mount, "new.com").ok());
    CHECK(mode(mount, "new.com") == 0555);
    disk.unmount(mount);
}

TEST_CASE("code pages decide which letters short names have") {
    struct Page {
        const char* page;
        const char* name;
        bool fits;
    };
    for (Page one :
         {Page{"437", "ÉTÉ", true}, Page{"437", "ПРИВЕТ", false}, Page{"866", "ПРИВЕТ", true},
          Page{"852", "ŁÓDŹ", true}, Page{"850", "ŁÓDŹ", false}, Page{"utf8", "ÉTÉ", false}}) {
        INFO(one.page << " " << one.name);
        Disk disk;
        Mount& mount = disk.mount({{"codepage", one.page}});
        REQUIRE(create(mount, one.name).ok());
        CHECK(listed(mount) == std::set<std::string>{one.name});
        disk.unmount(mount);
        // Another code page would read the letters differently: the long name says what they are.
        auto [short_name, is_long] = *disk.short_names(one.page).begin();
        CHECK(is_long);
        CHECK((short_name == one.name) == one.fits);
        CHECK((short_name.find('~') != short_name.npos) != one.fits);
    }
}

TEST_CASE("a short name that would begin with the mark of a free entry begins with its stand-in") {
    Disk disk;
    Mount& mount = disk.mount({{"codepage", "850"}});
    REQUIRE(create(mount, "Õ").ok()); // 0xe5
    CHECK(listed(mount) == std::set<std::string>{"Õ"});
    CHECK(create(mount, "õ").error() == Errno::exist);
    disk.unmount(mount);
    CHECK(disk.short_names("850") == std::map<std::string, bool>{{"Õ", true}});
    CHECK(disk.root_bytes(msdosfs::disk::dirent_size, 1) == std::vector<uint8_t>{0x05});
}

TEST_CASE("the label is read by the code page, whatever its bytes") {
    Disk disk;
    disk.set_label("\xe5\x9a\x8e LABEL"); // sigma, U and A with dots
    for (auto [page, label] : {std::pair{"437", "σÜÄ LABEL"}, {"850", "ÕÜÄ LABEL"}}) {
        INFO(page);
        Mount& mount = disk.mount({{"codepage", page}});
        std::string found;
        for (const auto& [name, value] : mount.describe())
            if (name == "label") found = value;
        CHECK(found == label);
        disk.unmount(mount);
    }
    CHECK(disk.probed_label() == "σÜÄ LABEL");
}

TEST_CASE("names are equal by the published table of capitals, by nothing else") {
    for (const FoldCase& one : fold_cases) {
        INFO(one.name << " and " << one.other);
        Disk disk;
        Mount& mount = disk.mount();
        REQUIRE(create(mount, one.name).ok());
        CHECK(lookup(mount, one.other).ok() == one.same);
        if (one.same)
            CHECK(create(mount, one.other).error() == Errno::exist);
        else
            CHECK(create(mount, one.other).ok());
        disk.unmount(mount);
    }
}

TEST_CASE("a file keeps its number over renames, and no other file gets it") {
    Disk disk;
    Mount& mount = disk.mount();
    auto root = *mount.root();
    REQUIRE(create(mount, "first").ok());
    REQUIRE(create(mount, "second").ok());
    auto number = (*lookup(mount, "first"))->number();
    auto rename = [&](const char* from, const char* to) {
        return vfs::rename(*root, from, *root, to, vfs::RenameMode::replace, Cred::superuser())
            .ok();
    };
    REQUIRE(rename("first", "a name that takes more slots than before"));
    REQUIRE(create(mount, "first").ok());
    CHECK((*lookup(mount, "a name that takes more slots than before"))->number() == number);
    std::set<uint64_t> numbers{number.value(), (*lookup(mount, "first"))->number().value(),
                               (*lookup(mount, "second"))->number().value()};
    CHECK(numbers.size() == 3);
    // An open file that lost its name keeps number and content; its place is used by another one.
    VnodeRef open = *lookup(mount, "second");
    std::string text = "still here";
    REQUIRE(vfs::write(*open, 0, std::as_bytes(std::span(text)), Cred::superuser()).ok());
    REQUIRE(vfs::unlink(*root, "second", Cred::superuser()).ok());
    REQUIRE(create(mount, "second").ok());
    CHECK((*lookup(mount, "second"))->number() != open->number());
    std::string read(text.size(), '\0');
    CHECK(vfs::read(*open, 0, std::as_writable_bytes(std::span(read))).ok());
    CHECK(read == text);
    FileHandle gone{open->number(), open->generation()};
    open.reset();
    CHECK(mount.from_handle(gone).error() == Errno::stale);
    FileHandle kept{number,
                    (*lookup(mount, "a name that takes more slots than before"))->generation()};
    CHECK(mount.from_handle(kept).ok());
    root.reset();
    disk.unmount(mount);
}

TEST_CASE("DOS times: every border comes back, and what no calendar has is moved") {
    auto there_and_back = [](int64_t sec, int offset) {
        return vfs::from_dos(vfs::to_dos({sec, 0}, offset), offset).sec;
    };
    for (int64_t sec :
         {vfs::dos_time_first, int64_t{951782400}, int64_t{951868799}, int64_t{4107542399},
          int64_t{4107542400}, vfs::dos_time_last, int64_t{1709251199}})
        CHECK(there_and_back(sec, 0) == sec);
    CHECK(there_and_back(1700000000, 330) == 1700000000);
    CHECK(vfs::from_dos(vfs::to_dos({0, 0}, 0), 0).sec == vfs::dos_time_first);
    CHECK(vfs::from_dos(vfs::to_dos({INT64_MAX / 2, 0}, 0), 0).sec == vfs::dos_time_last);
    CHECK(vfs::from_dos({0, 0, 0}, 0).sec == vfs::dos_time_first);
    CHECK(vfs::from_dos({0xffff, 0xffff, 255}, 0).sec <= vfs::dos_time_last + 2);
    CHECK(vfs::from_dos({2 << 5 | 30, 0, 0}, 0) == vfs::from_dos({2 << 5 | 29, 0, 0}, 0));
    CHECK(vfs::to_dos({1700000001, 990000000}, 0).centiseconds == 199);
}
