// What is written is what NetBSD writes: sizes and places of newfs, the log's header, what check
// makes of a log. The expected numbers were read from file systems that NetBSD made.
#include "tests/conformance/borrowed_device.h"

#include "kernel/fs/ffs/dir.h"
#include "kernel/fs/ffs/ffs.h"
#include "kernel/fs/ffs/geometry.h"
#include "kernel/fs/ffs/group.h"
#include "kernel/fs/ffs/inode.h"
#include "kernel/kern/kernel.h"
#include "kernel/vfs/vfs_ops.h"

#include "hostshim/memory_device.h"
#include "hostshim/overlay_device.h"

#include <catch2/catch.hpp>

#include <algorithm>

using namespace rump;
using namespace rump::ffs;

namespace {

const Cred root = Cred::superuser();
using Options = std::vector<std::pair<std::string, std::string>>;

std::unique_ptr<host::BlockDevice> make(uint64_t bytes, const Options& options) {
    auto device = host::make_memory_device(bytes);
    Kernel kernel;
    OptionSet set;
    for (const auto& [name, value] : options)
        REQUIRE(set.set(type().newfs_options(), name,
                        name == "ea" ? std::nullopt : std::optional<std::string_view>(value))
                    .ok());
    auto made = type().newfs(kernel, *device, set);
    if (!made) FAIL(made.error().text);
    return device;
}

disk::Superblock superblock(host::BlockDevice& device) {
    const auto found = find_superblock(device);
    REQUIRE(found.ok());
    REQUIRE(found->has_value());
    return (*found)->raw;
}

Geometry geometry(host::BlockDevice& device) {
    const auto found = find_superblock(device);
    auto geo = Geometry::validate((*found)->raw, (*found)->order, (*found)->offset, device.size());
    REQUIRE(geo.ok());
    return *geo;
}

Mount& mount_on(Kernel& kernel, host::BlockDevice& device, const char* option = nullptr) {
    MountArgs args;
    args.device = std::make_unique<conformance::BorrowedDevice>(device);
    if (option != nullptr)
        REQUIRE(args.options.fs.set(type().mount_options(), option, std::nullopt).ok());
    auto mounted = kernel.mount(type(), std::move(args));
    if (!mounted) FAIL(mounted.error().text);
    return **mounted;
}

/// Codes of what check finds, sorted; notes with a "note " before.
std::vector<std::string> check(host::BlockDevice& device, bool repair = false) {
    host::Log log(host::null_sink());
    CheckOptions options;
    options.force = true;
    options.repair = repair;
    auto report = type().check(device, options, log);
    if (!report) return {report.error().text};
    std::vector<std::string> codes;
    for (const Finding& f : report->findings)
        codes.push_back((f.severity == Finding::Severity::note ? "note " : "") + f.code);
    std::sort(codes.begin(), codes.end());
    return codes;
}

const std::vector<std::string> nothing;

} // namespace

