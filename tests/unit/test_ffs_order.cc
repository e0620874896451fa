// FFS without a log: what may be used again, and when, so that no cut of power shows a file the
// bytes of another. One state each, built by hand; tests/crash looks at many.
#include "kernel/kern/kernel.h"
#include "kernel/vfs/vfs_ops.h"

#include "hostshim/memory_device.h"
#include "hostshim/overlay_device.h"
#include "hostshim/recording_device.h"
#include "kernel/fs/ffs/format.h"
#include "kernel/vfs/buffer_cache.h"
#include "tests/support/ffs_volume.h"
#include "tests/support/tree_walk.h"

#include <catch2/catch.hpp>

using namespace rump;

namespace {

const Cred root = Cred::superuser();

VnodeRef make_file(Vnode& dir, const std::string& name, uint64_t size, char byte) {
    VnodeRef file = *vfs::create(dir, name, {.mode = 0644}, root);
    const std::string bytes(size, byte);
    REQUIRE(*vfs::write(*file, 0, std::as_bytes(std::span(bytes)), root) == size);
    return file;
}

/// `name` takes all space that is left.
void fill(Vnode& dir, const std::string& name) {
    VnodeRef file = *vfs::create(dir, name, {.mode = 0644}, root);
    const std::string part(8192, 'f');
    for (uint64_t at = 0;; at += part.size()) {
        auto n = vfs::write(*file, at, std::as_bytes(std::span(part)), root);
        if (!n || *n < part.size()) return;
    }
}

} // namespace

TEST_CASE("what an unlinked file gave up is nobody else's while its inode can still show it") {
    for (const char* format : {"1", "2"}) {
        INFO("UFS" << format);
        auto base = host::make_memory_device(4u << 20);
        test::make_ffs(*base, {format, "le", "8k", "1k"}, {{"m", "0"}});
        host::RecordingDevice recorder(host::make_memory_overlay(*base));
        Kernel kernel;
        Mount* mount = test::mount_ffs(kernel, recorder);
        {
            VnodeRef top = *mount->root();
            REQUIRE(vfs::mkdir(*top, "lost+found", {.mode = 0700}, root).ok());
            VnodeRef old = make_file(*top, "old", 24 << 10, 'o');
            make_file(*top, "new", 8 << 10, 'n');
            fill(*top, "filler");
            REQUIRE(mount->sync().ok());
            AttrChange shorter;
            shorter.size = 8 << 10;
            REQUIRE(vfs::setattr(*old, shorter, root).ok());
            old.reset();
            REQUIRE(vfs::unlink(*top, "old", root).ok());
            // One commit: the name is gone, the inode is not yet.
            REQUIRE(vfs::fsync(*top, false).ok());
            VnodeRef fresh = *vfs::lookup(*top, "new", root);
            const std::string more(16 << 10, 'n');
            REQUIRE(*vfs::write(*fresh, 8 << 10, std::as_bytes(std::span(more)), root) ==
                    more.size());
        }
        // The power goes before the next commit.
        auto cut = host::make_memory_overlay(*base);
        for (const auto& event : recorder.events()) REQUIRE(host::replay(event, *cut).ok());
        REQUIRE(kernel.unmount(*mount, false).ok());
        REQUIRE(test::ffs_findings(*cut, true) == "");

        Mount* after = test::mount_ffs(kernel, *cut, true);
        {
            std::vector<std::string> found;
            VnodeRef lost = *test::at_path(*after, "/lost+found");
            REQUIRE(vfs::readdir(*lost, 0, [&](const DirEntry& e) {
                        if (e.type == FileType::reg) found.emplace_back(e.name);
                        return true;
                    }).ok());
            REQUIRE(found.size() == 1);
            const auto bytes = *test::read_all(**vfs::lookup(*lost, found[0], root));
            CHECK(bytes == std::vector<std::byte>(8 << 10, std::byte{'o'}));
        }
        REQUIRE(kernel.unmount(*after, false).ok());
    }
}

