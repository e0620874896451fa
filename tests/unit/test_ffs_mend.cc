// What check does for files that have lost their names: they get one, also where many need it and
// where there is no space.
#include "tests/support/ffs_volume.h"

#include "hostshim/memory_device.h"
#include "kernel/fs/ffs/ffs.h"
#include "kernel/fs/ffs/geometry.h"
#include "kernel/kern/kernel.h"
#include "kernel/vfs/vfs_ops.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <array>
#include <functional>
#include <set>

using namespace rump;

namespace {

const Cred root = Cred::superuser();
const char* const layouts[] = {"1/le/8k/1k", "1/be/32k/4k", "2/be/16k/2k", "2/le/4k/4k"};

struct Volume {
    explicit Volume(const std::string& layout) : device(host::make_memory_device(24u << 20)) {
        test::make_ffs(*device, test::FfsLayout::parse(layout), {{"m", "0"}});
    }
    /// Does `work` with the root of the mounted volume.
    void with_root(const std::function<void(Mount&, Vnode&)>& work) {
        Kernel kernel;
        Mount* mount = test::mount_ffs(kernel, *device);
        VnodeRef top = *mount->root();
        work(*mount, *top);
        top.reset();
        REQUIRE(kernel.unmount(*mount, false).ok());
    }
    /// Why it is not mounted.
    std::string refusal() {
        try {
            with_root([](Mount&, Vnode&) {});
        } catch (const std::runtime_error& error) {
            return error.what();
        }
        return {};
    }
    ffs::Geometry geometry() const {
        const auto found = ffs::find_superblock(*device);
        REQUIRE(found.ok());
        return *ffs::Geometry::validate((*found)->raw, (*found)->order, (*found)->offset,
                                        device->size());
    }
    /// Lets every directory record with this name be a free one.
    void lose(std::string_view name) const {
        std::vector<std::byte> all(device->size());
        REQUIRE(device->read(0, all).ok());
        const std::string_view view(reinterpret_cast<const char*>(all.data()), all.size());
        const std::array<std::byte, 4> no_inode{};
        for (size_t at = view.find(name); at != view.npos; at = view.find(name, at + 1))
            REQUIRE(device->write(at - sizeof(ffs::disk::Dirent), no_inode).ok());
    }

    std::unique_ptr<host::BlockDevice> device;
};

VnodeRef make_file(Vnode& dir, const std::string& name, const std::string& contents) {
    auto made = vfs::create(dir, name, {.mode = 0644}, root);
    REQUIRE(made.ok());
    REQUIRE(vfs::write(**made, 0, std::as_bytes(std::span(contents)), root).ok());
    return *made;
}

std::string contents_of(Vnode& file) {
    std::string out(100, '\0');
    out.resize(*vfs::read(file, 0, std::as_writable_bytes(std::span(out))));
    return out;
}

std::vector<std::string> names_in(Vnode& dir) {
    std::vector<std::string> names;
    REQUIRE(vfs::readdir(dir, 0, [&](const DirEntry& entry) {
                names.emplace_back(entry.name);
                return true;
            }).ok());
    return names;
}

} // namespace

TEST_CASE("many files whose directory is gone come to lost+found, which grows") {
    constexpr int count = 700;
    for (const std::string layout : layouts) {
        INFO(layout);
        Volume v(layout);
        uint64_t number = 0;
        v.with_root([&](Mount&, Vnode& top) {
            VnodeRef dir = *vfs::mkdir(top, "dir", {.mode = 0755}, root);
            number = dir->number().value();
            for (int i = 0; i < count; ++i)
                make_file(*dir, "f" + std::to_string(i), "file " + std::to_string(i));
        });
        const ffs::Geometry geo = v.geometry();
        const std::vector<std::byte> nothing(geo.inode_size);
        const uint64_t at = geo.bytes(geo.inode_block(number)) + geo.inode_offset(number);
        REQUIRE(v.device->write(at, nothing).ok());
        CHECK(test::ffs_findings(*v.device, true) == "");
        CHECK(test::ffs_findings(*v.device) == "");
        v.with_root([&](Mount&, Vnode& top) {
            VnodeRef found = *vfs::lookup(top, "lost+found", root);
            std::set<std::string> contents;
            for (const std::string& name : names_in(*found))
                if (name != "." && name != "..")
                    contents.insert(contents_of(**vfs::lookup(*found, name, root)));
            CHECK(contents.size() == count);
            CHECK(contents.contains("file 123"));
        });
    }
}