TEST_CASE("newfs places groups, inodes and summaries as NetBSD's does") {
    struct Expected {
        const char *format, *block, *fragment, *density;
        uint64_t mib;
        uint32_t ncg, ipg, fpg, dblkno, dsize, cgsize, cssize, sbsize, maxcontig, nextfreeoff;
    };
    const Expected all[] = {
        {"0", "8k", "1k", "4k", 24, 4, 1472, 6144, 216, 23759, 2048, 1024, 2048, 8, 1256},
        {"1", "4k", "512", "2k", 24, 4, 2912, 12288, 784, 46111, 2560, 512, 1536, 16, 2332},
        {"1", "8k", "8k", "32k", 32, 4, 256, 1024, 8, 4069, 8192, 8192, 8192, 8, 496},
        {"1", "16k", "2k", "8k", 40, 4, 1280, 5120, 104, 20087, 2048, 2048, 2048, 4, 1072},
        {"2", "4k", "512", "2k", 24, 4, 2720, 12288, 1528, 43471, 2560, 512, 1536, 16, 2300},
        {"2", "8k", "1k", "2k", 24, 4, 2720, 6144, 768, 21719, 2048, 1024, 2048, 8, 1404},
        {"2", "16k", "2k", "8k", 40, 4, 1280, 5120, 216, 19735, 2048, 2048, 2048, 4, 1064},
        {"2", "32k", "4k", "16k", 48, 4, 768, 3072, 88, 12007, 4096, 4096, 4096, 2, 704},
    };
    for (const Expected& e : all) {
        INFO("-O " << e.format << " -b " << e.block << " -f " << e.fragment);
        auto device = make(e.mib << 20,
                           {{"O", e.format}, {"b", e.block}, {"f", e.fragment}, {"i", e.density}});
        const disk::Superblock sb = superblock(*device);
        const Geometry geo = geometry(*device);
        CHECK(geo.ncg == e.ncg);
        CHECK(geo.ipg == e.ipg);
        CHECK(geo.fpg == e.fpg);
        CHECK(geo.dblkno == e.dblkno);
        CHECK(geo.csaddr.value() == e.dblkno);
        CHECK(geo.dsize == e.dsize);
        CHECK(geo.cgsize == e.cgsize);
        CHECK(geo.cssize == e.cssize);
        CHECK(geo.superblock_bytes == e.sbsize);
        CHECK(geo.order.get(sb.maxcontig) == e.maxcontig);
        CHECK(geo.contigsumsize == e.maxcontig);
        CHECK(geo.minfree == 5);
        disk::CylinderGroup cg;
        REQUIRE(device->read(geo.bytes(geo.cg_block(0)), std::as_writable_bytes(std::span(&cg, 1)))
                    .ok());
        CHECK(geo.order.get(cg.nextfreeoff) == e.nextfreeoff);
        CHECK(check(*device) == nothing);
    }
}

