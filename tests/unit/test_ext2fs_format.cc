// ext2's own pieces: hashes of names, geometry, inodes, directory blocks, attributes.
#include "kernel/fs/ext2fs/bitmap.h"
#include "kernel/fs/ext2fs/dirblock.h"
#include "kernel/fs/ext2fs/geometry.h"
#include "kernel/fs/ext2fs/hash.h"
#include "kernel/fs/ext2fs/inode.h"
#include "kernel/fs/ext2fs/xattr.h"

#include <catch2/catch.hpp>

#include <cstring>

using namespace rump;
using namespace rump::ext2;

namespace {

/// A superblock that is right: 8 MiB in blocks of 1 KiB.
disk::Superblock good_superblock() {
    disk::Superblock sb{};
    sb.magic = disk::superblock_magic;
    sb.inode_count = 2048;
    sb.block_count = 8192;
    sb.first_data_block = 1;
    sb.blocks_per_group = 8192;
    sb.clusters_per_group = 8192;
    sb.inodes_per_group = 2048;
    sb.revision = 1;
    sb.first_inode = 11;
    sb.inode_size = 128;
    sb.feature_incompat = disk::incompat::filetype;
    return sb;
}

int refusal(const disk::Superblock& sb, uint64_t size = 8 << 20) {
    auto g = Geometry::validate(sb, size);
    return g ? 0 : to_int(g.error().code);
}

std::string refusal_text(const disk::Superblock& sb) {
    auto g = Geometry::validate(sb, 8 << 20);
    return g ? "" : g.error().text;
}

} // namespace

TEST_CASE("names hash as debugfs dx_hash says") {
    HashKind legacy, half_md4, tea;
    legacy.version = disk::hash_legacy;
    tea.version = disk::hash_tea;
    struct Case {
        const char* name;
        uint32_t legacy, half_md4, tea;
    };
    const Case cases[] = {
        {"a", 0xe74b53e2, 0xd5fa7d7a, 0x6d0ea4c0},
        {"foo", 0x9f57ef58, 0x74c657ac, 0x901b3376},
        {"longernamethatgoesbeyondthirtytwobytesofcourse_and_more", 0x12eb8550, 0x0f32fef6,
         0x6654e41e},
        {"\xc3\xbc\x62\x65\x72\x67\x72\xc3\xb6\xc3\x9f\x65\x6e\x74\x72\xc3\xa4\x67\x65\x72",
         0x40b56488, 0x6cad3d00, 0x1fa66a2a},
        {"0123456789abcdef", 0x415c16fe, 0x8cb502b6, 0x5a0788b2},
        {"0123456789abcdef0123456789abcdef", 0x6d4a15ee, 0x36184620, 0xcbe95e3c},
    };
    for (const Case& c : cases) {
        CHECK(name_hash(legacy, c.name) == c.legacy);
        CHECK(name_hash(half_md4, c.name) == c.half_md4);
        CHECK(name_hash(tea, c.name) == c.tea);
    }
    HashKind other = half_md4;
    other.is_unsigned = true;
    CHECK(name_hash(other, "foo") == 0x74c657ac);
    CHECK(name_hash(other, "\xc3\xbc") != name_hash(half_md4, "\xc3\xbc"));
}

