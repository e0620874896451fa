// Whiteouts, which NetBSD's and FreeBSD's union mounts leave: hidden, in nobody's way, and replaced
// by what gets their name.
#include "tests/support/ffs_volume.h"

#include "hostshim/memory_device.h"
#include "kernel/fs/ffs/geometry.h"
#include "kernel/kern/kernel.h"
#include "kernel/vfs/vfs_ops.h"

#include <catch2/catch.hpp>

#include <functional>

using namespace rump;
using ffs::disk::Dirent;

namespace {

const Cred root = Cred::superuser();

struct Volume {
    explicit Volume(const std::string& layout) : device(host::make_memory_device(24u << 20)) {
        test::make_ffs(*device, test::FfsLayout::parse(layout));
    }
    void with_root(const std::function<void(Vnode&)>& work) {
        Kernel kernel;
        Mount* mount = test::mount_ffs(kernel, *device);
        VnodeRef top = *mount->root();
        work(*top);
        CHECK_FALSE(mount->tainted());
        top.reset();
        REQUIRE(kernel.unmount(*mount, false).ok());
    }
    /// The records with this name become whiteouts. Their file has another name, of the same
    /// length, beside it.
    void white_out(std::string_view name, ByteOrder order) {
        std::vector<std::byte> all(device->size());
        REQUIRE(device->read(0, all).ok());
        const std::string_view view(reinterpret_cast<const char*>(all.data()), all.size());
        size_t found = 0;
        for (size_t at = view.find(name); at != view.npos; at = view.find(name, at + 1)) {
            Dirent d;
            std::memcpy(&d, all.data() + at - sizeof d, sizeof d);
            if (d.namlen != name.size()) continue;
            order.set(d.ino, ffs::disk::whiteout_inode);
            d.type = static_cast<uint8_t>(FileType::wht);
            REQUIRE(device->write(at - sizeof d, std::as_bytes(std::span(&d, 1))).ok());
            ++found;
        }
        REQUIRE(found >= 1); // the log has old copies
        // The names that have gone are counted.
        REQUIRE(test::ffs_findings(*device, true) == "");
    }
    ByteOrder order() const { return (*ffs::find_superblock(*device))->order; }

    std::unique_ptr<host::BlockDevice> device;
};

VnodeRef make(Vnode& dir, const std::string& name) {
    auto made = vfs::create(dir, name, {.mode = 0644}, root);
    REQUIRE(made.ok());
    return *made;
}

std::vector<std::string> names_in(Vnode& dir) {
    std::vector<std::string> names;
    REQUIRE(vfs::readdir(dir, 0, [&](const DirEntry& entry) {
                if (entry.name != "." && entry.name != "..") names.emplace_back(entry.name);
                return true;
            }).ok());
    std::sort(names.begin(), names.end());
    return names;
}

/// /whiteouts with the whiteouts first, second and third, and `more` files.
void make_whiteouts(Volume& v, int more) {
    v.with_root([&](Vnode& top) {
        VnodeRef dir = *vfs::mkdir(top, "whiteouts", {.mode = 0755}, root);
        for (const char* name : {"the-first", "the-second", "the-third"}) make(*dir, name);
        for (int i = 0; i < more; ++i) make(*dir, "file" + std::to_string(i));
    });
    for (const char* name : {"the-first", "the-second", "the-third"}) v.white_out(name, v.order());
}

} // namespace

TEST_CASE("whiteouts are hidden, give their place to new names, and do not fill a directory") {
    for (const std::string layout :
         {"1/be/8k/1k", "2/le/16k/2k", "1/le/4k/4k/log", "2/be/32k/4k/log"})
        for (const int more : {0, 400}) { // without an index, and with one
            INFO(layout << ", " << more << " more");
            Volume v(layout);
            make_whiteouts(v, more);
            v.with_root([&](Vnode& top) {
                VnodeRef dir = *vfs::lookup(top, "whiteouts", root);
                for (const char* name : {"the-first", "the-second", "the-third"})
                    CHECK(vfs::lookup(*dir, name, root).error() == Errno::noent);
                CHECK(names_in(*dir).size() == static_cast<size_t>(more));
                make(*dir, "the-first");
                make(*dir, "another");
                CHECK(vfs::rename(*dir, "another", *dir, "the-second", vfs::RenameMode::no_replace,
                                  root)
                          .ok());
                CHECK(names_in(*dir).size() == static_cast<size_t>(more) + 2);
                CHECK(vfs::unlink(*dir, "the-first", root).ok());
                CHECK(vfs::unlink(*dir, "the-second", root).ok());
                for (int i = 0; i < more; ++i)
                    REQUIRE(vfs::unlink(*dir, "file" + std::to_string(i), root).ok());
            });
            CHECK(test::ffs_findings(*v.device) == "");
            v.with_root([&](Vnode& top) {
                CHECK(names_in(**vfs::lookup(top, "whiteouts", root)).empty());
                CHECK(vfs::rmdir(top, "whiteouts", root).ok());
            });
            CHECK(test::ffs_findings(*v.device) == "");
        }
}

TEST_CASE("a directory with nothing but whiteouts is replaced by a rename") {
    Volume v("2/le/16k/2k");
    make_whiteouts(v, 0);
    v.with_root([&](Vnode& top) {
        VnodeRef other = *vfs::mkdir(top, "other", {.mode = 0755}, root);
        make(*other, "inside");
        CHECK(vfs::rename(top, "other", top, "whiteouts", vfs::RenameMode::replace, root).ok());
        CHECK(names_in(**vfs::lookup(top, "whiteouts", root)) ==
              std::vector<std::string>{"inside"});
    });
    CHECK(test::ffs_findings(*v.device) == "");
}