TEST_CASE("blocks of 64 KiB, one to a transfer, have no cluster maps") {
    for (const char* format : {"1", "2"}) {
        auto device = make(64u << 20, {{"O", format}, {"b", "64k"}, {"f", "8k"}});
        CHECK(geometry(*device).contigsumsize == 0);
        CHECK(check(*device) == nothing);
        Kernel kernel;
        Mount& mount = mount_on(kernel, *device);
        VnodeRef file = *vfs::create(**mount.root(), "f", {FileType::reg, 0644, 0, {}}, root);
        const std::vector<std::byte> data(300'000, std::byte{1});
        CHECK(*vfs::write(*file, 0, data, root) == data.size());
        file = {};
        REQUIRE(kernel.unmount(mount, false).ok());
        CHECK(check(*device) == nothing);
    }
}

TEST_CASE("the log's header counts in device sectors, as NetBSD's replay reads it") {
    for (const char* order : {"le", "be"}) {
        auto device = make(16u << 20, {{"O", "2"}, {"B", order}, {"l", "1m"}});
        Kernel kernel;
        Mount& mount = mount_on(kernel, *device);
        REQUIRE(vfs::create(**mount.root(), "f", {FileType::reg, 0644, 0, {}}, root).ok());
        REQUIRE(mount.sync().ok());
        const Geometry geo = geometry(*device);
        REQUIRE(geo.log);
        CHECK(geo.log_flag);
        for (uint64_t copy : {0, 1}) {
            disk::WapblHeader h;
            REQUIRE(
                device->read(geo.log->offset + copy * 512, std::as_writable_bytes(std::span(&h, 1)))
                    .ok());
            CHECK(geo.order.get(h.type) == disk::wapbl_header);
            CHECK(geo.order.get(h.len) == 512);
            CHECK(geo.order.get(h.version) == 1);
            CHECK(geo.order.get(h.log_dev_bshift) == 9);
            CHECK(geo.order.get(h.fs_dev_bshift) == 9);
            CHECK(geo.order.get(h.circ_off) == 1024);
            CHECK(geo.order.get(h.circ_size) == geo.log->length - 1024);
            CHECK(geo.order.get(h.generation) % 2 == copy);
        }
        REQUIRE(kernel.unmount(mount, false).ok());
        CHECK_FALSE(geometry(*device).log_flag);
    }
}

TEST_CASE("check knows that the next mount frees what was in use without a name") {
    auto device = make(16u << 20, {{"O", "2"}, {"l", "1m"}});
    auto crashed = host::make_memory_device(16u << 20);
    {
        Kernel kernel;
        Mount& mount = mount_on(kernel, *device);
        VnodeRef top = *mount.root();
        VnodeRef file = *vfs::create(*top, "f", {FileType::reg, 0644, 0, {}}, root);
        VnodeRef dir = *vfs::mkdir(*top, "d", {FileType::dir, 0755, 0, {}}, root);
        const std::vector<std::byte> data(300'000, std::byte{1});
        REQUIRE(vfs::write(*file, 0, data, root).ok());
        REQUIRE(vfs::unlink(*top, "f", root).ok());
        REQUIRE(vfs::rmdir(*top, "d", root).ok());
        REQUIRE(mount.sync().ok());
        std::vector<std::byte> bytes(device->size());
        REQUIRE(device->read(0, bytes).ok());
        REQUIRE(crashed->write(0, bytes).ok());
        file = {};
        dir = {};
        top = {};
        REQUIRE(kernel.unmount(mount, false).ok());
    }
    CHECK(check(*crashed) == std::vector<std::string>{"note log-replayed", "note unlinked-in-use",
                                                      "note unlinked-in-use"});
    auto repaired = host::make_memory_overlay(*crashed);
    check(*repaired, true);
    CHECK(check(*repaired) == nothing);
    Kernel kernel;
    Mount& mount = mount_on(kernel, *crashed);
    REQUIRE(kernel.unmount(mount, false).ok());
    CHECK(check(*crashed) == nothing);
}

TEST_CASE("option log makes a log in the file system, as NetBSD does") {
    for (const auto& [format, block, fragment] :
         {std::tuple{"1", "8k", "1k"}, {"2", "16k", "2k"}, {"2", "4k", "512"}, {"1", "4k", "4k"}}) {
        INFO("-O " << format << " -b " << block << " -f " << fragment);
        auto device = make(24u << 20, {{"O", format}, {"b", block}, {"f", fragment}});
        auto crashed = host::make_memory_device(24u << 20);
        {
            Kernel kernel;
            Mount& mount = mount_on(kernel, *device, "log");
            REQUIRE(vfs::create(**mount.root(), "f", {FileType::reg, 0644, 0, {}}, root).ok());
            REQUIRE(mount.sync().ok());
            std::vector<std::byte> bytes(device->size());
            REQUIRE(device->read(0, bytes).ok());
            REQUIRE(crashed->write(0, bytes).ok());
            REQUIRE(kernel.unmount(mount, false).ok());
        }
        CHECK(check(*device) == nothing);
        const disk::Superblock sb = superblock(*device);
        const Geometry geo = geometry(*device);
        REQUIRE(geo.log);
        CHECK_FALSE(geo.log_flag);
        CHECK(sb.clean == disk::is_clean);
        CHECK(sb.journal_location == disk::journal_in_filesystem);
        CHECK(geo.log->length == 1u << 20);
        CHECK(geo.log->block_size == 512);
        CHECK(geo.cg_of(FragNumber(geo.log->offset >> geo.fshift)) == geo.ncg / 2);
        CHECK(geometry(*crashed).log_flag);
        CHECK(superblock(*crashed).clean == disk::was_clean);
        CHECK(check(*crashed) == std::vector<std::string>{"note log-replayed"});
        // The next mount uses it without being told.
        Kernel kernel;
        Mount& again = mount_on(kernel, *device);
        CHECK(geometry(*device).log_flag);
        CHECK(geometry(*device).log->offset == geo.log->offset);
        REQUIRE(kernel.unmount(again, false).ok());
        CHECK(check(*device) == nothing);
    }
}

TEST_CASE("option log takes what lies behind the file system when that is enough") {
    auto device = make(24u << 20, {{"O", "2"}, {"s", "16m"}});
    Kernel kernel;
    Mount& mount = mount_on(kernel, *device, "log");
    REQUIRE(kernel.unmount(mount, false).ok());
    const Geometry geo = geometry(*device);
    REQUIRE(geo.log);
    CHECK(superblock(*device).journal_location == disk::journal_end_of_partition);
    CHECK(geo.log->inode == 0);
    CHECK(geo.log->offset == 16u << 20);
    CHECK(geo.log->length == 8u << 20);
    CHECK(check(*device) == nothing);
}

TEST_CASE("option log says why there can be none, and changes nothing") {
    const auto refusal = [](host::BlockDevice& device) {
        std::vector<std::byte> before(device.size()), after(device.size());
        REQUIRE(device.read(0, before).ok());
        Kernel kernel;
        MountArgs args;
        args.device = std::make_unique<conformance::BorrowedDevice>(device);
        REQUIRE(args.options.fs.set(type().mount_options(), "log", std::nullopt).ok());
        auto mounted = kernel.mount(type(), std::move(args));
        REQUIRE_FALSE(mounted.ok());
        CHECK(check(device) == nothing);
        return mounted.error().text;
    };
    CHECK_THAT(refusal(*make(24u << 20, {{"O", "0"}})), Catch::Contains("old format"));
    auto full = make(4u << 20, {{"O", "1"}});
    {
        Kernel kernel;
        Mount& mount = mount_on(kernel, *full);
        VnodeRef file = *vfs::create(**mount.root(), "f", {FileType::reg, 0644, 0, {}}, root);
        const std::vector<std::byte> data(3'300'000, std::byte{1});
        REQUIRE(vfs::write(*file, 0, data, root).ok());
        file = {};
        REQUIRE(kernel.unmount(mount, false).ok());
    }
    CHECK_THAT(refusal(*full), Catch::Contains("a log of 1048576 bytes has no room"));
    auto freebsd = make(24u << 20, {{"O", "2"}});
    disk::Superblock sb = superblock(*freebsd);
    geometry(*freebsd).order.set(sb.sblockactualloc, disk::superblock_ufs2);
    REQUIRE(freebsd->write(disk::superblock_ufs2, std::as_bytes(std::span(&sb, 1))).ok());
    CHECK_THAT(refusal(*freebsd), Catch::Contains("FreeBSD made this file system"));
}

namespace {

disk::Dinode2 dinode(host::BlockDevice& device, uint64_t number) {
    const Geometry geo = geometry(device);
    disk::Dinode2 d;
    REQUIRE(device
                .read(geo.bytes(geo.inode_block(number)) + geo.inode_offset(number),
                      std::as_writable_bytes(std::span(&d, 1)))
                .ok());
    return d;
}

/// An empty file system with the check hashes of FreeBSD.
std::unique_ptr<host::BlockDevice> make_hashed(const char* order) {
    auto device = make(24u << 20, {{"O", "2"}, {"B", order}, {"b", "16k"}, {"f", "2k"}});
    disk::Superblock sb = superblock(*device);
    const ByteOrder o = geometry(*device).order;
    o.set(sb.sblockactualloc, disk::superblock_ufs2);
    o.set(sb.flags, disk::flag_freebsd_metackhash);
    o.set(sb.metackhash, disk::ck_superblock | disk::ck_cylgrp | disk::ck_inode);
    REQUIRE(device->write(disk::superblock_ufs2, std::as_bytes(std::span(&sb, 1))).ok());
    const Geometry geo = geometry(*device);
    std::vector<std::byte> block(geo.bsize);
    for (uint32_t cg = 0; cg < geo.ncg; ++cg) {
        REQUIRE(device->read(geo.bytes(geo.cg_block(cg)), block).ok());
        set_group_hash(geo, block);
        REQUIRE(device->write(geo.bytes(geo.cg_block(cg)), block).ok());
    }
    const uint64_t at = geo.bytes(geo.inode_block(2)) + geo.inode_offset(2);
    std::vector<std::byte> raw(geo.inode_size);
    REQUIRE(device->read(at, raw).ok());
    const InodeState s = decode_inode(geo, raw);
    encode_inode(geo, s, s.nlink, raw);
    REQUIRE(device->write(at, raw).ok());
    std::vector<std::byte> bytes(geo.superblock_bytes);
    REQUIRE(device->read(disk::superblock_ufs2, bytes).ok());
    o.set(reinterpret_cast<disk::Superblock*>(bytes.data())->ckhash, superblock_hash(bytes));
    REQUIRE(device->write(disk::superblock_ufs2, bytes).ok());
    return device;
}

void flip(host::BlockDevice& device, uint64_t at) {
    std::array<std::byte, 1> byte{};
    REQUIRE(device.read(at, byte).ok());
    byte[0] ^= std::byte{1};
    REQUIRE(device.write(at, byte).ok());
}

} // namespace

TEST_CASE("the check hash is CRC32C from all ones, not inverted") {
    const std::string_view digits = "123456789";
    CHECK(check_hash(std::as_bytes(std::span(digits))) == ~0xe3069283u);
}

TEST_CASE("FreeBSD's check hashes are kept in superblock, groups and inodes") {
    for (const char* order : {"le", "be"}) {
        auto device = make_hashed(order);
        REQUIRE(check(*device) == nothing);
        Kernel kernel;
        Mount& mount = mount_on(kernel, *device);
        {
            VnodeRef top = *mount.root();
            for (int i = 0; i < 300; ++i)
                REQUIRE(
                    vfs::create(*top, "f" + std::to_string(i), {FileType::reg, 0644, 0, {}}, root)
                        .ok());
            for (int i = 0; i < 300; i += 3)
                REQUIRE(vfs::unlink(*top, "f" + std::to_string(i), root).ok());
        }
        REQUIRE(kernel.unmount(mount, false).ok());
        CHECK(check(*device) == nothing);
        const Geometry geo = geometry(*device);
        const auto finds = [&](uint64_t at, const char* code) {
            auto damaged = host::make_memory_overlay(*device);
            flip(*damaged, at);
            const auto found = check(*damaged);
            INFO(code);
            CHECK(std::find(found.begin(), found.end(), code) != found.end());
        };
        finds(geo.bytes(geo.cg_block(1)) + geo.cgsize - 1, "group-check-hash");
        finds(geo.bytes(geo.inode_block(2)) + geo.inode_offset(2) + 32, "inode-check-hash");
        finds(disk::superblock_ufs2 + offsetof(disk::Superblock, fsmnt), "superblock-check-hash");
    }
}

TEST_CASE("directories of FreeBSD know how deep they are") {
    auto device = make_hashed("le");
    uint64_t numbers[3] = {};
    {
        Kernel kernel;
        Mount& mount = mount_on(kernel, *device);
        {
            VnodeRef top = *mount.root();
            VnodeRef dir = top;
            for (int i = 0; i < 3; ++i) {
                dir = *vfs::mkdir(*dir, "d", {FileType::dir, 0755, 0, {}}, root);
                numbers[i] = dir->number().value();
            }
            dir = *vfs::lookup(**vfs::lookup(*top, "d", root), "d", root);
            REQUIRE(vfs::rename(*dir, "d", *top, "moved", vfs::RenameMode::replace, root).ok());
        }
        REQUIRE(kernel.unmount(mount, false).ok());
    }
    const ByteOrder o = geometry(*device).order;
    CHECK(o.get(dinode(*device, 2).freelink) == 0);
    CHECK(o.get(dinode(*device, numbers[0]).freelink) == 1);
    CHECK(o.get(dinode(*device, numbers[1]).freelink) == 2);
    CHECK(o.get(dinode(*device, numbers[2]).freelink) == 1);
    CHECK(check(*device) == nothing);
}

TEST_CASE("a UFS2 that NetBSD or OpenBSD has mounted gets no attributes") {
    const auto setting = [](host::BlockDevice& device) {
        Kernel kernel;
        Mount& mount = mount_on(kernel, device);
        VnodeRef file = *vfs::create(**mount.root(), "f", {FileType::reg, 0644, 0, {}}, root);
        const auto value = std::as_bytes(std::span("value", 5));
        const auto set = vfs::setxattr(*file, "user.a", value, XattrSet::any, root);
        file = {};
        REQUIRE(kernel.unmount(mount, false).ok());
        CHECK(check(device) == nothing);
        return set.ok() ? 0 : to_int(set.error());
    };
    const auto mounted_on = [](host::BlockDevice& device, auto change) {
        disk::Superblock sb = superblock(device);
        sb.fsmnt[0] = '/';
        change(sb);
        REQUIRE(device.write(disk::superblock_ufs2, std::as_bytes(std::span(&sb, 1))).ok());
    };
    auto fresh = make(16u << 20, {{"O", "2"}});
    CHECK(setting(*fresh) == 0);
    auto netbsd = make(16u << 20, {{"O", "2"}});
    mounted_on(*netbsd, [](disk::Superblock&) {});
    CHECK(setting(*netbsd) == EOPNOTSUPP);
    auto freebsd = make(16u << 20, {{"O", "2"}});
    mounted_on(*freebsd,
               [](disk::Superblock& sb) { ByteOrder(std::endian::little).set(sb.mtime, 1); });
    CHECK(setting(*freebsd) == 0);
    auto logged = make(16u << 20, {{"O", "2"}, {"l", "1m"}});
    CHECK(setting(*logged) == EOPNOTSUPP);
    auto marked = make(16u << 20, {{"O", "2"}, {"l", "1m"}, {"ea", ""}});
    CHECK(setting(*marked) == 0);
}

TEST_CASE("Apple's UFS, which a label tells, has directories of 1 KiB chunks") {
    auto device = make(16u << 20, {{"O", "1"}, {"B", "be"}, {"b", "8k"}, {"f", "1k"}});
    // The label; a root of one such chunk; the rest of the difference is mended by check.
    be32 label;
    label = disk::apple_label_magic;
    REQUIRE(device->write(disk::apple_label_offset, std::as_bytes(std::span(&label, 1))).ok());
    Geometry geo = geometry(*device);
    REQUIRE(read_apple_label(*device, geo).ok());
    REQUIRE(geo.dirblk == disk::dirblk_apple);
    const uint64_t at = geo.bytes(geo.inode_block(2)) + geo.inode_offset(2);
    std::vector<std::byte> raw(geo.inode_size);
    REQUIRE(device->read(at, raw).ok());
    InodeState s = decode_inode(geo, raw);
    s.size = geo.dirblk;
    encode_inode(geo, s, s.nlink, raw);
    REQUIRE(device->write(at, raw).ok());
    std::vector<std::byte> chunk(geo.dirblk);
    put_dots(geo, chunk, 2, 2);
    const uint64_t root_block = get_address(geo, s.area, 0);
    REQUIRE(device->write(geo.bytes(FragNumber(root_block)), chunk).ok());
    CHECK(check(*device) == std::vector<std::string>(geo.ncg, "group-header"));
    check(*device, true);
    CHECK(check(*device) == nothing);
    {
        Kernel kernel;
        Mount& mount = mount_on(kernel, *device);
        for (int i = 0; i < 300; ++i)
            REQUIRE(vfs::create(**mount.root(), "a longer name " + std::to_string(i),
                                {FileType::reg, 0644, 0, {}}, root)
                        .ok());
        for (int i = 0; i < 300; i += 3)
            REQUIRE(vfs::unlink(**mount.root(), "a longer name " + std::to_string(i), root).ok());
        CHECK((*vfs::getattr(**mount.root())).size % geo.dirblk == 0);
        REQUIRE(kernel.unmount(mount, false).ok());
    }
    CHECK(check(*device) == nothing);
    Kernel kernel;
    Mount& mount = mount_on(kernel, *device);
    CHECK(vfs::lookup(**mount.root(), "a longer name 299", root).ok());
    CHECK_FALSE(vfs::lookup(**mount.root(), "a longer name 297", root).ok());
    REQUIRE(kernel.unmount(mount, false).ok());
}

TEST_CASE("what was in use when the system went down is not marked clean by mounting it") {
    struct Case {
        const char *format, *says;
        uint8_t found;
        bool sun, clean;
    };
    // NetBSD: 1 is clean, a mount shifts it to the left. Sun: 2 is as good as clean where the state
    // says so.
    const Case cases[] = {
        {"1", "clean", 1, false, true},
        {"2", "NetBSD went down", 2, false, false},
        {"1", "NetBSD went down twice", 4, false, false},
        {"0", "NetBSD went down", 2, false, false},
        {"2", "FreeBSD went down", 0, false, false},
        {"0", "Sun's stable", 2, true, true},
        {"0", "Sun's active", 0, true, false},
    };
    for (const Case& c : cases) {
        INFO(c.says << ", format " << c.format);
        auto device = make(16u << 20, {{"O", c.format}});
        const uint64_t at = geometry(*device).superblock_offset;
        const ByteOrder order = geometry(*device).order;
        disk::Superblock sb = superblock(*device);
        sb.clean = c.found;
        if (c.sun) order.set(sb.state, disk::state_okay - order.get(sb.old_time));
        REQUIRE(device->write(at, std::as_bytes(std::span(&sb, 1))).ok());
        Kernel kernel;
        Mount& mount = mount_on(kernel, *device);
        CHECK(superblock(*device).clean == 0);
        VnodeRef top = *mount.root();
        REQUIRE(vfs::mkdir(*top, "d", {.mode = 0755}, root).ok());
        top = {};
        REQUIRE(kernel.unmount(mount, false).ok());
        CHECK((superblock(*device).clean == disk::is_clean) == c.clean);
        CHECK(check(*device, true) == nothing);
        CHECK(superblock(*device).clean == disk::is_clean);
    }
}

TEST_CASE("a log does not make clean what was not when it was begun") {
    auto device = make(16u << 20, {{"O", "2"}, {"l", "1m"}});
    const uint64_t at = geometry(*device).superblock_offset;
    disk::Superblock sb = superblock(*device);
    sb.clean = 0;
    REQUIRE(device->write(at, std::as_bytes(std::span(&sb, 1))).ok());
    auto cut = host::make_memory_overlay(*device);
    {
        Kernel kernel; // goes down: what it would write at the end stays in the overlay
        Mount& mount = mount_on(kernel, *device);
        CHECK(superblock(*device).clean == 0);
        REQUIRE(mount.sync().ok());
        std::vector<std::byte> all(device->size());
        REQUIRE(device->read(0, all).ok());
        REQUIRE(cut->write(0, all).ok());
        REQUIRE(kernel.unmount(mount, false).ok());
    }
    CHECK(superblock(*device).clean == 0);
    REQUIRE(geometry(*cut).log_flag);
    Kernel kernel;
    Mount& mount = mount_on(kernel, *cut);
    REQUIRE(kernel.unmount(mount, false).ok());
    CHECK(superblock(*cut).clean == 0);
}

TEST_CASE("a log of Sun's, or a file system that it calls bad, is read and not written") {
    for (const uint8_t state : {0xfc, 0xfd, 0xfe, 0xff}) {
        auto device = make(16u << 20, {{"O", "0"}, {"B", "be"}});
        disk::Superblock sb = superblock(*device);
        sb.clean = state;
        REQUIRE(device->write(disk::superblock_ufs1, std::as_bytes(std::span(&sb, 1))).ok());
        Kernel kernel;
        MountArgs args;
        args.device = std::make_unique<conformance::BorrowedDevice>(*device);
        auto mounted = kernel.mount(type(), std::move(args));
        REQUIRE_FALSE(mounted.ok());
        CHECK_THAT(mounted.error().text, Catch::Contains("Sun"));
        MountArgs reading;
        reading.device = std::make_unique<conformance::BorrowedDevice>(*device);
        reading.options.read_only = true;
        auto read = kernel.mount(type(), std::move(reading));
        REQUIRE(read.ok());
        REQUIRE(kernel.unmount(**read, false).ok());
    }
}
