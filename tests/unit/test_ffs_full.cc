// FFS with nothing left: every way of asking for space or inodes is refused, changes nothing, and
// loses nothing.
#include "kernel/kern/kernel.h"
#include "kernel/vfs/vfs_ops.h"

#include "hostshim/memory_device.h"
#include "tests/support/ffs_volume.h"

#include <catch2/catch.hpp>

#include <functional>

using namespace rump;

namespace {

const Cred root = Cred::superuser();
const Cred user(1000, 1000, {});

/// A small volume of a layout, mounted; at its end check finds nothing.
class SmallVolume {
public:
    explicit SmallVolume(const std::string& layout, const test::NewfsOptions& more = {})
        : device_(host::make_memory_device(9u << 20)) {
        test::make_ffs(*device_, test::FfsLayout::parse(layout), more);
        mount = test::mount_ffs(kernel_, *device_);
        top = *mount->root();
    }
    ~SmallVolume() {
        top.reset();
        CHECK(kernel_.unmount(*mount, false).ok());
        CHECK(test::ffs_findings(*device_) == "");
    }

    /// Appends pieces of `size` bytes until one does not fit.
    void fill(const std::string& name, size_t size, const Cred& cred = root) {
        auto file = vfs::create(*top, name, {.mode = 0666}, root);
        REQUIRE(file.ok());
        const std::string piece(size, 'f');
        for (uint64_t at = 0;; at += size) {
            auto n = vfs::write(**file, at, std::as_bytes(std::span(piece)), cred);
            if (n.ok() && *n == size) continue;
            CHECK((n.ok() || n.error() == Errno::nospc));
            return;
        }
    }
    /// Files of `size` bytes, until one does not fit.
    void fill_with_files(const std::string& prefix, size_t size) {
        const std::string bytes(size, 's');
        for (int i = 0;; ++i) {
            auto file = vfs::create(*top, prefix + std::to_string(i), {.mode = 0644}, root);
            if (!file) {
                CHECK(file.error() == Errno::nospc);
                return;
            }
            auto n = vfs::write(**file, 0, std::as_bytes(std::span(bytes)), root);
            if (!n || *n < size) return;
        }
    }
    uint64_t free() {
        REQUIRE(mount->sync().ok());
        return mount->statvfs()->blocks_free;
    }
    VnodeRef at(const std::string& name) { return *vfs::lookup(*top, name, root); }

private:
    std::unique_ptr<host::BlockDevice> device_;
    Kernel kernel_;

public:
    Mount* mount;
    VnodeRef top;
};

const char* const layouts[] = {"1/le/8k/1k", "1/be/32k/4k/log", "2/be/16k/2k", "2/le/16k/2k/log",
                               "2/le/4k/4k"};

template<class T>
int code(const Result<T>& result) {
    return result.ok() ? 0 : to_int(result.error());
}

} // namespace

TEST_CASE("with no byte left, whatever needs one is refused and leaves all as it was") {
    for (const std::string layout : layouts) {
        INFO(layout);
        SmallVolume v(layout, {{"m", "0"}});
        const uint64_t at_first = v.free();
        const uint64_t inodes = v.mount->statvfs()->files_free;
        VnodeRef dir = *vfs::mkdir(*v.top, "dir", {.mode = 0755}, root);
        // A directory whose chunks are full, so that the next name needs space.
        const std::string name(200, 'n');
        VnodeRef full = *vfs::mkdir(*v.top, "full", {.mode = 0755}, root);
        VnodeRef sparse = *vfs::create(*v.top, "sparse", {.mode = 0644}, root);
        const std::string one(1, '1');
        const auto byte = std::as_bytes(std::span(one));
        REQUIRE(vfs::write(*sparse, 4 << 20, byte, root).ok());
        VnodeRef small = *vfs::create(*v.top, "small", {.mode = 0644}, root);
        REQUIRE(vfs::write(*small, 0, byte, root).ok());
        v.fill("big", 1 << 20);
        v.fill_with_files("s", 1);
        for (int i = 0;; ++i)
            if (!vfs::link(*small, *full, name + std::to_string(i), root).ok()) break;
        CHECK(v.free() == 0);

        const std::string target(900, 't'), value(3000, 'v');
        const bool ufs2 = layout[0] == '2';
        const std::pair<const char*, std::function<int()>> refused[] = {
            {"mkdir", [&] { return code(vfs::mkdir(*dir, "d", {.mode = 0755}, root)); }},
            {"long symlink", [&] { return code(vfs::symlink(*dir, "l", target, root)); }},
            {"create in a full directory",
             [&] { return code(vfs::create(*full, name + "x", {.mode = 0644}, root)); }},
            {"link in a full directory",
             [&] { return code(vfs::link(*small, *full, name + "y", root)); }},
            {"rename into a full directory",
             [&] {
                 return code(vfs::rename(*v.top, "small", *full, name + "z",
                                         vfs::RenameMode::replace, root));
             }},
            {"write behind the end", [&] { return code(vfs::write(*small, 70000, byte, root)); }},
            {"write into a hole", [&] { return code(vfs::write(*sparse, 1 << 20, byte, root)); }},
            {"growth", [&] { return code(vfs::setattr(*small, {.size = 300000}, root)); }},
            {"preallocation",
             [&] {
                 return code(vfs::fallocate(*sparse, 0, 1 << 20, vfs::Fallocate::keep_size, root));
             }},
            {"attribute",
             [&] {
                 return ufs2 ? code(vfs::setxattr(*small, "user.a", std::as_bytes(std::span(value)),
                                                  XattrSet::any, root))
                             : to_int(Errno::nospc);
             }},
        };
        for (const auto& [what, attempt] : refused) {
            INFO(what);
            CHECK(attempt() == to_int(Errno::nospc));
            CHECK(v.free() == 0);
        }
        CHECK(vfs::getattr(*small)->size == 1);
        CHECK(vfs::lookup(*v.top, "small", root).ok());

        // All of it goes, and the volume is as it was.
        std::vector<std::string> names;
        for (Vnode* d : {&*full, &*v.top}) {
            names.clear();
            REQUIRE(vfs::readdir(*d, 0, [&](const DirEntry& e) {
                        if (e.type == FileType::reg) names.emplace_back(e.name);
                        return true;
                    }).ok());
            for (const auto& n : names) REQUIRE(vfs::unlink(*d, n, root).ok());
        }
        dir.reset();
        full.reset();
        sparse.reset();
        small.reset();
        REQUIRE(vfs::rmdir(*v.top, "dir", root).ok());
        REQUIRE(vfs::rmdir(*v.top, "full", root).ok());
        // The root may have grown by names.
        CHECK(v.free() + 64 >= at_first);
        CHECK(v.mount->statvfs()->files_free == inodes);
    }
}

