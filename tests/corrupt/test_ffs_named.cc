// Each known way in which an FFS image lies, in both versions and orders: what is reported, by the
// mount or by check, and that the rest stays readable.
#include "tests/corrupt/named.h"

#include "hostshim/memory_device.h"
#include "kernel/fs/ffs/bmap.h"
#include "kernel/fs/ffs/dir.h"
#include "kernel/fs/ffs/ffs.h"
#include "kernel/fs/ffs/geometry.h"
#include "kernel/kern/kernel.h"
#include "kernel/vfs/vfs_ops.h"

#include <catch2/catch.hpp>
#include <fmt/format.h>

#include <cstring>
#include <functional>
#include <map>
#include <span>

using namespace rump;
using corrupt::Seen;
using namespace rump::ffs;

namespace {

const Cred root = Cred::superuser();
constexpr uint64_t image_bytes = 6 << 20;

struct Format {
    const char* version;
    const char* order;
    bool log = false;
};
constexpr Format formats[] = {{"1", "le"}, {"1", "be"}, {"2", "le"}, {"2", "be"}};
constexpr Format logged[] = {{"1", "be", true}, {"2", "le", true}};

/// The bytes of an image, with names for what is where.
struct Image {
    std::vector<std::byte> bytes;
    std::optional<Geometry> geometry;
    std::map<std::string, uint64_t> inodes;

    const Geometry& geo() const { return *geometry; }
    template<class T>
    T& at(uint64_t offset) {
        REQUIRE(offset + sizeof(T) <= bytes.size());
        return *reinterpret_cast<T*>(bytes.data() + offset);
    }
    disk::Superblock& super() { return at<disk::Superblock>(geo().superblock_offset); }
    disk::CylinderGroup& group(uint32_t cg = 0) {
        return at<disk::CylinderGroup>(geo().bytes(geo().cg_block(cg)));
    }
    uint64_t inode_at(const std::string& name) {
        const uint64_t n = inodes.at(name);
        return geo().bytes(geo().inode_block(n)) + geo().inode_offset(n);
    }
    disk::Dinode1& one(const std::string& name) { return at<disk::Dinode1>(inode_at(name)); }
    disk::Dinode2& two(const std::string& name) { return at<disk::Dinode2>(inode_at(name)); }

    template<class Field, class Value>
    void put(Field& field, Value v) {
        geo().order.set(field, static_cast<decltype(geo().order.get(field))>(v));
    }
    uint64_t get(const auto& field) const { return geo().order.get(field); }

