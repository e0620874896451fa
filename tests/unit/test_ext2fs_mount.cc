// A mounted ext2 in process: who may use what is kept back, and many threads at work in one tree.
#include "hostshim/faulty_device.h"
#include "hostshim/memory_device.h"
#include "hostshim/overlay_device.h"
#include "hostshim/thread.h"
#include "kernel/fs/ext2fs/ext2fs.h"
#include "kernel/fs/ext2fs/format.h"
#include "kernel/kern/kernel.h"
#include "kernel/vfs/acl.h"
#include "kernel/vfs/epoch.h"
#include "kernel/vfs/vfs_ops.h"

#include <catch2/catch.hpp>
#include <fmt/format.h>

#include <atomic>

using namespace rump;

namespace {

const Cred root = Cred::superuser();

/// An empty file system, and what is left of it after mounts.
class Image {
public:
    explicit Image(uint64_t size, std::string_view reserved = "0") {
        host::SeededRandom random(5);
        Kernel kernel({nullptr, &random, nullptr, false});
        OptionSet options;
        REQUIRE(options.set(ext2::type().newfs_options(), "block_size", "1024").ok());
        REQUIRE(options.set(ext2::type().newfs_options(), "reserved", reserved).ok());
        device_ = host::make_memory_device(size);
        REQUIRE(ext2::type().newfs(kernel, *device_, options).ok());
    }
    ext2::disk::Superblock superblock() {
        ext2::disk::Superblock sb;
        REQUIRE(
            device_->read(ext2::disk::superblock_offset, std::as_writable_bytes(std::span(&sb, 1)))
                .ok());
        return sb;
    }
    void set_superblock(const ext2::disk::Superblock& sb) {
        REQUIRE(
            device_->write(ext2::disk::superblock_offset, std::as_bytes(std::span(&sb, 1))).ok());
    }
    host::BlockDevice& device() { return *device_; }
    std::vector<std::string> findings() {
        host::Log log(host::null_sink());
        CheckOptions options;
        options.force = true;
        auto report = ext2::type().check(*device_, options, log);
        REQUIRE(report.ok());
        std::vector<std::string> found;
        for (const Finding& f : report->findings) found.push_back(f.place + ": " + f.message);
        return found;
    }

private:
    std::unique_ptr<host::BlockDevice> device_;
};

/// A mount whose device stays the image's.
struct Mounted {
    explicit Mounted(Image& image, MountOptions options = {}, bool background = false)
        : kernel({nullptr, nullptr, nullptr, background}) {
        auto made =
            kernel.mount(ext2::type(), {std::make_unique<host::FaultyDevice>(image.device()),
                                        std::move(options)});
        REQUIRE(made.ok());
        mount = *made;
    }
    ~Mounted() {
        const bool done = kernel.unmount(*mount, false).ok();
        CHECK(done);
    }
    Kernel kernel;
    Mount* mount;
};

/// Blocks that are left when `who` has written as much as it can into a file of its own.
uint64_t left_by(Image& image, const Cred& who, const MountOptions& options) {
    auto copy = host::make_memory_overlay(image.device());
    Kernel kernel({nullptr, nullptr, nullptr, false});
    auto made = kernel.mount(ext2::type(), {std::move(copy), options});
    REQUIRE(made.ok());
    Mount& mount = **made;
    uint64_t left = 0;
    {
        const VnodeRef top = *mount.root();
        const VnodeRef file = *vfs::create(*top, "file", {FileType::reg, 0644, 0, {}},
                                           Cred::privileged(who.uid(), 0));
        const std::vector<std::byte> piece(65536, std::byte{1});
        for (uint64_t at = 0;;) {
            auto written = vfs::write(*file, at, piece, who);
            if (!written.ok()) break;
            at += *written;
        }
        left = mount.statvfs()->blocks_free;
    }
    REQUIRE(kernel.unmount(mount, true).ok());
    return left;
}

} // namespace