namespace {

/// Every state that is a prefix of what `work` and the commits after it write: mended by check, and
/// the directory "moved" is there under one name.
void mend_prefixes(void (*prepare)(Vnode& top), void (*work)(Vnode& top)) {
    auto base = host::make_memory_device(4u << 20);
    test::make_ffs(*base, {"1", "be", "8k", "1k"});
    host::RecordingDevice recorder(host::make_memory_overlay(*base));
    Kernel kernel;
    Mount* mount = test::mount_ffs(kernel, recorder);
    prepare(**mount->root());
    REQUIRE(mount->sync().ok());
    const size_t start = recorder.events().size();
    work(**mount->root());
    REQUIRE(mount->sync().ok());
    const auto events = recorder.events();
    REQUIRE(kernel.unmount(*mount, false).ok());
    unsigned mended = 0;
    for (size_t end = start; end <= events.size(); ++end) {
        INFO("after " << end - start << " events");
        auto cut = host::make_memory_overlay(*base);
        for (size_t i = 0; i < end; ++i) REQUIRE(host::replay(events[i], *cut).ok());
        mended += test::ffs_findings(*cut).find("directory") != std::string::npos ? 1 : 0;
        REQUIRE(test::ffs_findings(*cut, true) == "");
        REQUIRE(test::ffs_findings(*cut) == "");
        Mount* after = test::mount_ffs(kernel, *cut, true);
        unsigned names = 0;
        test::walk(*after, {}, [&](const std::string&, Vnode& vnode, const Attr&) {
            names += vfs::lookup(vnode, "inside", root).ok() ? 1 : 0;
        });
        CHECK(names == 1);
        REQUIRE(kernel.unmount(*after, false).ok());
    }
    CHECK(mended > 0);
}

VnodeRef make_dir(Vnode& dir, const std::string& name) {
    return *vfs::mkdir(dir, name, {.mode = 0755}, root);
}

} // namespace

TEST_CASE("check mends a directory's rename that was cut short: one name stays, its .. is right") {
    mend_prefixes(
        [](Vnode& top) {
            make_dir(*make_dir(*make_dir(top, "from"), "moved"), "inside");
            make_dir(top, "to");
        },
        [](Vnode& top) {
            VnodeRef from = *vfs::lookup(top, "from", root), to = *vfs::lookup(top, "to", root);
            REQUIRE(vfs::rename(*from, "moved", *to, "moved", vfs::RenameMode::replace, root).ok());
        });
}

TEST_CASE("check mends a directory whose .. names a parent that never reached the device") {
    mend_prefixes(
        [](Vnode& top) { make_dir(*make_dir(top, "elsewhere"), "inside"); },
        [](Vnode& top) {
            VnodeRef brief = make_dir(top, "brief");
            make_dir(*make_dir(*brief, "moved"), "more");
            REQUIRE(
                vfs::rename(*brief, "moved", top, "moved", vfs::RenameMode::replace, root).ok());
            brief.reset();
            REQUIRE(vfs::rmdir(top, "brief", root).ok());
        });
}

TEST_CASE("what does not fit into the log goes into it in parts, each of which is whole") {
    auto base = host::make_memory_device(64u << 20);
    test::make_ffs(*base, {"2", "le", "16k", "2k", true}, {{"n", "60000"}});
    host::RecordingDevice recorder(host::make_memory_overlay(*base));
    Kernel kernel;
    Mount* mount = test::mount_ffs(kernel, recorder);
    size_t start = 0;
    {
        // One inode in each block of inodes, more blocks than the log of 1 MiB holds.
        VnodeRef dir = make_dir(**mount->root(), "d");
        std::vector<VnodeRef> files;
        for (int i = 0; i < 100 * 64; ++i) {
            auto made = vfs::create(*dir, std::to_string(i), {.mode = 0644}, root);
            REQUIRE(made.ok());
            if (i % 64 == 0) files.push_back(*made);
        }
        REQUIRE(mount->sync().ok());
        start = recorder.events().size();
        for (auto& file : files) REQUIRE(vfs::touch(*file, true, true, root).ok());
        files.clear();
        for (int i = 0; i < 100 * 64; i += 32)
            REQUIRE(vfs::unlink(*dir, std::to_string(i), root).ok());
        REQUIRE(mount->sync().ok());
    }
    const auto events = recorder.events();
    REQUIRE(kernel.unmount(*mount, false).ok());
    unsigned commits = 0;
    auto flushed = host::make_memory_overlay(*base);
    for (size_t i = 0; i < events.size(); ++i) {
        REQUIRE(host::replay(events[i], *flushed).ok());
        if (i < start || (events[i].kind == host::RecordedEvent::Kind::write && i % 8 != 0))
            continue;
        INFO("after event " << i);
        auto cut = host::make_memory_overlay(*flushed);
        Mount* after = test::mount_ffs(kernel, *cut);
        REQUIRE(kernel.unmount(*after, false).ok());
        REQUIRE(test::ffs_findings(*cut) == "");
        ++commits;
    }
    CHECK(commits > 10);
}