TEST_CASE("on a full volume, what has lost its name gets one in the root") {
    for (const std::string layout : layouts) {
        INFO(layout);
        Volume v(layout);
        v.with_root([&](Mount& mount, Vnode& top) {
            make_file(top, "a-name-that-goes", "still here");
            const std::string piece(1 << 20, 'p');
            VnodeRef big = make_file(top, "big", "");
            for (uint64_t at = 0;; at += piece.size()) {
                auto n = vfs::write(*big, at, std::as_bytes(std::span(piece)), root);
                if (!n || *n < piece.size()) break;
            }
            for (int i = 0; mount.statvfs()->blocks_free > 0; ++i) {
                auto small = vfs::create(top, "s" + std::to_string(i), {.mode = 0644}, root);
                if (!small) break;
                if (!vfs::write(**small, 0, std::as_bytes(std::span("x", 1)), root).ok()) break;
            }
            REQUIRE(mount.sync().ok());
            CHECK(mount.statvfs()->blocks_free == 0);
        });
        v.lose("a-name-that-goes");
        CHECK(test::ffs_findings(*v.device, true) == "");
        CHECK(test::ffs_findings(*v.device) == "");
        v.with_root([&](Mount&, Vnode& top) {
            const auto names = names_in(top);
            CHECK(std::find(names.begin(), names.end(), "lost+found") == names.end());
            const auto name = std::find_if(names.begin(), names.end(),
                                           [](const std::string& n) { return n[0] == '#'; });
            REQUIRE(name != names.end());
            CHECK(contents_of(**vfs::lookup(top, *name, root)) == "still here");
        });
    }
}

TEST_CASE("a lost superblock is put back from a copy, also of another group") {
    const std::vector<std::byte> nothing(ffs::disk::superblock_size);
    for (const std::string layout :
         {"0/le/8k/1k", "1/le/8k/1k", "1/be/32k/4k", "2/be/16k/2k", "2/le/4k/4k", "2/le/16k/2k/log",
          "1/le/64k/8k", "2/be/64k/64k"}) {
        for (const bool first_copy_too : {false, true}) {
            for (const bool forged : {false, true}) {
                INFO(layout << (first_copy_too ? ", its first copy, too" : "")
                            << (forged ? ", a field that lies" : ""));
                Volume v(layout);
                v.with_root([&](Mount&, Vnode& top) { make_file(top, "file", "still here"); });
                const ffs::Geometry geo = v.geometry();
                if (first_copy_too && geo.ncg == 1) continue;
                if (forged) {
                    const std::array<std::byte, 4> lie{std::byte{3}};
                    const uint64_t at =
                        geo.superblock_offset + offsetof(ffs::disk::Superblock, bsize);
                    REQUIRE(v.device->write(at, lie).ok());
                } else {
                    REQUIRE(v.device->write(geo.superblock_offset, nothing).ok());
                }
                if (first_copy_too)
                    REQUIRE(v.device->write(geo.bytes(geo.cg_super(0)), nothing).ok());
                REQUIRE(*ffs::type().recoverable(*v.device) != first_copy_too);
                const std::string refusal = v.refusal();
                CHECK((refusal.find("there is a copy") != refusal.npos) != first_copy_too);
                const std::string said = test::ffs_findings(*v.device);
                CHECK(said.find("superblock-backup: superblock: ") == 0);
                CHECK(said.find(first_copy_too ? "copy of group 1" : "copy of group 0") !=
                      said.npos);
                CHECK(test::ffs_findings(*v.device, true) == "");
                CHECK(test::ffs_findings(*v.device) == "");
                v.with_root([&](Mount&, Vnode& top) {
                    CHECK(contents_of(**vfs::lookup(top, "file", root)) == "still here");
                });
            }
        }
    }
}

TEST_CASE("a copy that an older file system has left is not taken for a lost superblock") {
    const std::vector<std::byte> nothing(ffs::disk::superblock_size);
    for (const std::string before : {"1/le/8k/1k", "2/be/4k/4k", "0/be/16k/2k"}) {
        for (const std::string now : {"2/le/32k/4k", "1/be/64k/8k"}) {
            INFO(before << ", then " << now);
            Volume v(before);
            test::make_ffs(*v.device, test::FfsLayout::parse(now), {});
            const ffs::Geometry geo = v.geometry();
            REQUIRE(v.device->write(geo.superblock_offset, nothing).ok());
            CHECK(test::ffs_findings(*v.device, true) == "");
            CHECK(v.geometry().bsize == geo.bsize);
            CHECK(v.geometry().order.order() == geo.order.order());
        }
    }
}