TEST_CASE("with noacl a file's modes decide, and its ACL is there again without") {
    using Tag = vfs::AclEntry::Tag;
    const vfs::Acl acl{{Tag::user_obj, 6, UINT32_MAX},
                       {Tag::user, 0, 1001},
                       {Tag::group_obj, 4, UINT32_MAX},
                       {Tag::mask, 4, UINT32_MAX},
                       {Tag::other, 4, UINT32_MAX}};
    const Cred named(1001, 1001);
    const auto listed = [](Vnode& vnode) {
        std::vector<std::string> names;
        REQUIRE(vfs::listxattr(vnode, root, [&](auto name) { names.emplace_back(name); }).ok());
        return names;
    };
    const auto check_named = [&](Mount& mount, bool may) {
        const VnodeRef file = *vfs::lookup(*mount.root().value(), "f", root);
        CHECK(vfs::access(*file, vfs::may_read, named).ok() == may);
        CHECK(vfs::getxattr(*file, vfs::acl_access_name, {}, root).ok() != may);
        CHECK(listed(*file).empty() == may);
    };
    Image image(8 << 20);
    {
        Mounted fs(image);
        const VnodeRef file =
            *vfs::create(*fs.mount->root().value(), "f", {FileType::reg, 0644, 0, {}}, root);
        REQUIRE(
            vfs::setxattr(*file, vfs::acl_access_name, encode_acl(acl), XattrSet::any, root).ok());
        check_named(*fs.mount, false);
    }
    MountOptions options;
    options.acl = false;
    check_named(*Mounted(image, options).mount, true);
    check_named(*Mounted(image).mount, false);
    CHECK(image.findings().empty());
}

TEST_CASE("reserved blocks are for the superuser, their owner and their group") {
    Image image(8 << 20, "10");
    auto sb = image.superblock();
    const uint64_t reserved = sb.reserved_blocks;
    REQUIRE(reserved > 500);
    const Cred owner(77, 5), member(1000, 5, {88}), nobody(1000, 5);
    const uint64_t spare = 8; // indirect blocks that a last byte would need
    CHECK(left_by(image, nobody, {}) >= reserved);
    CHECK(left_by(image, root, {}) < spare);
    CHECK(left_by(image, owner, {}) >= reserved);
    sb.reserved_uid = 77;
    sb.reserved_gid = 88;
    image.set_superblock(sb);
    CHECK(left_by(image, owner, {}) < spare);
    CHECK(left_by(image, member, {}) < spare);
    CHECK(left_by(image, nobody, {}) >= reserved);
    MountOptions options;
    REQUIRE(options.fs.set(ext2::type().mount_options(), "resuid", "1000").ok());
    REQUIRE(options.fs.set(ext2::type().mount_options(), "resgid", "0").ok());
    CHECK(left_by(image, nobody, options) < spare);
    CHECK(left_by(image, owner, options) >= reserved);
    CHECK(left_by(image, Cred(5, 0), options) >= reserved); // group 0 is nobody's in particular
}

TEST_CASE("the superblock says where it was mounted last") {
    Image image(4 << 20);
    MountOptions options;
    options.mounted_on = "/a/directory/" + std::string(80, 'x');
    { Mounted at(image, options); }
    const auto sb = image.superblock();
    CHECK(std::string_view(sb.last_mounted, sizeof sb.last_mounted) ==
          std::string_view(options.mounted_on).substr(0, sizeof sb.last_mounted));
    { Mounted in_process(image); } // which has no such place
    CHECK(image.superblock().last_mounted[0] == '/');
}

namespace {

/// What one thread does among others in the same few directories.
void disturb(Mount& mount, uint64_t seed, int operations, std::atomic<int>& surprises) {
    host::SeededRandom random(seed);
    const VnodeRef top = *mount.root();
    const auto name = [&] { return fmt::format("n{}", random.below(24)); };
    const auto directory = [&]() -> VnodeRef {
        auto found = vfs::lookup(*top, fmt::format("d{}", random.below(4)), root);
        return found.ok() ? *found : top;
    };
    const auto expect = [&](Errno error) {
        for (Errno known : {Errno::noent, Errno::exist, Errno::isdir, Errno::notdir,
                            Errno::notempty, Errno::stale, Errno::inval, Errno::nodata})
            if (error == known) return;
        surprises.fetch_add(1);
    };
    std::vector<std::byte> bytes(20000);
    for (int i = 0; i < operations; ++i) {
        const VnodeRef dir = directory();
        switch (random.below(9)) {
        case 0:
        case 1:
            if (auto made = vfs::create(*dir, name(), {FileType::reg, 0644, 0, {}}, root);
                made.ok()) {
                random.fill(bytes);
                if (auto w = vfs::write(**made, random.below(30000), bytes, root); !w.ok())
                    expect(w.error());
            } else {
                expect(made.error());
            }
            break;
        case 2:
            if (auto gone = vfs::unlink(*dir, name(), root); !gone.ok()) expect(gone.error());
            break;
        case 3:
            if (auto moved =
                    vfs::rename(*dir, name(), *directory(), name(), vfs::RenameMode::replace, root);
                !moved.ok())
                expect(moved.error());
            break;
        case 4:
            if (auto made = vfs::mkdir(*dir, name(), {FileType::dir, 0755, 0, {}}, root);
                !made.ok())
                expect(made.error());
            break;
        case 5:
            if (auto gone = vfs::rmdir(*dir, name(), root); !gone.ok()) expect(gone.error());
            break;
        case 6:
            if (auto found = vfs::lookup(*dir, name(), root); found.ok()) {
                (void)vfs::getattr(**found).ok();
                if ((*found)->is_reg()) (void)vfs::read(**found, 0, bytes).ok();
                AttrChange change;
                change.size = random.below(40000);
                if ((*found)->is_reg() && random.below(2))
                    if (auto set = vfs::setattr(**found, change, root); !set.ok())
                        expect(set.error());
            }
            break;
        case 7:
            if (auto found = vfs::lookup(*dir, name(), root); found.ok())
                if (auto set = vfs::setxattr(**found, "user.x", std::span(bytes).first(20),
                                             XattrSet::any, root);
                    !set.ok())
                    expect(set.error());
            break;
        default:
            (void)vfs::readdir(*dir, 0, [](const DirEntry&) { return true; }).ok();
            if (random.below(16) == 0)
                if (auto synced = mount.sync(); !synced.ok()) expect(synced.error());
        }
    }
}

} // namespace