    void mode(const std::string& name, uint16_t v) { put(one(name).mode, v); }
    void links(const std::string& name, uint16_t v) { put(one(name).nlink, v); }
    void size(const std::string& name, uint64_t v) {
        geo().ufs2 ? put(two(name).size, v) : put(one(name).size, v);
    }
    void sectors(const std::string& name, uint64_t v) {
        geo().ufs2 ? put(two(name).blocks, v) : put(one(name).blocks, v);
    }
    /// Addresses 0..11 are direct, 12..14 indirect.
    std::span<std::byte> map(const std::string& name) {
        const uint64_t area = inode_at(name) + (geo().ufs2 ? offsetof(disk::Dinode2, db)
                                                           : offsetof(disk::Dinode1, db));
        return std::span(bytes).subspan(area, 15 * size_t{geo().pointer_size});
    }
    uint64_t pointer(const std::string& name, uint32_t i) {
        return get_address(geo(), map(name), i);
    }
    void point(const std::string& name, uint32_t i, uint64_t address) {
        put_address(geo(), map(name), i, address);
    }
    std::span<std::byte> block(uint64_t address) {
        return std::span(bytes).subspan(address << geo().fshift, geo().bsize);
    }
    /// The record of a name in the first chunk of a directory.
    disk::Dirent& entry(const std::string& dir, std::string_view name) {
        const auto chunk = block(pointer(dir, 0)).first(geo().dirblk);
        ChunkWalk walk(geo(), chunk);
        DirRecord r;
        while (*walk.next(r))
            if (r.ino != 0 && r.name == name)
                return *reinterpret_cast<disk::Dirent*>(chunk.data() + r.at);
        FAIL("no entry " << name);
        return *reinterpret_cast<disk::Dirent*>(chunk.data());
    }
    disk::Extattr& attribute(const std::string& name) {
        return at<disk::Extattr>(get(two(name).extb[0]) << geo().fshift);
    }
    disk::WapblHeader& log_header(uint32_t copy) {
        return at<disk::WapblHeader>(geo().log->offset + uint64_t{copy} * geo().log->block_size);
    }
    /// The header that counts; the other one is spoilt, so that a lie is not passed over.
    disk::WapblHeader& log_header() {
        const bool second = get(log_header(1).generation) > get(log_header(0).generation);
        if (second) std::memcpy(&log_header(0), &log_header(1), sizeof(disk::WapblHeader));
        put(log_header(1).type, 0);
        return log_header(0);
    }
    disk::WapblBlockList& record() {
        return at<disk::WapblBlockList>(geo().log->offset + get(log_header().tail));
    }
    disk::WapblBlock& listed() { return *reinterpret_cast<disk::WapblBlock*>(&record() + 1); }
};

VnodeRef make(Vnode& dir, const std::string& name, size_t size) {
    auto made = vfs::create(dir, name, {FileType::reg, 0644, 0, {}}, root);
    REQUIRE(made.ok());
    const std::vector<std::byte> data(size, std::byte{'d'});
    if (size != 0) REQUIRE(vfs::write(**made, 0, data, root).ok());
    return *made;
}

void fill(Mount& mount, Image& image) {
    VnodeRef top = *mount.root();
    image.inodes["/"] = 2;
    const auto note = [&](const std::string& name, const VnodeRef& node) {
        image.inodes[name] = node->number().value();
    };
    note("file", make(*top, "file", 3000));
    note("big", make(*top, "big", 20'000));
    note("huge", make(*top, "huge", 600'000));
    note("other", make(*top, "other", 5000));
    VnodeRef dir = *vfs::mkdir(*top, "dir", {FileType::dir, 0755, 0, {}}, root);
    note("dir", dir);
    note("inner", make(*dir, "inner", 100));
    note("inner2", make(*dir, "inner2", 100));
    VnodeRef sub = *vfs::mkdir(*dir, "sub", {FileType::dir, 0755, 0, {}}, root);
    note("sub", sub);
    note("deep", make(*sub, "deep", 100));
    VnodeRef many = *vfs::mkdir(*top, "many", {FileType::dir, 0755, 0, {}}, root);
    note("many", many);
    for (int i = 0; i < 150; ++i) make(*many, fmt::format("entry-{:04}", i), 0);
    note("fast", *vfs::symlink(*top, "fast", "file", root));
    note("slow", *vfs::symlink(*top, "slow", std::string(200, 's'), root));
    note("attr", make(*top, "attr", 10));
    if (!image.geo().attributes) return;
    const std::vector<std::byte> value(300, std::byte{'v'});
    REQUIRE(vfs::setxattr(**vfs::lookup(*top, "attr", root), "user.x", value, XattrSet::any, root)
                .ok());
}

Image make_image(const Format& f) {
    Image image;
    auto device = host::make_memory_device(image_bytes);
    host::BlockDevice& raw = *device;
    host::SeededRandom random(9);
    Kernel kernel({nullptr, &random, nullptr, false});
    OptionSet options;
    const auto set = [&](const char* name, const char* value) {
        REQUIRE(options.set(type().newfs_options(), name, value).ok());
    };
    set("O", f.version);
    set("B", f.order);
    set("b", "8k");
    set("f", "1k");
    if (f.log) set("l", "512k");
    REQUIRE(type().newfs(kernel, raw, options).ok());
    const auto found = find_superblock(raw);
    auto geo = Geometry::validate((*found)->raw, (*found)->order, (*found)->offset, raw.size());
    REQUIRE(geo.ok());
    image.geometry = *geo;
    MountArgs args;
    args.device = std::move(device);
    Mount& mount = **kernel.mount(type(), std::move(args));
    fill(mount, image);
    REQUIRE(mount.sync().ok());
    if (!f.log) REQUIRE(mount.sync().ok()); // counts that follow a commit
    image.bytes.resize(image_bytes);
    REQUIRE(raw.read(0, image.bytes).ok());
    // Without a log as if it had been unmounted; with one as a crash leaves it.
    if (!f.log) image.super().clean = disk::is_clean;
    REQUIRE(kernel.unmount(mount, true).ok());
    return image;
}

Seen look(const Image& image, bool write) { return corrupt::look(type(), image.bytes, write); }

std::string check(host::BlockDevice& device, bool repair) {
    return corrupt::findings(type(), device, repair);
}

using Lie = std::function<void(Image&)>;

const Image& good_image(const Format& f) {
    static std::map<std::string, Image> made;
    const std::string key = fmt::format("{}{}{}", f.version, f.order, f.log);
    if (!made.contains(key)) made.emplace(key, make_image(f));
    return made.at(key);
}

void nothing_worse(const Image& image) {
    (void)look(image, true);
    auto device = host::make_memory_device(image.bytes);
    (void)check(*device, true);
}

/// `text` is in the refusal or in the log; what the lie does not concern is read.
void reports_in(const Format& f, const Lie& lie, const std::string& text, bool write,
                const std::vector<std::string>& intact) {
    Image image = good_image(f);
    lie(image);
    const Seen seen = look(image, write);
    INFO("UFS" << f.version << " " << f.order << ": " << text << "\nrefusal: " << seen.refusal
               << "\nlog: " << seen.log << "\nerrors: " << seen.errors);
    if (!seen.refusal.empty()) {
        CHECK(seen.refusal.find(text) != std::string::npos);
    } else {
        CHECK(seen.log.find(text) != std::string::npos);
        for (const std::string& path : intact) CHECK(seen.readable.count(path) == 1);
        if (seen.readable.count("/other")) CHECK(seen.readable.at("/other") == 5000);
    }
    nothing_worse(image);
}

void reports(const Lie& lie, const std::string& text,
             const std::vector<std::string>& intact = {"/other", "/fast"}) {
    for (const Format& f : formats) reports_in(f, lie, text, false, intact);
}
void writing_reports(const Lie& lie, const std::string& text) {
    for (const Format& f : formats) reports_in(f, lie, text, true, {"/other", "/fast", "/huge"});
}
void reports_ufs2(const Lie& lie, const std::string& text,
                  const std::vector<std::string>& intact = {"/other", "/fast"}) {
    for (const Format& f : {formats[2], formats[3]}) reports_in(f, lie, text, false, intact);
}
void log_reports(const Lie& lie, const std::string& text) {
    for (const Format& f : logged) reports_in(f, lie, text, false, {});
}

/// Check names it, and mends it: the second check finds nothing, and all that is left is read.
void check_finds_in(const Format& f, const Lie& lie, const std::string& text,
                    const std::vector<std::string>& intact) {
    Image image = good_image(f);
    lie(image);
    auto device = host::make_memory_device(image.bytes);
    const std::string found = check(*device, false);
    INFO("UFS" << f.version << " " << f.order << ": " << text << "\nfound: " << found);
    CHECK(found.find(text) != std::string::npos);
    nothing_worse(image);
    const std::string mended = check(*device, true);
    INFO("mended: " << mended);
    CHECK(check(*device, false).empty());
    REQUIRE(device->read(0, image.bytes).ok());
    const Seen seen = look(image, false);
    CHECK(seen.refusal + seen.log + seen.errors == "");
    for (const std::string& path : intact) CHECK(seen.readable.count(path) == 1);
}
void check_finds(const Lie& lie, const std::string& text,
                 const std::vector<std::string>& intact = {"/fast", "/many"}) {
    for (const Format& f : formats) check_finds_in(f, lie, text, intact);
}

template<class Member>
Lie super(Member member, uint64_t value) {
    return [=](Image& i) { i.put(i.super().*member, value); };
}
template<class Member>
Lie group(Member member, uint64_t value) {
    return [=](Image& i) { i.put(i.group().*member, value); };
}

using S = disk::Superblock;
using G = disk::CylinderGroup;

} // namespace

TEST_CASE("the images that the lies are told about are good") {
    for (const Format& f : {formats[0], formats[1], formats[2], formats[3], logged[0], logged[1]}) {
        const Seen seen = look(good_image(f), false);
        CHECK(seen.refusal.empty());
        CHECK(seen.log.empty());
        CHECK(seen.errors.empty());
        CHECK(seen.readable.at("/huge") == 600'000);
        auto device = host::make_memory_device(good_image(f).bytes);
        CHECK(check(*device, false).empty());
    }
}

TEST_CASE("sizes, shifts and masks of the superblock that disagree refuse the mount") {
    reports(super(&S::bsize, 3), "superblock: bsize is wrong");
    reports(super(&S::bsize, 1u << 20), "superblock: bsize is wrong");
    reports(super(&S::bsize, 0x00200000), "superblock: bsize is wrong"); // the other order
    reports(super(&S::fsize, 0), "superblock: fsize is wrong");
    reports(super(&S::fsize, 256), "superblock: fsize is wrong");
    reports(super(&S::fsize, 16384), "superblock: fsize is wrong");
    reports(super(&S::frag, 3), "superblock: frag is wrong");
    reports(super(&S::frag, 1u << 31), "superblock: frag is wrong");
    reports(super(&S::bshift, 12), "superblock: bshift is wrong");
    reports(super(&S::fshift, 40), "superblock: fshift is wrong");
    reports(super(&S::fragshift, 2), "superblock: fragshift is wrong");
    reports(super(&S::bmask, 0), "superblock: bmask is wrong");
    reports(super(&S::fmask, 0xffff0000), "superblock: fmask is wrong");
    reports(super(&S::fsbtodb, 31), "superblock: fsbtodb is wrong");
    reports(super(&S::sbsize, 0), "superblock: sbsize is wrong");
    reports(super(&S::sbsize, 9000), "superblock: sbsize is wrong");
    reports(super(&S::nindir, 0), "superblock: nindir is wrong");
    reports(super(&S::nindir, 1u << 30), "superblock: nindir is wrong");
    reports(super(&S::inopb, 1), "superblock: inopb is wrong");
    reports(super(&S::sblockloc, 12345), "no FFS superblock");
    reports(super(&S::magic, 0), "no FFS superblock");
}

TEST_CASE("groups and places of the superblock that cannot be refuse the mount") {
    reports(super(&S::ncg, 0), "superblock: ncg is wrong");
    reports(super(&S::ncg, 0x7fffffff), "superblock: ncg is wrong");
    reports(super(&S::ncg, 1000), "superblock: size against ncg and fpg is wrong");
    reports(super(&S::ipg, 0), "superblock: ipg is wrong");
    reports(super(&S::ipg, 1u << 30), "superblock: ipg is wrong");
    reports(super(&S::fpg, 0), "superblock: fpg is wrong");
    reports(super(&S::fpg, 1537), "superblock: fpg is wrong");
    reports(super(&S::fpg, 1u << 31), "superblock: fpg is wrong");
    reports(super(&S::size, uint64_t{1} << 62), "superblock: size against ncg and fpg is wrong");
    reports(super(&S::size, 0), "superblock: size against ncg and fpg is wrong");
    reports([](Image& i) { i.bytes.resize(4 << 20); }, "the image has");
    reports(super(&S::dsize, uint64_t{1} << 40), "superblock: dsize is wrong");
    reports(super(&S::cgsize, 0), "superblock: cgsize is wrong");
    reports(super(&S::cgsize, 1u << 20), "superblock: cgsize is wrong");
    reports(super(&S::sblkno, 5000), "superblock: sblkno is wrong");
    reports(super(&S::cblkno, 0x80000000), "superblock: cblkno is wrong");
    reports(super(&S::dblkno, 0), "superblock: dblkno is wrong");
    reports(super(&S::dblkno, 0x7fffffff), "superblock: dblkno is wrong");
    reports(super(&S::cssize, 0), "superblock: cssize is wrong");
    reports(super(&S::cssize, 0xffffffff), "superblock: cssize is wrong");
    reports(super(&S::csaddr, 0), "superblock: csaddr is wrong");
    reports(super(&S::csaddr, uint64_t{1} << 50), "superblock: csaddr is wrong");
    reports(super(&S::contigsumsize, 17), "superblock: contigsumsize is wrong");
    reports(super(&S::minfree, 100), "superblock: minfree is wrong");
    reports(super(&S::optim, 7), "superblock: optim is wrong");
    reports(super(&S::maxsymlinklen, 500), "superblock: maxsymlinklen is wrong");
    reports(super(&S::maxfilesize, 0), "superblock: maxfilesize is wrong");
    reports(super(&S::maxfilesize, UINT64_MAX), "superblock: maxfilesize is wrong");
    for (const Format& f : {formats[0], formats[1]}) {
        reports_in(f, super(&S::old_cgoffset, 1u << 20), "", false,
                   {}); // with a mask that hides it
        reports_in(f,
                   [](Image& i) {
                       i.put(i.super().old_cgoffset, 1u << 20);
                       i.put(i.super().old_cgmask, 0);
                   },
                   "superblock: old_cgoffset is wrong", false, {});
    }
}

TEST_CASE("what is marked for others is read and not written") {
    writing_reports([](Image& i) { i.put(i.super().snapinum[0], 0x7fffffff); },
                    "has snapshots, which writing would damage");
    writing_reports(
        [](Image& i) {
            i.put(i.super().quota_magic, disk::quota2_magic);
            i.put(i.super().quota_files[0], UINT64_MAX);
            i.put(i.super().flags, disk::flag_netbsd_quota2);
        },
        "has quotas of NetBSD inside");
    const auto freebsd = [](Image& i, uint32_t flags) {
        i.put(i.super().sblockactualloc, i.geo().superblock_offset);
        i.put(i.super().flags, flags);
    };
    writing_reports(
        [=](Image& i) {
            freebsd(i, disk::flag_softdep | disk::flag_suj);
            i.super().clean = 0;
        },
        "has a soft updates journal that was not replayed; run FreeBSD's fsck_ffs");
    writing_reports([=](Image& i) { freebsd(i, disk::flag_needs_fsck); },
                    "is marked as needing a check");
    writing_reports(
        [=](Image& i) {
            freebsd(i, disk::flag_freebsd_metackhash);
            i.put(i.super().metackhash, disk::ck_dir);
        },
        "keeps check hashes of a kind that is not known here");
    for (const Format& f : {formats[0], formats[1]})
        reports_in(f, [](Image& i) { i.put(i.super().old_postblformat, UINT32_MAX); },
                   "has cylinder groups in the format of 4.2BSD", true, {});
    reports([](Image& i) { i.put(i.super().snapinum[0], 0x7fffffff); }, "");
}

TEST_CASE("cylinder groups that lie are named when they are needed") {
    const std::string g = "cylinder group 0: ";
    writing_reports(group(&G::magic, 0), g + "magic is wrong");
    writing_reports(group(&G::cgx, 1), g + "cgx is wrong");
    writing_reports(group(&G::cgx, UINT32_MAX), g + "cgx is wrong");
    writing_reports(group(&G::ndblk, 1), g + "ndblk is wrong");
    writing_reports(group(&G::ndblk, UINT32_MAX), g + "ndblk is wrong");
    writing_reports(group(&G::iusedoff, 0), g + "iusedoff is wrong");
    writing_reports(group(&G::iusedoff, UINT32_MAX), g + "iusedoff is wrong");
    writing_reports(group(&G::freeoff, 4), g + "freeoff is wrong"); // over its own header
    writing_reports(group(&G::freeoff, 8190), g + "freeoff is wrong");
    writing_reports(group(&G::clustersumoff, UINT32_MAX - 3), g + "clustersumoff is wrong");
    writing_reports(group(&G::clusteroff, 8192), g + "clusteroff is wrong");
    writing_reports(group(&G::nclusterblks, 1u << 30), g + "nclusterblks is wrong");
    // Maps that share bytes.
    writing_reports([](Image& i) { i.put(i.group().freeoff, i.get(i.group().iusedoff) + 8); },
                    g + "freeoff is wrong");
    writing_reports([](Image& i) { i.put(i.group().clusteroff, i.get(i.group().freeoff)); },
                    g + "clusteroff is wrong");
    writing_reports([](Image& i) { i.put(i.group().clustersumoff, i.get(i.group().iusedoff)); },
                    g + "clustersumoff is wrong");
    writing_reports(group(&G::rotor, UINT32_MAX), g + "rotor is wrong");
    writing_reports(group(&G::frotor, 1u << 20), g + "frotor is wrong");
    writing_reports(group(&G::irotor, UINT32_MAX), g + "irotor is wrong");
    for (const Format& f : {formats[2], formats[3]}) {
        reports_in(f, group(&G::niblk, 7), g + "niblk is wrong", true, {"/other"});
        reports_in(f, group(&G::initediblk, UINT32_MAX), g + "initediblk is wrong", true,
                   {"/other"});
        reports_in(f, group(&G::initediblk, 3), g + "initediblk is wrong", true, {"/other"});
    }
}

TEST_CASE("what belongs to a group that lies is lost to it, and the mount goes on") {
    for (const Format& f : logged) {
        Image image = good_image(f);
        image.put(image.group().irotor, UINT32_MAX);
        // Not through the log, which would put the group right.
        image.put(image.super().flags, 0);
        image.super().clean = disk::is_clean;
        const Seen seen = look(image, true);
        CHECK(seen.log.find("cylinder group 0: irotor is wrong") != std::string::npos);
        CHECK(seen.readable.at("/other") == 5000);
    }
}

TEST_CASE("a group's maps and counts that lie are found by check, and mended") {
    check_finds(group(&G::magic, 7), "group-header: cylinder group 0: magic is wrong");
    check_finds([](Image& i) { i.put(i.group().cs.nbfree, 9999); }, "group-counts");
    check_finds([](Image& i) { i.put(i.group().cs.nifree, UINT32_MAX); }, "group-counts");
    check_finds([](Image& i) { i.put(i.group().frsum[1], 77); }, "group-counts");
    check_finds(
        [](Image& i) {
            i.bytes[i.geo().bytes(i.geo().cg_block(0)) + i.get(i.group().clusteroff)] ^=
                std::byte{0xff};
        },
        "group-counts");
    check_finds([](Image& i) { i.put(i.super().cstotal.nbfree, UINT64_MAX); }, "superblock-totals");
    check_finds(
        [](Image& i) {
            i.bytes[i.geo().bytes(i.geo().cg_block(0)) + i.get(i.group().iusedoff)] = {};
        },
        "inode-map");
    check_finds(
        [](Image& i) { // everything is free
            const auto at = i.geo().bytes(i.geo().cg_block(0)) + i.get(i.group().freeoff);
            std::fill_n(i.bytes.begin() + static_cast<ptrdiff_t>(at), i.geo().fpg / 8,
                        std::byte{0xff});
        },
        "block-map");
    check_finds(
        [](Image& i) { // nothing is
            const auto at = i.geo().bytes(i.geo().cg_block(1)) + i.get(i.group(1).freeoff);
            std::fill_n(i.bytes.begin() + static_cast<ptrdiff_t>(at), i.geo().fpg / 8,
                        std::byte{0});
        },
        "block-leaked");
    check_finds(
        [](Image& i) { i.put(i.at<disk::Csum>(i.geo().bytes(i.geo().csaddr)).nbfree, 0x7fffffff); },
        "summary");
}

TEST_CASE("check compares the superblock with its copies, and free inodes with nothing") {
    for (const uint32_t cg : {0u, 1u})
        check_finds(
            [=](Image& i) {
                const auto at = i.geo().bytes(i.geo().cg_super(cg));
                i.put(i.at<disk::Superblock>(at).ipg, 1);
            },
            fmt::format("superblock-copy: superblock copy of group {}", cg));
    check_finds(
        [](Image& i) {
            i.inodes["free"] = i.inodes.at("attr") + 1;
            i.size("free", 1);
        },
        "inode-partial");
    check_finds(
        [](Image& i) {
            i.inodes["free"] = i.inodes.at("attr") + 1;
            i.point("free", 0, i.pointer("other", 0));
        },
        "inode-partial");
}

TEST_CASE("inodes that lie are named, and the others are read") {
    const auto wrong = [](const char* name, const Lie& lie, const std::string& what,
                          bool ufs2_only = false) {
        for (const Format& f : formats) {
            if (ufs2_only && *f.version == '1') continue;
            const uint64_t number = good_image(f).inodes.at(name);
            reports_in(f, lie, fmt::format("inode {}: {}", number, what), false,
                       {"/other", "/fast"});
        }
    };
    wrong(
        "file", [](Image& i) { i.mode("file", 0150644); }, "mode");
    wrong(
        "file", [](Image& i) { i.size("file", uint64_t{1} << 63); }, "size");
    wrong(
        "file", [](Image& i) { i.size("file", UINT64_MAX); }, "size");
    wrong(
        "dir", [](Image& i) { i.size("dir", 700); }, "size of a directory");
    wrong(
        "dir", [](Image& i) { i.size("dir", 0); }, "size of a directory");
    wrong(
        "dir", [](Image& i) { i.size("dir", uint64_t{1} << 33); }, "size of a directory");
    wrong(
        "slow", [](Image& i) { i.size("slow", 100'000); }, "size of a symlink");
    wrong(
        "attr", [](Image& i) { i.put(i.two("attr").extsize, UINT32_MAX); }, "extsize", true);
    reports([](Image& i) { i.mode("file", 0); }, "is not allocated");
    reports([](Image& i) { i.links("file", 0); }, "is not allocated");
}

TEST_CASE("addresses that lie are named with inode and block") {
    const auto out = [](const std::string& name, uint32_t at, uint64_t address,
                        const std::string& text) {
        reports([=](Image& i) { i.point(name, at, address); }, text);
    };
    out("big", 0, 0x7fffffff, "block 0: address 2147483647 is out of range");
    out("big", 1, 1, "block 1: address 1 is out of range"); // the boot area
    reports([](Image& i) { i.point("big", 0, i.geo().cg_block(1).value()); }, "is out of range");
    reports([](Image& i) { i.point("big", 1, i.geo().inode_block(2).value()); }, "is out of range");
    reports([](Image& i) { i.point("big", 0, i.geo().size - 1); }, "is out of range");
    // Three fragments from the seventh on: into the next block.
    reports([](Image& i) { i.point("file", 0, (i.pointer("file", 0) & ~uint64_t{7}) + 6); },
            "is out of range");
    out("huge", 12, 0x7ffffff8, "indirect block 2147483640 is out of range");
    reports([](Image& i) { i.point("huge", 12, i.geo().cg_super(1).value()); }, "is out of range");
    reports( // an address that an indirect block holds
        [](Image& i) { put_address(i.geo(), i.block(i.pointer("huge", 12)), 3, 0x7ffffff8); },
        "address 2147483640 is out of range");
    reports([](Image& i) { i.point("dir", 0, 0); }, "missing");
    reports_ufs2([](Image& i) { i.point("big", 0, UINT64_MAX); }, "is out of range");
    reports_ufs2([](Image& i) { i.point("big", 0, uint64_t{1} << 60); }, "is out of range");
}

TEST_CASE("indirect blocks that lead to themselves or are of the wrong level end") {
    // The addresses are data blocks: only check can know that they are claimed twice.
    check_finds(
        [](Image& i) {
            const uint64_t self = i.pointer("huge", 12);
            for (uint32_t k = 0; k < 50; ++k) put_address(i.geo(), i.block(self), k, self);
        },
        "block-claimed-twice");
    check_finds(
        [](Image& i) {
            const uint64_t self = i.pointer("huge", 12);
            i.size("huge", (uint64_t{i.geo().nindir} + 20) << i.geo().bshift);
            i.point("huge", 13, self);
            i.point("huge", 14, self);
            for (uint32_t k = 0; k < i.geo().nindir; ++k)
                put_address(i.geo(), i.block(self), k, self);
        },
        "block-claimed-twice");
    check_finds([](Image& i) { i.point("huge", 13, i.pointer("huge", 12)); }, "block-beyond-size");
    check_finds([](Image& i) { i.point("fast", 14, 5); }, "inode-garbage: inode");
    check_finds([](Image& i) { i.point("big", 0, i.pointer("other", 0)); }, "block-claimed-twice");
    check_finds([](Image& i) { i.point("file", 5, i.pointer("other", 0)); }, "block-beyond-size");
    check_finds([](Image& i) { i.point("big", 0, i.geo().csaddr.value()); }, "block-claimed-twice");
    check_finds([](Image& i) { i.sectors("big", 3); }, "inode-blocks");
    check_finds([](Image& i) { i.sectors("other", UINT64_MAX); }, "inode-blocks");
}

TEST_CASE("directory records that lie end the directory with its place") {
    const std::vector<std::string> intact{"/other", "/fast", "/many"};
    const auto length = [&](uint16_t v, const std::string& text) {
        reports([=](Image& i) { i.put(i.entry("dir", "inner").reclen, v); }, text, intact);
    };
    length(0, "record length 0");
    length(1, "record length is no multiple of 4");
    length(4, "name longer than its record");
    length(508, "record crosses the chunk's end");
    length(0xfffc, "record crosses the chunk's end");
    reports([](Image& i) { i.entry("dir", "inner").namlen = 0; }, "name length", intact);
    reports([](Image& i) { i.entry("dir", "inner").namlen = 200; }, "name longer than its record",
            intact);
    reports([](Image& i) { *reinterpret_cast<char*>(&i.entry("dir", "inner") + 1) = '/'; },
            "name with a slash or NUL", intact);
    reports([](Image& i) { *reinterpret_cast<char*>(&i.entry("dir", "inner") + 1) = '\0'; },
            "name with a slash or NUL", intact);
    reports([](Image& i) { i.put(i.entry("dir", "inner").ino, 0x7fffffff); }, "inode 2147483647",
            intact);
    reports([](Image& i) { i.put(i.entry("dir", "inner").ino, i.geo().ipg - 1); },
            "is not allocated", intact);
}

TEST_CASE("names that lead astray are found by check, and do not hang a walk") {
    const auto inode_of = [](Image& i, const char* name) { return i.inodes.at(name); };
    check_finds([=](Image& i) { i.put(i.entry("sub", "..").ino, inode_of(i, "many")); }, "dot-dot");
    check_finds([](Image& i) { i.put(i.entry("sub", "..").ino, 0x7fffffff); }, "dot-dot");
    check_finds([=](Image& i) { i.put(i.entry("sub", ".").ino, inode_of(i, "dir")); }, "dot");
    check_finds(
        [](Image& i) { // a directory that contains an ancestor
            i.put(i.entry("sub", "deep").ino, 2);
            i.entry("sub", "deep").type = static_cast<uint8_t>(FileType::dir);
        },
        "directory-linked-twice");
    check_finds(
        [=](Image& i) { // itself
            i.put(i.entry("sub", "deep").ino, inode_of(i, "sub"));
            i.entry("sub", "deep").type = static_cast<uint8_t>(FileType::dir);
        },
        "directory-linked-twice");
    check_finds(
        [=](Image& i) {
            i.put(i.entry("dir", "inner").ino, inode_of(i, "many"));
            i.entry("dir", "inner").type = static_cast<uint8_t>(FileType::dir);
        },
        "directory-linked-twice");
    check_finds(
        [](Image& i) { // the same name twice
            auto& two = i.entry("dir", "inner2");
            two.namlen = 5;
            reinterpret_cast<char*>(&two + 1)[5] = '\0';
        },
        "name-twice");
    check_finds([](Image& i) { i.entry("dir", "inner").type = 4; }, "entry-type");
    check_finds([](Image& i) { i.entry("dir", "inner").type = 200; }, "entry-type");
    check_finds([](Image& i) { i.put(i.entry("dir", "inner").ino, i.geo().ipg - 1); },
                "entry-unallocated");
    check_finds([](Image& i) { i.links("other", 9); }, "link-count");
    check_finds([](Image& i) { i.links("many", 30'000); }, "link-count");
    check_finds([](Image& i) { i.links("other", 0); }, "link-count");
    check_finds([](Image& i) { i.put(i.entry("dir", "inner").ino, 0); }, "unreferenced");
    check_finds([](Image& i) { i.put(i.entry("dir", "sub").ino, 0); }, "directory-unreferenced");
    check_finds([](Image& i) { i.mode("/", 0100644); }, "root");
    check_finds([](Image& i) { i.mode("sub", 0100644); }, "entry-type");
}

TEST_CASE("check clears inodes that make no sense, and keeps what else there is") {
    const auto goes = [](const Lie& lie, const std::string& text) {
        check_finds(lie, text, {"/fast", "/other", "/many"});
    };
    goes([](Image& i) { i.mode("file", 0150644); }, "inode-mode");
    goes([](Image& i) { i.mode("file", 0); }, "entry-unallocated");
    goes([](Image& i) { i.size("file", uint64_t{1} << 63); }, "inode-size");
    goes([](Image& i) { i.size("slow", 100'000); }, "inode-size");
    goes([](Image& i) { i.size("dir", uint64_t{1} << 33); }, "directory-size");
    goes([](Image& i) { i.size("dir", 0); }, "directory-size");
    goes([](Image& i) { i.point("big", 0, 0x7fffffff); }, "block-out-of-range");
    goes([](Image& i) { i.point("big", 0, i.geo().cg_block(1).value()); }, "block-out-of-range");
    goes([](Image& i) { i.point("huge", 12, 0x7ffffff8); }, "block-out-of-range");
    goes([](Image& i) { i.point("dir", 0, 0x7fffffff); }, "block-out-of-range");
    goes(
        [](Image& i) {
            for (uint32_t k = 0; k < 40; ++k)
                put_address(i.geo(), i.block(i.pointer("huge", 12)), k, 1);
        },
        "blocks-excessive");
    // Both of them: nobody knows whose it is.
    check_finds([](Image& i) { i.point("big", 0, i.pointer("huge", 0)); }, "block-claimed-twice",
                {"/fast", "/other", "/many"});
}

TEST_CASE("check keeps the files whose sizes and addresses disagree") {
    const std::vector<std::string> all{"/file", "/big", "/huge", "/other", "/dir/sub/deep"};
    check_finds([](Image& i) { i.point("file", 5, 0x7fffffff); }, "block-beyond-size", all);
    check_finds([](Image& i) { i.point("big", 13, i.pointer("other", 0)); }, "block-beyond-size",
                all);
    check_finds([](Image& i) { i.size("dir", 700); }, "directory-size", all);
    for (const Format& f : {formats[2], formats[3]}) {
        check_finds_in(f, [](Image& i) { i.put(i.two("attr").extsize, UINT32_MAX); },
                       "attribute-block", {"/attr", "/other"});
        check_finds_in(f, [](Image& i) { i.put(i.two("attr").extsize, 0); }, "attribute-block",
                       {"/attr", "/other"});
        check_finds_in(f, [](Image& i) { i.put(i.two("attr").extb[0], 3); }, "block-out-of-range",
                       {"/fast", "/other"});
    }
}

TEST_CASE("check keeps what it can read of a directory; what it loses comes to lost+found") {
    const auto length = [](uint16_t v) {
        check_finds([=](Image& i) { i.put(i.entry("dir", "inner").reclen, v); }, "directory-record",
                    {"/other", "/dir", "/lost+found"});
    };
    length(0);
    length(1);
    length(4);
    length(508);
    length(0xfffc);
    const std::vector<std::string> rest{"/other", "/dir/inner2", "/dir/sub/deep"};
    check_finds([](Image& i) { *reinterpret_cast<char*>(&i.entry("dir", "inner") + 1) = '/'; },
                "directory-record", rest);
    check_finds([](Image& i) { i.put(i.entry("dir", "inner").ino, 0x7fffffff); }, "entry-inode",
                rest);
    check_finds( // the first chunk is nothing
        [](Image& i) { std::fill_n(i.block(i.pointer("dir", 0)).begin(), 512, std::byte{0}); },
        "dot", {"/other", "/dir", "/lost+found"});
    check_finds([](Image& i) { i.put(i.entry("dir", ".").ino, 0); }, "dot", rest);
    check_finds([](Image& i) { i.entry("dir", "..").namlen = 1; }, "dot", rest);
    check_finds( // a second "."
        [](Image& i) {
            auto& d = i.entry("dir", "inner");
            d.namlen = 1;
            std::memcpy(reinterpret_cast<char*>(&d + 1), ".\0\0", 4);
        },
        "dot", rest);
    check_finds([](Image& i) { i.point("dir", 0, 0); }, "directory-hole",
                {"/other", "/lost+found"});
    check_finds( // a ring of two directories
        [](Image& i) {
            i.put(i.entry("/", "dir").ino, 0);
            i.put(i.entry("dir", "..").ino, i.inodes.at("sub"));
            auto& d = i.entry("sub", "deep");
            i.put(d.ino, i.inodes.at("dir"));
            d.type = static_cast<uint8_t>(FileType::dir);
        },
        "directory-loop", {"/other", "/lost+found"});
    check_finds([](Image& i) { i.mode("/", 0); }, "root", rest);
    check_finds([](Image& i) { i.point("/", 0, 0x7fffffff); }, "root", {"/lost+found"});
}

TEST_CASE("check makes a group anew whose header is wrong") {
    const std::vector<std::string> all{"/file", "/huge", "/dir/sub/deep", "/many", "/slow"};
    const auto anew = [&](const Lie& lie, const std::string& what) {
        check_finds(lie, "group-header: cylinder group 0: " + what, all);
    };
    anew(group(&G::magic, 0), "magic");
    anew(group(&G::cgx, 3), "cgx");
    anew(group(&G::ndblk, 1), "ndblk");
    anew(group(&G::iusedoff, UINT32_MAX), "iusedoff");
    anew(group(&G::freeoff, 4), "freeoff");
    anew(group(&G::nextfreeoff, 4), "nextfreeoff");
    anew(group(&G::clusteroff, 8192), "clusteroff");
    anew(group(&G::nclusterblks, 1), "nclusterblks");
    anew(group(&G::rotor, UINT32_MAX), "rotor");
    anew(group(&G::irotor, UINT32_MAX), "irotor");
    check_finds(
        [](Image& i) {
            std::fill_n(i.block(i.geo().cg_block(0).value()).begin(), 4096, std::byte{0xa5});
        },
        "group-header", all);
    for (const Format& f : {formats[2], formats[3]}) {
        for (const uint32_t lie : {0u, 3u, UINT32_MAX})
            check_finds_in(f, group(&G::initediblk, lie),
                           "group-header: cylinder group 0: initediblk", all);
        check_finds_in(f, group(&G::niblk, 7), "group-header: cylinder group 0: niblk", all);
    }
    for (const Format& f : {formats[0], formats[1]}) {
        check_finds_in(f, group(&G::old_ncyl, 9), "group-header: cylinder group 0: old_ncyl", all);
        check_finds_in(f, group(&G::old_boff, 9), "group-header: cylinder group 0: old_boff", all);
    }
}

TEST_CASE("attribute areas that lie are named") {
    const std::string text = "attribute record at 0";
    reports_ufs2([](Image& i) { i.put(i.attribute("attr").length, 1); }, text);
    reports_ufs2([](Image& i) { i.put(i.attribute("attr").length, 8); }, text);
    reports_ufs2([](Image& i) { i.put(i.attribute("attr").length, 0xfffffff8); }, text);
    reports_ufs2([](Image& i) { i.put(i.attribute("attr").length, 4096); }, text);
    reports_ufs2([](Image& i) { i.attribute("attr").namelength = 0; }, text);
    reports_ufs2(
        [](Image& i) {
            i.put(i.attribute("attr").length, 16);
            i.attribute("attr").namelength = 255;
        },
        text);
    reports_ufs2([](Image& i) { i.attribute("attr").contentpadlen = 200; }, text);
    reports_ufs2([](Image& i) { i.put(i.two("attr").extb[0], 3); }, "attribute block 3");
    reports_ufs2([](Image& i) { i.put(i.two("attr").extb[0], UINT64_MAX); }, "attribute block");
    for (const Format& f : {formats[2], formats[3]}) {
        Image image = good_image(f);
        image.put(image.two("attr").extsize, 0);
        auto device = host::make_memory_device(image.bytes);
        CHECK(check(*device, false).find("attribute-block") != std::string::npos);
        nothing_worse(image);
    }
}

TEST_CASE("logs that lie refuse the mount, and it can be read without them") {
    using H = disk::WapblHeader;
    const auto header = [](auto member, uint64_t v) -> Lie {
        return [=](Image& i) { i.put(i.log_header().*member, v); };
    };
    log_reports([](Image& i) { i.put(i.log_header(0).type, 0); }, "log: no header");
    log_reports(header(&H::log_dev_bshift, 40), "log: block sizes in the header");
    log_reports(header(&H::fs_dev_bshift, 0), "log: block sizes in the header");
    log_reports(header(&H::circ_off, 0), "log: the ring lies outside of the log");
    log_reports(header(&H::circ_size, UINT64_MAX), "log: the ring lies outside of the log");
    log_reports(header(&H::circ_size, 0), "log: the ring lies outside of the log");
    log_reports(header(&H::head, UINT64_MAX - 511), "log: head or tail lies outside");
    log_reports(header(&H::tail, 512), "log: head or tail lies outside");
    log_reports([](Image& i) { i.put(i.record().type, 7); }, "log: record of unknown type");
    log_reports([](Image& i) { i.put(i.record().len, 0); }, "log: record at");
    log_reports([](Image& i) { i.put(i.record().blkcount, 1u << 30); }, "1073741824 blocks");
    log_reports([](Image& i) { i.put(i.listed().daddr, uint64_t{1} << 62); }, "log: record before");
    log_reports([](Image& i) { i.put(i.listed().dlen, 0); }, "log: record before");
    log_reports([](Image& i) { i.put(i.listed().dlen, 0x80000000); }, "log: record before");
    log_reports( // a ring that goes round: everything is in use
        [](Image& i) {
            auto& h = i.log_header();
            i.put(h.head, i.get(h.tail));
        },
        "log: ");
    log_reports(
        [](Image& i) { // a list of inodes, none of which can be
            auto& r = i.record();
            i.put(r.type, disk::wapbl_inodes);
            i.put(reinterpret_cast<disk::WapblInodeList&>(r).inocnt, 3);
            i.put(reinterpret_cast<disk::WapblInode*>(&r + 1)->number, 0xffffffff);
        },
        "log: inode 4294967295");
    log_reports([](Image& i) { i.put(i.super().journal_locs[0], 1); },
                "superblock: journal place is wrong");
    log_reports([](Image& i) { i.put(i.super().journal_locs[0], UINT64_MAX); },
                "superblock: journal place is wrong");
    log_reports([](Image& i) { i.put(i.super().journal_locs[1], UINT64_MAX); },
                "superblock: journal place is wrong");
    log_reports([](Image& i) { i.put(i.super().journal_locs[2], 7); },
                "superblock: journal block size is wrong");
    log_reports(
        [](Image& i) {
            i.super().journal_location = disk::journal_in_filesystem;
            i.put(i.super().journal_locs[3], UINT64_MAX);
        },
        "superblock: journal inode is wrong");
}