TEST_CASE("a superblock that contradicts itself is refused, and the field named") {
    CHECK(refusal(good_superblock()) == 0);
    const auto with = [](auto change) {
        disk::Superblock sb = good_superblock();
        change(sb);
        return sb;
    };
    CHECK(refusal(with([](auto& sb) { sb.magic = 0; })) == EINVAL);
    const auto expect = [&](disk::Superblock sb, const char* text) {
        INFO(text);
        CHECK(refusal(sb) == EUCLEAN);
        CHECK(refusal_text(sb).find(text) != std::string::npos);
    };
    expect(with([](auto& sb) { sb.log_block_size = 7; }), "log block size 7");
    expect(with([](auto& sb) { sb.log_block_size = 0xffffffff; }), "log block size");
    expect(with([](auto& sb) { sb.blocks_per_group = sb.clusters_per_group = 8200; }),
           "8200 blocks per group");
    expect(with([](auto& sb) { sb.blocks_per_group = sb.clusters_per_group = 0; }),
           "0 blocks per group");
    expect(with([](auto& sb) { sb.inodes_per_group = 0; }), "0 inodes per group");
    expect(with([](auto& sb) { sb.inode_count = 2047; }), "2047 inodes");
    expect(with([](auto& sb) { sb.inode_size = 0; }), "inode size 0");
    expect(with([](auto& sb) { sb.inode_size = 1; }), "inode size 1");
    expect(with([](auto& sb) { sb.inode_size = 2048; }), "inode size 2048");
    expect(with([](auto& sb) { sb.first_data_block = 0; }), "first data block 0");
    expect(with([](auto& sb) { sb.first_inode = 4000; }), "first inode 4000");
    expect(with([](auto& sb) { sb.block_count = 9000; }), "9000 blocks");
    expect(with([](auto& sb) { sb.block_count = 0xffffffff; }), "4294967295 blocks");
    expect(with([](auto& sb) { sb.reserved_blocks = 9000; }), "9000 reserved blocks");
}

TEST_CASE("what ext2 does not have is refused by name") {
    disk::Superblock sb = good_superblock();
    sb.feature_incompat |= disk::incompat::encrypt;
    CHECK(refusal(sb) == EOPNOTSUPP);
    CHECK(refusal_text(sb) == "uses the feature \"encrypt\", which this driver cannot read");
    sb = good_superblock();
    sb.feature_incompat |= 0x80000000;
    CHECK(refusal_text(sb).find("incompat_0x80000000") != std::string::npos);
    sb = good_superblock();
    sb.feature_compat |= disk::compat::has_journal;
    CHECK(refusal_text(sb) ==
          "this is an ext3 image, by its feature \"has_journal\"; ext3 and ext4 "
          "are not supported yet");
    const std::pair<uint32_t, std::string> ext4[] = {{disk::incompat::extents, "extent"},
                                                     {disk::incompat::bits64, "64bit"},
                                                     {disk::incompat::flex_bg, "flex_bg"},
                                                     {disk::incompat::meta_bg, "meta_bg"},
                                                     {disk::incompat::inline_data, "inline_data"}};
    for (const auto& [bit, name] : ext4) {
        sb = good_superblock();
        sb.feature_incompat |= bit;
        CHECK(refusal_text(sb) == "this is an ext4 image, by its feature \"" + name +
                                      "\"; ext3 and ext4 are not supported yet");
    }
    sb = good_superblock();
    sb.feature_ro_compat = disk::ro_compat::quota | disk::ro_compat::sparse_super;
    auto g = Geometry::validate(sb, 8 << 20);
    REQUIRE(g.ok());
    CHECK(g->unknown_ro_features() == "quota");
}

TEST_CASE("backups are in group 1 and in powers of 3, 5 and 7, or everywhere") {
    disk::Superblock sb = good_superblock();
    sb.feature_ro_compat = disk::ro_compat::sparse_super;
    const Geometry sparse = *Geometry::validate(sb, 8 << 20);
    const auto has = [](const Geometry& g, uint32_t n) { return g.has_superblock(GroupNumber(n)); };
    for (uint32_t n : {0u, 1u, 3u, 5u, 7u, 9u, 25u, 27u, 49u, 81u, 125u, 343u})
        CHECK(has(sparse, n));
    for (uint32_t n : {2u, 4u, 6u, 8u, 15u, 21u, 35u, 45u}) CHECK_FALSE(has(sparse, n));
    sb.feature_ro_compat = 0;
    CHECK(has(*Geometry::validate(sb, 8 << 20), 4));
}