TEST_CASE("threads at work in the same directories leave an image in which nothing is wrong") {
    Image image(24 << 20);
    std::atomic<int> surprises{0};
    MountOptions options;
    options.vnode_limit = 16; // vnodes end all the time, while commits collect
    options.cache_bytes = 256 << 10;
    {
        Mounted at(image, options, true);
        for (int d = 0; d < 4; ++d)
            REQUIRE(vfs::mkdir(**at.mount->root(), fmt::format("d{}", d),
                               {FileType::dir, 0755, 0, {}}, root)
                        .ok());
        std::vector<host::Thread> threads;
        for (uint64_t seed = 1; seed <= 4; ++seed)
            threads.push_back(host::Thread::start("load", [&, seed] {
                                  disturb(*at.mount, seed, 1500, surprises);
                              }).release_value());
        threads.clear(); // waits for them
        CHECK(!at.mount->tainted());
    }
    CHECK(surprises == 0);
    CHECK(image.findings() == std::vector<std::string>());
}

TEST_CASE("pieces of one file that a cache above hands over side by side are all on the device") {
    Image image(24 << 20);
    constexpr size_t page = 4096, pages = 512, threads = 4;
    const auto payer = [](const Attr&) { return root; };
    const auto piece = [](size_t at, int pass) {
        return std::vector<std::byte>(page, static_cast<std::byte>(at * 3 + at / 256 + pass));
    };
    {
        Mounted at(image, {}, true);
        const VnodeRef file =
            *vfs::create(**at.mount->root(), "file", {FileType::reg, 0644, 0, {}}, root);
        for (int pass = 0; pass < 2; ++pass) { // into nothing, holes among it; and over it
            std::atomic<bool> failed{false};
            std::vector<host::Thread> running;
            for (size_t t = 0; t < threads; ++t)
                running.push_back(host::Thread::start("writer", [&, t] {
                                      for (size_t i = t; i < pages; i += threads) {
                                          const auto data = piece(i, pass);
                                          auto put = vfs::write_back(*file, i * page, data, payer);
                                          if (!put || *put != page) failed = true;
                                          if (i % 64 == 0 && !vfs::fsync(*file, false).ok())
                                              failed = true;
                                      }
                                  }).release_value());
            running.clear();
            CHECK(!failed);
            REQUIRE(vfs::fsync(*file, false).ok());
            // With nothing else to commit.
            REQUIRE(vfs::write_back(*file, 0, piece(0, pass), payer).ok());
            const uint64_t flushes = at.mount->epoch().flushes.value();
            REQUIRE(vfs::fsync(*file, false).ok());
            CHECK(at.mount->epoch().flushes.value() > flushes);
            // As the device has it, without this mount.
            auto copy = host::make_memory_overlay(image.device());
            Kernel kernel({nullptr, nullptr, nullptr, false});
            MountOptions options;
            options.read_only = true;
            auto again = kernel.mount(ext2::type(), {std::move(copy), options});
            REQUIRE(again.ok());
            {
                const VnodeRef seen = *vfs::lookup(**(*again)->root(), "file", root);
                CHECK(vfs::getattr(*seen)->size == pages * page);
                for (size_t i = 0; i < pages; ++i) {
                    std::vector<std::byte> got(page);
                    REQUIRE(vfs::read(*seen, i * page, got).value() == page);
                    if (got != piece(i, pass)) FAIL("pass " << pass << ", page " << i);
                }
            }
            REQUIRE(kernel.unmount(**again, false).ok());
        }
    }
    CHECK(image.findings() == std::vector<std::string>());
}