TEST_CASE("users stop at the reserve, root goes on") {
    for (const std::string layout : layouts) {
        INFO(layout);
        SmallVolume v(layout, {{"m", "20"}});
        v.fill("user", 64 << 10, user);
        v.fill("users rest", 1024, user);
        const StatVfs s = *v.mount->statvfs();
        CHECK(s.blocks_available <= s.block_size / s.fragment_size);
        CHECK(s.blocks_free >= s.blocks * 19 / 100);
        v.fill("root", 64 << 10);
        CHECK(v.free() < s.blocks / 50);
    }
}

TEST_CASE("with fragments only, what fits into one is stored, what needs a block is refused") {
    for (const std::string layout : {"1/le/8k/1k", "2/be/16k/2k/log"}) {
        INFO(layout);
        SmallVolume v(layout, {{"m", "0"}});
        const uint64_t fragment = v.mount->statvfs()->fragment_size;
        // Each of these leaves the rest of a block behind.
        for (int i = 0; i < 12; ++i) {
            VnodeRef f = *vfs::create(*v.top, "tail" + std::to_string(i), {.mode = 0644}, root);
            const std::string bytes(5 * fragment, 't');
            REQUIRE(vfs::write(*f, 0, std::as_bytes(std::span(bytes)), root).ok());
        }
        v.fill("big", v.mount->statvfs()->block_size);
        const uint64_t left = v.free();
        REQUIRE(left > 0);
        VnodeRef f = *vfs::create(*v.top, "fits", {.mode = 0644}, root);
        const std::string bytes(fragment, 'b'), block(8 * fragment, 'B');
        CHECK(*vfs::write(*f, 0, std::as_bytes(std::span(bytes)), root) == fragment);
        CHECK(code(vfs::write(*f, 0, std::as_bytes(std::span(block)), root)) ==
              to_int(Errno::nospc));
        CHECK(vfs::getattr(*f)->size == fragment);
        CHECK(v.free() == left - 1);
        f.reset();
        REQUIRE(vfs::unlink(*v.top, "fits", root).ok());
        CHECK(v.free() == left);
    }
}

TEST_CASE("with no inode left nothing is made, until one is free") {
    for (const std::string layout : layouts) {
        INFO(layout);
        SmallVolume v(layout, {{"n", "200"}});
        int made = 0;
        for (;; ++made) {
            auto f = vfs::create(*v.top, std::to_string(made), {.mode = 0644}, root);
            if (f.ok()) continue;
            CHECK(f.error() == Errno::nospc);
            break;
        }
        CHECK(v.mount->statvfs()->files_free == 0);
        const uint64_t left = v.free();
        CHECK(code(vfs::mkdir(*v.top, "d", {.mode = 0755}, root)) == to_int(Errno::nospc));
        CHECK(code(vfs::symlink(*v.top, "l", "t", root)) == to_int(Errno::nospc));
        CHECK(v.free() == left);
        REQUIRE(vfs::link(*v.at("1"), *v.top, "another name", root).ok());
        REQUIRE(vfs::unlink(*v.top, "0", root).ok());
        // At once: what was freed may still wait for its commit.
        CHECK(vfs::mkdir(*v.top, "d", {.mode = 0755}, root).ok());
        CHECK(v.mount->statvfs()->files_free == 0);
    }
}