TEST_CASE("files may be as large as indirect blocks and the count of sectors allow") {
    disk::Superblock sb = good_superblock();
    const Geometry small = *Geometry::validate(sb, 8 << 20);
    CHECK(small.max_file_size == (12 + 256 + 256 * 256 + uint64_t{256} * 256 * 256) * 1024);
    // What truncate(2) accepts on a mount of Linux, to the byte.
    sb.first_data_block = 0;
    sb.log_block_size = sb.log_cluster_size = 1;
    CHECK(Geometry::validate(sb, 16 << 20)->max_file_size == 275'415'851'008);
    sb.log_block_size = sb.log_cluster_size = 2;
    CHECK(Geometry::validate(sb, 32 << 20)->max_file_size == 2'196'873'666'560);
    sb = good_superblock();
    sb.revision = 0;
    CHECK(Geometry::validate(sb, 8 << 20)->max_file_size == 0x7fffffff);
}

TEST_CASE("times keep 34 bits of seconds and nanoseconds where the inode has room") {
    for (int64_t sec : {int64_t{-2147483648}, int64_t{-1}, int64_t{0}, int64_t{2147483647},
                        int64_t{2147483648}, int64_t{4294967296}, int64_t{15032385535}}) {
        const Timespec t{sec, 999'999'999};
        CHECK(PackedTime::from(t, true).get() == t);
    }
    CHECK(PackedTime::from({15032385536, 5}, true).get() == Timespec{15032385535, 999'999'999});
    CHECK(PackedTime::from({-2147483649, 5}, true).get() == Timespec{-2147483648, 0});
    CHECK(PackedTime::from({2147483648, 5}, false).get() == Timespec{2147483647, 0});
    CHECK(PackedTime::from({1000, 5}, false).get() == Timespec{1000, 0});
}

TEST_CASE("an inode is the same after storing and parsing; what contradicts itself is named") {
    disk::Superblock sb = good_superblock();
    sb.inode_size = 256;
    const Geometry g = *Geometry::validate(sb, 8 << 20);
    Inode in;
    in.number = 12;
    in.mode = 0100644;
    in.links = 1;
    in.uid = 100'000;
    in.gid = 200'000;
    in.size = uint64_t{3} << 32;
    in.extra_size = 32;
    in.mtime = PackedTime::from({5'000'000'000, 7}, true);
    in.crtime = PackedTime::from({1, 2}, true);
    in.block[14] = 99;
    std::vector<std::byte> raw(256, std::byte{0xee});
    in.tail_unset = true;
    store_inode(g, in, raw);
    ParsedInode back = parse_inode(g, InodeNumber(12), raw);
    CHECK(back.problem.empty());
    CHECK(back.inode.uid == 100'000);
    CHECK(back.inode.gid == 200'000);
    CHECK(back.inode.size == uint64_t{3} << 32);
    CHECK(back.inode.mtime.get() == Timespec{5'000'000'000, 7});
    CHECK(back.inode.crtime.get() == Timespec{1, 2});
    CHECK(back.inode.block[14] == 99u);
    CHECK(raw[200] == std::byte{});

    const auto problem = [&](auto change) {
        Inode wrong = in;
        change(wrong);
        store_inode(g, wrong, raw);
        return parse_inode(g, InodeNumber(12), raw).problem;
    };
    CHECK(problem([](Inode& i) { i.mode = 0170644; }).find("mode") == 0);
    CHECK(problem([](Inode& i) { i.flags = disk::inode_flag::extents; }).find("flags") == 0);
    CHECK(problem([](Inode& i) { i.extra_size = 130; }).find("extra size 130") == 0);
    CHECK(problem([](Inode& i) { i.extra_size = 33; }).find("extra size 33") == 0);
    CHECK(problem([](Inode& i) { i.size = uint64_t{1} << 60; }).find("size") == 0);
    CHECK(problem([](Inode& i) {
              i.mode = 040755;
              i.size = 1025;
          }) == "size 1025 of a directory");
    CHECK(problem([](Inode& i) {
              i.mode = 0120777;
              i.size = 60;
          }) == "size 60 of a symlink");
}

TEST_CASE("device numbers have two forms") {
    Inode in;
    for (DeviceNumber d : {DeviceNumber{8, 17}, DeviceNumber{4, 300}, DeviceNumber{259, 70000},
                           DeviceNumber{0, 0}}) {
        in.set_device(d);
        CHECK(in.device() == d);
    }
}

TEST_CASE("a walk over a directory block stops at damage and says where") {
    std::vector<std::byte> block(1024);
    const auto build = [&] {
        std::fill(block.begin(), block.end(), std::byte{});
        put_entry(block, 0, 12, 2, 2, ".");
        put_entry(block, 12, 12, 2, 2, "..");
        put_entry(block, 24, 1000, 12, 1, "file");
    };
    const auto damage = [&](size_t at, uint16_t value) {
        build();
        const le16 raw = value;
        std::memcpy(block.data() + at, &raw, 2);
        DirBlockWalk walk(block);
        EntryView e;
        int seen = 0;
        while (walk.next(e)) ++seen;
        CHECK(seen <= 3);
        return walk.damage();
    };
    CHECK(damage(4, 12).empty());
    CHECK(damage(16, 0) == "offset 12: record length 0");
    CHECK(damage(16, 13) == "offset 12: record length 13");
    CHECK(damage(16, 8) == "offset 12: record length 8");
    CHECK(damage(28, 1004) == "offset 24: record length 1004 crosses the block's end");
    CHECK(damage(30, 0xff00 >> 8 | 0x100) == "");
    build();
    block[18] = std::byte{200};
    DirBlockWalk walk(block);
    EntryView e;
    while (walk.next(e)) {
    }
    CHECK(walk.damage() == "offset 12: name length 200 in a record of 12");
    CHECK(bad_name("a/b") != nullptr);
    CHECK(bad_name(std::string_view("a\0b", 3)) != nullptr);
    CHECK(bad_name("ab") == nullptr);
}

TEST_CASE("record lengths of 64 KiB blocks are coded") {
    CHECK(encode_rec_len(65536, 65536) == 65535);
    CHECK(decode_rec_len(65535, 65536) == 65536);
    CHECK(decode_rec_len(0, 65536) == 65536);
    CHECK(decode_rec_len(65532, 65536) == 65532);
    CHECK(decode_rec_len(0, 4096) == 0);
}

TEST_CASE("attribute blocks that lie are found out") {
    std::vector<std::byte> block(1024);
    const auto put = [&](size_t at, disk::XattrEntry e, std::string_view name) {
        std::memcpy(block.data() + at, &e, sizeof e);
        std::memcpy(block.data() + at + sizeof e, name.data(), name.size());
    };
    disk::XattrEntry e{};
    e.name_len = 4;
    e.name_index = disk::xattr_user;
    e.value_offset = 1020;
    e.value_size = 4;
    put(32, e, "name");
    ParsedXattrs good = parse_xattrs(block, 32, 0);
    CHECK(good.problem.empty());
    REQUIRE(good.list.size() == 1);
    CHECK(good.list[0].name == "name");
    const auto problem = [&](auto change) {
        disk::XattrEntry wrong = e;
        change(wrong);
        put(32, wrong, "name");
        return parse_xattrs(block, 32, 0).problem;
    };
    CHECK_FALSE(problem([](auto& x) { x.value_offset = 1021; }).empty());
    CHECK_FALSE(problem([](auto& x) { x.value_size = 0xffffffff; }).empty());
    CHECK_FALSE(problem([](auto& x) { x.value_inode = 12; }).empty());
    std::fill(block.begin(), block.end(), std::byte{0xff});
    CHECK_FALSE(parse_xattrs(block, 32, 0).problem.empty());
}

TEST_CASE("bits are found across words and up to the limit") {
    std::vector<std::byte> map(32);
    CHECK(next_free(map, 0, 250) == 0);
    CHECK(next_used(map, 0, 250) == 250);
    for (uint32_t bit = 0; bit < 130; ++bit) set_bit(map.data(), bit);
    CHECK(next_free(map, 0, 250) == 130);
    CHECK(next_free(map, 0, 100) == 100);
    set_bit(map.data(), 200);
    CHECK(next_used(map, 130, 250) == 200);
    CHECK(count_free(map, 250) == 250 - 131);
    clear_bit(map.data(), 64);
    CHECK(next_free(map, 0, 250) == 64);
}
