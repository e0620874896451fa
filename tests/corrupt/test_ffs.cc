// Random lies in FFS images: fields set to what they must not be, single bytes of metadata, in both
// versions and orders, with and without a log.
#include "tests/corrupt/run_lies.h"

#include "hostshim/memory_device.h"
#include "kernel/fs/ffs/ffs.h"
#include "kernel/fs/ffs/geometry.h"
#include "kernel/kern/kernel.h"
#include "kernel/vfs/vfs_ops.h"

#include <catch2/catch.hpp>
#include <fmt/format.h>

#include <cstring>

using namespace rump;
using namespace rump::ffs;

namespace {

struct Format {
    const char* format;
    const char* order;
    bool log;
};

std::vector<std::byte> filled_image(const Format& f) {
    constexpr uint64_t size = 10 << 20;
    auto device = host::make_memory_device(size);
    host::BlockDevice& raw = *device;
    host::SeededRandom random(5);
    Kernel kernel({nullptr, &random, nullptr, false});
    OptionSet options;
    const auto set = [&](const char* name, const char* value) {
        REQUIRE(options.set(type().newfs_options(), name, value).ok());
    };
    set("O", f.format);
    set("B", f.order);
    set("b", "8k");
    set("f", "1k");
    if (f.log) set("l", "512k");
    if (f.log && *f.format == '2') // NetBSD's, which has attributes only where it is said
        REQUIRE(options.set(type().newfs_options(), "ea", std::nullopt).ok());
    REQUIRE(type().newfs(kernel, raw, options).ok());
    MountArgs args;
    args.device = std::move(device);
    auto mounted = kernel.mount(type(), std::move(args));
    REQUIRE(mounted.ok());
    REQUIRE(corrupt::populate(**mounted).ok());
    REQUIRE((*mounted)->sync().ok());
    // As a crash leaves it, so that a log has something in it.
    std::vector<std::byte> bytes(size);
    REQUIRE(raw.read(0, bytes).ok());
    if (!f.log) {
        const uint64_t at = *f.format == '2' ? disk::superblock_ufs2 : disk::superblock_ufs1;
        reinterpret_cast<disk::Superblock*>(bytes.data() + at)->clean = disk::is_clean;
    }
    REQUIRE(kernel.unmount(**mounted, true).ok());
    return bytes;
}

struct FieldOf {
    const char* name;
    size_t offset;
    size_t size;
};
#define FIELD(Struct, member)                                                                      \
    { #member, offsetof(Struct, member), sizeof(Struct::member) }

constexpr FieldOf super_fields[] = {
    FIELD(disk::Superblock, sblkno),
    FIELD(disk::Superblock, cblkno),
    FIELD(disk::Superblock, iblkno),
    FIELD(disk::Superblock, dblkno),
    FIELD(disk::Superblock, old_cgoffset),
    FIELD(disk::Superblock, old_cgmask),
    FIELD(disk::Superblock, old_size),
    FIELD(disk::Superblock, ncg),
    FIELD(disk::Superblock, bsize),
    FIELD(disk::Superblock, fsize),
    FIELD(disk::Superblock, frag),
    FIELD(disk::Superblock, minfree),
    FIELD(disk::Superblock, bmask),
    FIELD(disk::Superblock, fmask),
    FIELD(disk::Superblock, bshift),
    FIELD(disk::Superblock, fshift),
    FIELD(disk::Superblock, maxcontig),
    FIELD(disk::Superblock, maxbpg),
    FIELD(disk::Superblock, fragshift),
    FIELD(disk::Superblock, fsbtodb),
    FIELD(disk::Superblock, sbsize),
    FIELD(disk::Superblock, nindir),
    FIELD(disk::Superblock, inopb),
    FIELD(disk::Superblock, optim),
    FIELD(disk::Superblock, cssize),
    FIELD(disk::Superblock, cgsize),
    FIELD(disk::Superblock, ipg),
    FIELD(disk::Superblock, fpg),
    FIELD(disk::Superblock, clean),
    FIELD(disk::Superblock, old_flags),
    FIELD(disk::Superblock, sblockloc),
    FIELD(disk::Superblock, size),
    FIELD(disk::Superblock, dsize),
    FIELD(disk::Superblock, csaddr),
    FIELD(disk::Superblock, avgfilesize),
    FIELD(disk::Superblock, avgfpdir),
    FIELD(disk::Superblock, flags),
    FIELD(disk::Superblock, contigsumsize),
    FIELD(disk::Superblock, maxsymlinklen),
    FIELD(disk::Superblock, maxfilesize),
    FIELD(disk::Superblock, magic),
    FIELD(disk::Superblock, journal_version),
    FIELD(disk::Superblock, journal_location),
    FIELD(disk::Superblock, quota_magic),
    FIELD(disk::Superblock, old_inodefmt),
    FIELD(disk::Superblock, old_postblformat),
};
constexpr FieldOf group_fields[] = {
    FIELD(disk::CylinderGroup, magic),
    FIELD(disk::CylinderGroup, cgx),
    FIELD(disk::CylinderGroup, ndblk),
    FIELD(disk::CylinderGroup, rotor),
    FIELD(disk::CylinderGroup, frotor),
    FIELD(disk::CylinderGroup, irotor),
    FIELD(disk::CylinderGroup, iusedoff),
    FIELD(disk::CylinderGroup, freeoff),
    FIELD(disk::CylinderGroup, clustersumoff),
    FIELD(disk::CylinderGroup, clusteroff),
    FIELD(disk::CylinderGroup, nclusterblks),
    FIELD(disk::CylinderGroup, niblk),
    FIELD(disk::CylinderGroup, initediblk),
    {"frsum[1]", 56, 4},
    {"cs_nbfree", 28, 4},
    {"cs_nifree", 32, 4},
};
constexpr FieldOf inode1_fields[] = {
    FIELD(disk::Dinode1, mode),
    FIELD(disk::Dinode1, nlink),
    FIELD(disk::Dinode1, size),
    FIELD(disk::Dinode1, blocks),
    FIELD(disk::Dinode1, flags),
    {"db[0]", 40, 4},
    {"db[1]", 44, 4},
    {"ib[0]", 88, 4},
    {"ib[1]", 92, 4},
};
constexpr FieldOf inode2_fields[] = {
    FIELD(disk::Dinode2, mode),
    FIELD(disk::Dinode2, nlink),
    FIELD(disk::Dinode2, size),
    FIELD(disk::Dinode2, blocks),
    FIELD(disk::Dinode2, extsize),
    FIELD(disk::Dinode2, flags),
    {"extb[0]", 96, 8},
    {"db[0]", 112, 8},
    {"db[1]", 120, 8},
    {"ib[0]", 208, 8},
    {"ib[1]", 216, 8},
};

Geometry geometry_of(const std::vector<std::byte>& image) {
    auto device = host::make_memory_device(image);
    const auto found = find_superblock(*device);
    REQUIRE(found.ok());
    REQUIRE(found->has_value());
    auto geo = Geometry::validate((*found)->raw, (*found)->order, (*found)->offset, image.size());
    REQUIRE(geo.ok());
    return *geo;
}

corrupt::Subject subject_of(const Format& f) {
    corrupt::Subject subject{.type = type(),
                             .name = std::string("UFS") + f.format + " " + f.order,
                             .image = filled_image(f)};
    const Geometry g = geometry_of(subject.image);
    const bool big = *f.order == 'b';
    const auto add = [&](const std::string& prefix, uint64_t base, const FieldOf& field) {
        subject.fields.push_back(
            {prefix + field.name, base + field.offset, static_cast<uint8_t>(field.size), big});
    };
    for (const FieldOf& x : super_fields) add("superblock ", g.superblock_offset, x);
    for (uint32_t cg = 0; cg < g.ncg; ++cg)
        for (const FieldOf& x : group_fields)
            add(fmt::format("group {} ", cg), g.bytes(g.cg_block(cg)), x);
    for (uint64_t ino = 2; ino < 24; ++ino) {
        const uint64_t at = g.bytes(g.inode_block(ino)) + g.inode_offset(ino);
        if (g.ufs2)
            for (const FieldOf& x : inode2_fields) add(fmt::format("inode {} ", ino), at, x);
        else
            for (const FieldOf& x : inode1_fields) add(fmt::format("inode {} ", ino), at, x);
    }
    subject.metadata.push_back({g.superblock_offset, sizeof(disk::Superblock)});
    for (uint32_t cg = 0; cg < g.ncg; ++cg) {
        const uint64_t from = g.bytes(g.cg_block(cg));
        subject.metadata.push_back({from, g.bsize});
        subject.metadata.push_back({g.bytes(g.cg_inodes(cg)), 3 * uint64_t{g.bsize}});
        // Directories and indirect blocks are among the first blocks behind.
        subject.metadata.push_back({g.bytes(g.cg_data(cg)), 8 * uint64_t{g.bsize}});
    }
    if (g.log) subject.metadata.push_back({g.log->offset, 65536});
    subject.also = corrupt::mends<type>;
    return subject;
}

void lie(const Format& f) { CHECK(corrupt::run_lies(subject_of(f), 300).cases > 0); }

} // namespace

TEST_CASE("UFS1 images that lie do no harm") {
    lie({"1", "le", false});
    lie({"1", "be", true});
}

TEST_CASE("UFS2 images that lie do no harm") {
    lie({"2", "le", true});
    lie({"2", "be", false});
}