namespace {

/// Mounts what `recorder` has recorded from `start` on, cut after each event: it needs no check.
void whole_after_each_event(host::BlockDevice& base, Kernel& kernel,
                            const std::vector<host::RecordedEvent>& events, size_t start) {
    auto flushed = host::make_memory_overlay(base);
    for (size_t i = 0; i < events.size(); ++i) {
        REQUIRE(host::replay(events[i], *flushed).ok());
        if (i < start) continue;
        INFO("after event " << i);
        auto cut = host::make_memory_overlay(*flushed);
        Mount* after = test::mount_ffs(kernel, *cut);
        REQUIRE(kernel.unmount(*after, false).ok());
        REQUIRE(test::ffs_findings(*cut) == "");
    }
}

} // namespace

TEST_CASE("a log that is no larger than a block holds what an operation changes") {
    auto base = host::make_memory_device(24u << 20);
    test::make_ffs(*base, {"2", "be", "64k", "8k", true}, {{"l", "64k"}});
    host::RecordingDevice recorder(host::make_memory_overlay(*base));
    std::string said;
    host::Log log([&](host::LogLevel, std::string_view line) { said += line; });
    Kernel kernel({nullptr, nullptr, &log, false});
    Mount* mount = test::mount_ffs(kernel, recorder);
    REQUIRE(mount->sync().ok());
    const size_t start = recorder.events().size();
    {
        VnodeRef top = *mount->root();
        for (int i = 0; i < 4; ++i) {
            VnodeRef dir = make_dir(*top, "d" + std::to_string(i));
            make_file(*dir, "f", 100'000, 'x');
        }
        REQUIRE(vfs::unlink(**vfs::lookup(*top, "d1", root), "f", root).ok());
        REQUIRE(vfs::rmdir(*top, "d1", root).ok());
        REQUIRE(mount->sync().ok());
    }
    const auto events = recorder.events();
    REQUIRE(kernel.unmount(*mount, false).ok());
    whole_after_each_event(*base, kernel, events, start);
    CHECK(said.find("larger than the log") == std::string::npos);
}

TEST_CASE("what is larger than the log goes past it, and a cut in between asks for a check") {
    auto base = host::make_memory_device(24u << 20);
    test::make_ffs(*base, {"2", "le", "8k", "1k", true}, {{"l", "64k"}});
    host::RecordingDevice recorder(host::make_memory_overlay(*base));
    std::string said;
    host::Log log([&](host::LogLevel, std::string_view line) { said += line; });
    Kernel kernel({nullptr, nullptr, &log, false});
    Mount* mount = test::mount_ffs(kernel, recorder);
    REQUIRE(mount->sync().ok());
    const size_t start = recorder.events().size();
    constexpr uint64_t blocks = 20, size = 8192, first = 12u << 20; // of free space
    {
        Transaction tx = mount->begin().release_value();
        for (uint64_t i = 0; i < blocks; ++i) {
            Buf buf = *mount->buffers().read(first + i * size, size);
            auto bytes = tx.modify(buf, 0, size, WritePhase::inode);
            std::fill(bytes.begin(), bytes.end(), std::byte{0xb1});
        }
        tx.done();
    }
    REQUIRE(mount->sync().ok());
    const auto events = recorder.events();
    CHECK(said.find("is larger than the log") != std::string::npos);
    REQUIRE(kernel.unmount(*mount, false).ok());

    auto cut = host::make_memory_overlay(*base);
    unsigned partly = 0;
    for (size_t i = 0; i < events.size(); ++i) {
        REQUIRE(host::replay(events[i], *cut).ok());
        if (i < start) continue;
        INFO("after event " << i);
        uint64_t there = 0;
        for (uint64_t b = 0; b < blocks; ++b) {
            std::byte byte;
            REQUIRE(cut->read(first + b * size, {&byte, 1}).ok());
            there += byte == std::byte{0xb1} ? 1 : 0;
        }
        ffs::disk::Superblock sb;
        const auto raw = std::as_writable_bytes(std::span(&sb, 1));
        REQUIRE(cut->read(ffs::disk::superblock_ufs2, raw).ok());
        const bool logged =
            (ByteOrder(std::endian::little).get(sb.flags) & ffs::disk::flag_netbsd_wapbl) != 0;
        if (there != 0 && there != blocks) {
            ++partly;
            CHECK(sb.clean == 0);
            CHECK_FALSE(logged);
        }
        if (i + 1 == events.size()) {
            CHECK(there == blocks);
            CHECK(sb.clean == ffs::disk::was_clean);
            CHECK(logged);
        }
    }
    CHECK(partly > 0);
}

TEST_CASE("the space of a removed file counts as free at once") {
    auto device = host::make_memory_device(8u << 20);
    test::make_ffs(*device, {"1", "le", "8k", "1k"});
    Kernel kernel;
    Mount* mount = test::mount_ffs(kernel, *device);
    REQUIRE(mount->sync().ok());
    const StatVfs empty = *mount->statvfs();
    {
        VnodeRef top = *mount->root();
        make_file(*top, "f", 300'000, 'x');
        REQUIRE(mount->sync().ok());
        REQUIRE(vfs::unlink(*top, "f", root).ok());
    }
    for (const bool synced : {false, true}) {
        if (synced) REQUIRE(mount->sync().ok());
        CHECK(mount->statvfs()->blocks_free == empty.blocks_free);
        CHECK(mount->statvfs()->files_free == empty.files_free);
    }
    REQUIRE(kernel.unmount(*mount, false).ok());
}

TEST_CASE(
    "with a log, a hole of petabytes is given back no slower than what is allocated around it") {
    constexpr uint64_t far = uint64_t{1} << 52; // in steps of what a log takes, it would take hours
    auto device = host::make_memory_device(32u << 20);
    test::make_ffs(*device, {"2", "le", "64k", "8k", true});
    Kernel kernel;
    Mount* mount = test::mount_ffs(kernel, *device);
    {
        VnodeRef top = *mount->root();
        const uint64_t before = mount->statvfs()->blocks_free;
        const std::vector<std::byte> data(1'000'000, std::byte{7});
        const auto fill = [&](std::string_view name) {
            VnodeRef file = *vfs::create(*top, name, {.mode = 0644}, root);
            for (const uint64_t at : {uint64_t{0}, uint64_t{300} << 20, far / 3, far})
                REQUIRE(vfs::write(*file, at, data, root).ok());
            return file;
        };
        VnodeRef file = fill("cut");
        AttrChange change;
        change.size = 5;
        REQUIRE(vfs::setattr(*file, change, root).ok());
        REQUIRE(vfs::unlink(*top, "cut", root).ok());
        file = fill("punched");
        REQUIRE(vfs::fallocate(*file, 1, far + 500'000, vfs::Fallocate::punch_hole, root).ok());
        std::array<std::byte, 2> ends{};
        CHECK(*vfs::read(*file, far + 500'000, ends) == 2);
        CHECK(ends == std::array{std::byte{0}, std::byte{7}});
        CHECK(*vfs::read(*file, 0, ends) == 2);
        CHECK(ends == std::array{std::byte{7}, std::byte{0}});
        REQUIRE(vfs::unlink(*top, "punched", root).ok());
        file = fill("removed");
        REQUIRE(vfs::unlink(*top, "removed", root).ok());
        file.reset();
        REQUIRE(mount->sync().ok());
        CHECK(mount->statvfs()->blocks_free == before);
    }
    REQUIRE(kernel.unmount(*mount, false).ok());
    CHECK(test::ffs_findings(*device) == "");
}
