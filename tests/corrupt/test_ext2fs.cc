// Random lies in an ext2 image: fields set to what they must not be, single bytes of metadata.
#include "tests/corrupt/run_lies.h"
#include "tests/support/tree_walk.h"

#include "hostshim/memory_device.h"
#include "kernel/fs/ext2fs/ext2fs.h"
#include "kernel/fs/ext2fs/geometry.h"
#include "kernel/fs/ext2fs/inode.h"
#include "kernel/kern/kernel.h"

#include <catch2/catch.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <cstring>

using namespace rump;
using namespace rump::ext2;

namespace {

/// A device whose bytes are taken back when the mount is gone.
struct Image {
    std::vector<std::byte> bytes;
    std::vector<corrupt::Region> data; // of regular files
};

Image filled_image(uint64_t size, std::string_view block_size, std::string_view inode_size) {
    Image image;
    auto device = host::make_memory_device(size);
    host::BlockDevice& raw = *device;
    host::SeededRandom random(5);
    Kernel kernel({nullptr, &random, nullptr, false});
    OptionSet options;
    REQUIRE(options.set(type().newfs_options(), "block_size", block_size).ok());
    REQUIRE(options.set(type().newfs_options(), "inode_size", inode_size).ok());
    REQUIRE(type().newfs(kernel, raw, options).ok());
    MountArgs args;
    args.device = std::move(device);
    auto mounted = kernel.mount(type(), std::move(args));
    REQUIRE(mounted.ok());
    Mount& mount = **mounted;
    REQUIRE(corrupt::populate(mount).ok());
    test::walk(mount, {}, [&](const std::string&, Vnode& vnode, const Attr& attr) {
        if (!vnode.is_reg()) return;
        host::SharedGuard guard(vnode.lock);
        ExtentList extents;
        REQUIRE(vnode.map(0, attr.size, extents).ok());
        for (const Extent& e : extents)
            if (e.kind == Extent::Kind::data) image.data.push_back({e.device_offset, e.length});
    });
    REQUIRE(mount.sync().ok());
    image.bytes.resize(size);
    REQUIRE(raw.read(0, image.bytes).ok());
    // As after an unmount: what makes it unclean is the state alone.
    auto& sb = *reinterpret_cast<disk::Superblock*>(image.bytes.data() + disk::superblock_offset);
    sb.state = disk::state_valid;
    REQUIRE(kernel.unmount(mount, true).ok());
    return image;
}

Geometry geometry_of(const Image& image) {
    disk::Superblock sb;
    std::memcpy(&sb, image.bytes.data() + disk::superblock_offset, sizeof sb);
    return *Geometry::validate(sb, image.bytes.size());
}

#define FIELD(Struct, member) #member, offsetof(Struct, member), sizeof(Struct::member)

struct FieldOf {
    const char* name;
    size_t offset;
    size_t size;
};

constexpr FieldOf super_fields[] = {
    {FIELD(disk::Superblock, inode_count)},
    {FIELD(disk::Superblock, block_count)},
    {FIELD(disk::Superblock, reserved_blocks)},
    {FIELD(disk::Superblock, free_blocks)},
    {FIELD(disk::Superblock, free_inodes)},
    {FIELD(disk::Superblock, first_data_block)},
    {FIELD(disk::Superblock, log_block_size)},
    {FIELD(disk::Superblock, log_cluster_size)},
    {FIELD(disk::Superblock, blocks_per_group)},
    {FIELD(disk::Superblock, clusters_per_group)},
    {FIELD(disk::Superblock, inodes_per_group)},
    {FIELD(disk::Superblock, magic)},
    {FIELD(disk::Superblock, state)},
    {FIELD(disk::Superblock, revision)},
    {FIELD(disk::Superblock, first_inode)},
    {FIELD(disk::Superblock, inode_size)},
    {FIELD(disk::Superblock, feature_compat)},
    {FIELD(disk::Superblock, feature_incompat)},
    {FIELD(disk::Superblock, feature_ro_compat)},
    {FIELD(disk::Superblock, last_orphan)},
    {FIELD(disk::Superblock, default_hash)},
    {FIELD(disk::Superblock, reserved_gdt_blocks)},
    {FIELD(disk::Superblock, want_extra_isize)},
    {FIELD(disk::Superblock, flags)},
};
constexpr FieldOf group_fields[] = {
    {FIELD(disk::GroupDescriptor, block_bitmap)}, {FIELD(disk::GroupDescriptor, inode_bitmap)},
    {FIELD(disk::GroupDescriptor, inode_table)},  {FIELD(disk::GroupDescriptor, free_blocks)},
    {FIELD(disk::GroupDescriptor, free_inodes)},
};
constexpr FieldOf inode_fields[] = {
    {FIELD(disk::Inode, mode)},
    {FIELD(disk::Inode, size)},
    {FIELD(disk::Inode, links)},
    {FIELD(disk::Inode, sectors)},
    {FIELD(disk::Inode, flags)},
    {FIELD(disk::Inode, file_acl)},
    {FIELD(disk::Inode, size_high)},
    {FIELD(disk::Inode, dtime)},
    {"block[0]", offsetof(disk::Inode, block), 4},
    {"block[1]", offsetof(disk::Inode, block) + 4, 4},
    {"block[12]", offsetof(disk::Inode, block) + 48, 4},
    {"block[13]", offsetof(disk::Inode, block) + 52, 4},
    {"block[14]", offsetof(disk::Inode, block) + 56, 4},
    {"extra_size", 128, 2},
};

void add_fields(corrupt::Subject& subject, const Image& image) {
    const Geometry g = geometry_of(image);
    const auto add = [&](const std::string& prefix, uint64_t base, const FieldOf& f) {
        subject.fields.push_back({prefix + f.name, base + f.offset, static_cast<uint8_t>(f.size)});
    };
    for (const FieldOf& f : super_fields) add("superblock ", disk::superblock_offset, f);
    const uint64_t table = g.offset_of(g.descriptor_block(GroupNumber(0), 0));
    for (uint32_t n = 0; n < g.group_count; ++n)
        for (const FieldOf& f : group_fields)
            add(fmt::format("group {} ", n), table + n * sizeof(disk::GroupDescriptor), f);
    disk::GroupDescriptor first;
    std::memcpy(&first, image.bytes.data() + table, sizeof first);
    for (uint32_t number : {2u, 11u, 12u, 13u, 14u, 15u, 16u, 17u, 18u, 19u, 20u, 21u, 22u})
        for (const FieldOf& f : inode_fields)
            if (f.offset + f.size <= g.inode_size)
                add(fmt::format("inode {} ", number),
                    (uint64_t{first.inode_table} << g.block_shift) +
                        uint64_t{number - 1} * g.inode_size,
                    f);
}

/// Everything that holds something and is no file's data: directories, indirect and attribute
/// blocks, maps, tables.
void add_regions(corrupt::Subject& subject, const Image& image) {
    const uint64_t piece = 512;
    for (uint64_t at = 0; at < image.bytes.size(); at += piece) {
        const bool is_data =
            std::any_of(image.data.begin(), image.data.end(), [&](const corrupt::Region& r) {
                return at < r.offset + r.length && r.offset < at + piece;
            });
        const bool empty = std::all_of(image.bytes.begin() + static_cast<ptrdiff_t>(at),
                                       image.bytes.begin() + static_cast<ptrdiff_t>(at + piece),
                                       [](std::byte b) { return b == std::byte{}; });
        if (is_data || empty) continue;
        if (!subject.metadata.empty() &&
            subject.metadata.back().offset + subject.metadata.back().length == at)
            subject.metadata.back().length += piece;
        else
            subject.metadata.push_back({at, piece});
    }
}

void run_lies(std::string name, const Image& image) {
    corrupt::Subject subject{.type = type(), .name = std::move(name), .image = image.bytes};
    add_fields(subject, image);
    add_regions(subject, image);
    subject.also = [](host::BlockDevice& device) {
        host::Log log(host::null_sink());
        CheckOptions options;
        options.force = true;
        (void)type().check(device, options, log).ok();
        options.repair = true;
        (void)type().check(device, options, log).ok();
        return std::string();
    };
    CHECK(corrupt::run_lies(subject, 600).compared > 0);
}

} // namespace

TEST_CASE("lies in an ext2 image with blocks of 1 KiB do no more harm than they must") {
    run_lies("ext2, 1 KiB blocks", filled_image(12 << 20, "1024", "256"));
}

TEST_CASE("lies in an ext2 image with blocks of 4 KiB do no more harm than they must") {
    run_lies("ext2, 4 KiB blocks", filled_image(12 << 20, "4096", "128"));
}
