// Each known way in which an ext2 image lies: what is reported, and that the rest stays readable.
#include "tests/corrupt/named.h"

#include "hostshim/memory_device.h"
#include "kernel/fs/ext2fs/dirblock.h"
#include "kernel/fs/ext2fs/ext2fs.h"
#include "kernel/fs/ext2fs/geometry.h"
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
using namespace rump::ext2;

namespace {

const Cred root = Cred::superuser();

/// The bytes of an image, with names for what is where.
struct Image {
    std::vector<std::byte> bytes;
    std::map<std::string, uint32_t> inodes;

    template<class T>
    T& at(uint64_t offset) {
        REQUIRE(offset + sizeof(T) <= bytes.size());
        return *reinterpret_cast<T*>(bytes.data() + offset);
    }
    disk::Superblock& super() { return at<disk::Superblock>(1024); }
    disk::GroupDescriptor& group(uint32_t n) { return at<disk::GroupDescriptor>(2048 + n * 32); }
    disk::Inode& inode(const std::string& name) {
        const uint32_t index = inodes.at(name) - 1;
        return at<disk::Inode>(group(index / super().inodes_per_group).inode_table * 1024ull +
                               uint64_t{index % super().inodes_per_group} * 128);
    }
    /// Byte `offset` of block `n` of a file with direct blocks.
    uint64_t in_file(const std::string& name, uint32_t n, uint32_t offset) {
        return inode(name).block[n] * 1024ull + offset;
    }
    /// The entry of a one-block directory.
    uint64_t entry(const std::string& dir, std::string_view name) {
        const std::span<const std::byte> all(bytes);
        DirBlockWalk walk(all.subspan(in_file(dir, 0, 0), 1024));
        EntryView e;
        while (walk.next(e))
            if (e.name == name) return in_file(dir, 0, e.offset);
        FAIL("no entry " << name);
        return 0;
    }
};

VnodeRef make(Vnode& dir, const std::string& name, size_t size) {
    auto made = vfs::create(dir, name, {FileType::reg, 0644, 0, {}}, root);
    REQUIRE(made.ok());
    const std::vector<std::byte> data(size, std::byte{'d'});
    REQUIRE(vfs::write(**made, 0, data, root).ok());
    return *made;
}

Image make_image() {
    Image image;
    const uint64_t size = 10 << 20;
    auto device = host::make_memory_device(size);
    host::BlockDevice& raw = *device;
    host::SeededRandom random(9);
    Kernel kernel({nullptr, &random, nullptr, false});
    OptionSet options;
    REQUIRE(options.set(type().newfs_options(), "block_size", "1024").ok());
    REQUIRE(options.set(type().newfs_options(), "inode_size", "128").ok());
    REQUIRE(type().newfs(kernel, raw, options).ok());
    MountArgs args;
    args.device = std::move(device);
    Mount& mount = **kernel.mount(type(), std::move(args));
    {
        VnodeRef top = *mount.root();
        image.inodes["/"] = 2;
        const auto note = [&](const std::string& name, const VnodeRef& node) {
            image.inodes[name] = static_cast<uint32_t>(node->number().value());
        };
        note("file", make(*top, "file", 3000));
        note("big", make(*top, "big", 20'000));
        note("huge", make(*top, "huge", 400'000));
        note("other", make(*top, "other", 5000));
        VnodeRef dir = *vfs::mkdir(*top, "dir", {FileType::dir, 0755, 0, {}}, root);
        note("dir", dir);
        note("inner", make(*dir, "inner", 100));
        note("inner2", make(*dir, "inner2", 100));
        VnodeRef sub = *vfs::mkdir(*dir, "sub", {FileType::dir, 0755, 0, {}}, root);
        note("sub", sub);
        VnodeRef many = *vfs::mkdir(*top, "many", {FileType::dir, 0755, 0, {}}, root);
        note("many", many);
        for (int i = 0; i < 150; ++i)
            REQUIRE(vfs::create(*many, fmt::format("entry-{:04}", i), {FileType::reg, 0644, 0, {}},
                                root)
                        .ok());
        note("fast", *vfs::symlink(*top, "fast", "file", root));
        note("slow", *vfs::symlink(*top, "slow", std::string(100, 's'), root));
        const std::vector<std::byte> value(300, std::byte{'v'});
        REQUIRE(vfs::setxattr(*make(*top, "attr", 10), "user.x", value, XattrSet::any, root).ok());
        note("attr", *vfs::lookup(*top, "attr", root));
    }
    REQUIRE(mount.sync().ok());
    image.bytes.resize(size);
    REQUIRE(raw.read(0, image.bytes).ok());
    image.super().state = disk::state_valid;
    REQUIRE(kernel.unmount(mount, true).ok());
    return image;
}

Seen look(const Image& image, bool write) { return corrupt::look(type(), image.bytes, write); }

using Lie = std::function<void(Image&)>;

void reports(const Lie& lie, const std::string& text,
             const std::vector<std::string>& intact = {"/other", "/fast"}) {
    static const Image good = make_image();
    Image image = good;
    lie(image);
    const Seen seen = look(image, false);
    INFO(text << "\nrefusal: " << seen.refusal << "\nlog: " << seen.log
              << "\nerrors: " << seen.errors);
    if (!seen.refusal.empty()) {
        CHECK(seen.refusal.find(text) != std::string::npos);
        return;
    }
    CHECK(seen.log.find(text) != std::string::npos);
    for (const std::string& path : intact) CHECK(seen.readable.count(path) == 1);
    if (seen.readable.count("/other")) CHECK(seen.readable.at("/other") == 5000);
    (void)look(image, true); // and nothing worse comes of writing
}

/// For lies that only a look at all of the image finds: the check has a finding `code`, and a mount
/// that reads and writes comes to no harm.
void check_finds(const Lie& lie, const std::string& code,
                 const std::vector<std::string>& intact = {"/other", "/fast"}) {
    static const Image good = make_image();
    Image image = good;
    lie(image);
    host::Log log(host::null_sink());
    CheckOptions options;
    options.force = true;
    const auto report = type().check(*host::make_memory_device(image.bytes), options, log);
    REQUIRE(report.ok());
    std::string codes;
    for (const Finding& f : report->findings) codes += f.code + " ";
    INFO("found: " << codes);
    CHECK((" " + codes).find(" " + code + " ") != std::string::npos);
    const Seen seen = look(image, false);
    CHECK(seen.refusal.empty());
    for (const std::string& path : intact) CHECK(seen.readable.count(path) == 1);
    (void)look(image, true);
}

} // namespace

TEST_CASE("the image that the lies are told about is good") {
    const Seen seen = look(make_image(), false);
    CHECK(seen.refusal.empty());
    CHECK(seen.log.empty());
    CHECK(seen.errors.empty());
    CHECK(seen.readable.at("/huge") == 400'000);
}

TEST_CASE("superblock lies refuse the mount and name the field") {
    reports([](Image& i) { i.super().log_block_size = 9; }, "log block size 9");
    reports([](Image& i) { i.super().blocks_per_group = i.super().clusters_per_group = 8200; },
            "blocks per group");
    reports([](Image& i) { i.super().inode_count = 5; }, "5 inodes");
    reports([](Image& i) { i.super().inode_size = 0; }, "inode size 0");
    reports([](Image& i) { i.super().first_data_block = 0; }, "first data block 0");
    reports([](Image& i) { i.super().block_count = 1u << 30; }, "but the image has");
    reports([](Image& i) { i.bytes.resize(5 << 20); }, "but the image has");
    reports([](Image& i) { i.super().feature_incompat = 0x80000002; }, "uses the feature");
    reports([](Image& i) { i.super().feature_incompat = 0x12; }, "this is an ext4 image");
}

TEST_CASE("features that exclude each other or belong to others are refused by name") {
    const auto with = [](uint32_t compat, uint32_t incompat, uint32_t ro_compat) {
        return [=](Image& i) {
            i.super().feature_compat = i.super().feature_compat | compat;
            i.super().feature_incompat = i.super().feature_incompat | incompat;
            i.super().feature_ro_compat = i.super().feature_ro_compat | ro_compat;
        };
    };
    reports(with(0x4, 0, 0), "this is an ext3 image");
    reports(with(0, 0x10, 0), "this is an ext4 image");  // meta_bg
    reports(with(0, 0x80, 0), "this is an ext4 image");  // 64bit, with descriptors of 32 bytes
    reports(with(0, 0, 0x410), "this is an ext4 image"); // two kinds of checksums of one thing
    reports(with(0, 0x8, 0), "journal of an ext3");
}

TEST_CASE("descriptors that point elsewhere cost their group only") {
    reports([](Image& i) { i.group(1).inode_table = 3; }, "descriptor of group 1: inode table");
    reports([](Image& i) { i.group(1).block_bitmap = 0xffffffff; },
            "descriptor of group 1: block bitmap");
    reports([](Image& i) { i.group(1).inode_bitmap = i.group(1).block_bitmap.get(); },
            "descriptor of group 1: inode bitmap");
}

TEST_CASE("directory entries that lie are reported with their place") {
    const auto rec_len = [](Image& i, uint16_t value) {
        i.at<le16>(i.entry("dir", "inner") + 4) = value;
    };
    reports([&](Image& i) { rec_len(i, 0); }, "record length 0");
    reports([&](Image& i) { rec_len(i, 13); }, "record length 13");
    reports([&](Image& i) { rec_len(i, 2000); }, "crosses the block's end");
    reports([](Image& i) { i.at<uint8_t>(i.entry("dir", "inner") + 6) = 200; }, "name length 200");
    reports([](Image& i) { i.at<char>(i.entry("dir", "inner") + 9) = '/'; }, "name with a slash",
            {"/other", "/dir/inner2"});
    reports([](Image& i) { i.at<char>(i.entry("dir", "inner") + 9) = 0; }, "name with a NUL",
            {"/other", "/dir/inner2"});
    reports([](Image& i) { i.at<le32>(i.entry("dir", "inner")) = 0x7fffffff; },
            "an inode number that cannot be", {"/other", "/dir/inner2"});
    reports([](Image& i) { i.at<le32>(i.entry("dir", "inner")) = 1200; },
            "inode 1200 is not in use", {"/other", "/dir/inner2"});
    reports([](Image& i) { i.at<uint8_t>(i.entry("dir", "inner") + 7) = 2; }, "type 2 of inode",
            {"/other", "/dir/inner", "/dir/inner2"});
}

TEST_CASE("a directory that contains an ancestor does not make a walk endless") {
    static const Image good = make_image();
    Image image = good;
    image.at<le32>(image.entry("dir", "sub")) = image.inodes.at("/");
    const Seen seen = look(image, false);
    CHECK(seen.readable.count("/other") == 1);
    (void)look(image, true);
}

TEST_CASE("names that lie, and directories with two, are found by the check") {
    const auto name = [](Image& i, const char* entry, std::string_view text) {
        const uint64_t at = i.entry("dir", entry);
        i.at<uint8_t>(at + 6) = static_cast<uint8_t>(text.size());
        for (size_t n = 0; n < text.size(); ++n) i.at<char>(at + 8 + n) = text[n];
    };
    check_finds([&](Image& i) { name(i, "inner", "."); }, "dot", {"/other", "/dir/inner2"});
    check_finds([&](Image& i) { name(i, "inner", ".."); }, "name-twice", {"/other", "/dir/inner2"});
    check_finds([&](Image& i) { name(i, "inner2", "inner"); }, "name-twice",
                {"/other", "/dir/sub"});
    check_finds([](Image& i) { i.at<le32>(i.entry("dir", "inner")) = i.inodes.at("many"); },
                "directory-twice");
    check_finds([](Image& i) { i.at<le32>(i.entry("dir", ".")) = i.inodes.at("sub"); }, "dot");
    check_finds([](Image& i) { i.at<le32>(i.entry("dir", "..")) = i.inodes.at("sub"); }, "dotdot");
    check_finds([](Image& i) { i.at<le32>(i.entry("dir", ".")) = 0; }, "dot-missing");
    check_finds([](Image& i) { i.at<le32>(i.entry("dir", "..")) = 0; }, "dot-missing");
}

TEST_CASE("space that has two owners, or none, is found by the check") {
    check_finds([](Image& i) { i.inode("file").block[0] = i.inode("big").block[0].get(); },
                "block-claimed-twice");
    check_finds([](Image& i) { i.inode("file").block[0] = i.inode("dir").block[0].get(); },
                "block-claimed-twice", {"/other"});
    check_finds([](Image& i) { i.super().free_blocks = 3; }, "free-blocks");
    check_finds([](Image& i) { i.super().free_inodes = 70000; }, "free-inodes");
    check_finds([](Image& i) { i.group(0).free_blocks = 65535; }, "free-blocks");
    check_finds([](Image& i) { i.inode("file").sectors = 0xffffffff; }, "sectors");
    check_finds([](Image& i) { i.inode("file").links = 500; }, "links");
}

TEST_CASE("a file of the format's largest size and no blocks is read where it is asked for") {
    static const Image good = make_image();
    Image image = good;
    auto& inode = image.inode("huge");
    inode.size = 0xfffffc00u;
    inode.size_high = 3; // just below 16 GiB
    std::fill(std::begin(inode.block), std::end(inode.block), le32{});
    inode.sectors = 0;
    host::Log log(host::null_sink());
    Kernel kernel({nullptr, nullptr, &log, false});
    MountArgs args;
    args.device = host::make_memory_device(image.bytes);
    Mount& mount = **kernel.mount(type(), std::move(args));
    {
        const VnodeRef file = *vfs::lookup(**mount.root(), "huge", root);
        std::vector<std::byte> end(100, std::byte{1});
        CHECK(vfs::read(*file, 0x3fffffc00 - 40, end).value() == 40);
        CHECK(end[0] == std::byte{0});
        CHECK(vfs::seek(*file, 0, Seek::hole).value() == 0);
        CHECK(!vfs::seek(*file, 0, Seek::data).ok());
    }
    CHECK(kernel.unmount(mount, false).ok());
}

TEST_CASE("hash trees that lie are reported, and their entries found without them") {
    const std::vector<std::string> all{"/other", "/many/entry-0000", "/many/entry-0149"};
    const auto in_root = [](Image& i, uint32_t offset) { return i.in_file("many", 0, offset); };
    reports([&](Image& i) { i.at<uint8_t>(in_root(i, 30)) = 5; }, "5 indirect levels", all);
    reports([&](Image& i) { i.at<le16>(in_root(i, 32)) = 9; }, "index limit 9", all);
    reports([&](Image& i) { i.at<le16>(in_root(i, 34)) = 0; }, "index count 0", all);
    reports([&](Image& i) { i.at<le16>(in_root(i, 34)) = 9999; }, "index count 9999", all);
    reports([&](Image& i) { i.at<le32>(in_root(i, 36)) = 0; }, "index leaf 0 outside", all);
    reports([&](Image& i) { i.at<le32>(in_root(i, 36)) = 0xffff; }, "index leaf 65535 outside",
            all);
    // A node that leads to itself.
    reports(
        [&](Image& i) {
            i.at<uint8_t>(in_root(i, 30)) = 1;
            const uint64_t node = i.in_file("many", 1, 0);
            i.at<le32>(node) = 0;
            i.at<le16>(node + 4) = 1024;
            i.at<le16>(node + 8) = 127;
            i.at<le16>(node + 10) = 1;
            i.at<le32>(node + 12) = 1;
            i.at<le32>(in_root(i, 36)) = 1;
        },
        "", {"/other"});
    check_finds([&](Image& i) { i.at<le32>(in_root(i, 36)) = 2; }, "index");
}

TEST_CASE("block pointers that lie are reported with the inode") {
    reports([](Image& i) { i.inode("file").block[1] = 0xfffffff0; }, "points to block 4294967280");
    reports([](Image& i) { i.inode("file").block[1] = i.group(0).inode_table.get(); },
            "which is none of a file's");
    reports([](Image& i) { i.inode("big").block[12] = 1; }, "indirect block 1 of file block");
    reports(
        [](Image& i) {
            // An indirect block that lists itself: double use as data, bounded.
            i.inode("huge").block[13] = i.inode("huge").block[12];
            const uint64_t own = i.inode("huge").block[12] * 1024ull;
            i.at<le32>(own) = i.inode("huge").block[12].get();
            i.inode("file").block[0] = 0xffffffff;
        },
        "points to block 4294967295");
}

TEST_CASE("inodes that lie are reported") {
    reports([](Image& i) { i.inode("file").mode = 0; }, "is not in use");
    reports([](Image& i) { i.inode("file").mode = 0170644; }, "mode 170644");
    reports([](Image& i) { i.inode("file").flags = 0x80000; }, "flags 0x80000");
    reports([](Image& i) { i.inode("file").size_high = 0x7fffffff; }, ": size ");
    reports([](Image& i) { i.inode("dir").size = 1025; }, "size 1025 of a directory");
    reports([](Image& i) { i.inode("dir").size = 0; }, "size 0 of a directory");
    reports([](Image& i) { i.inode("fast").size = 4000; }, "size 4000 of a symlink",
            {"/other", "/file"});
    reports([](Image& i) { i.inode("slow").size = 5000; }, "size 5000 of a symlink");
}

TEST_CASE("attribute blocks that lie are reported") {
    const auto block = [](Image& i) { return i.inode("attr").file_acl * 1024ull; };
    reports([&](Image& i) { i.inode("attr").file_acl = 0xfffffff0; }, "attribute block 4294967280");
    reports([&](Image& i) { i.at<le32>(block(i)) = 7; }, "no header");
    reports([&](Image& i) { i.at<le32>(block(i) + 4) = 0; }, "0 references");
    reports([&](Image& i) { i.at<le16>(block(i) + 32 + 2) = 1023; }, "crosses the end");
    reports([&](Image& i) { i.at<le32>(block(i) + 32 + 8) = 0xffffffff; }, "crosses the end");
}

TEST_CASE("orphan lists that lie are reported at the mount, and end") {
    static const Image good = make_image();
    const auto mounted = [&](const Lie& lie) {
        Image image = good;
        lie(image);
        return look(image, true).log;
    };
    CHECK(mounted([](Image& i) { i.super().last_orphan = 0x7fffffff; }).find("orphan list") !=
          std::string::npos);
    CHECK(mounted([](Image& i) {
              i.super().last_orphan = i.inodes.at("file");
              i.inode("file").links = 0;
              i.inode("file").dtime = i.inodes.at("file");
          }).find("orphan list") != std::string::npos);
}

TEST_CASE("maps and counts that lie are reported when space is looked for") {
    static const Image good = make_image();
    const auto written = [&](const Lie& lie) {
        Image image = good;
        lie(image);
        return look(image, true).log;
    };
    CHECK(written([](Image& i) { i.group(0).free_inodes = 3; }).find("3 free inodes") !=
          std::string::npos);
    CHECK(written([](Image& i) {
              i.at<uint8_t>(i.group(0).inode_bitmap * 1024ull) = 0;
          }).find("reserved inode 1 is marked free") != std::string::npos);
    CHECK(written([](Image& i) {
              i.at<uint8_t>(i.group(0).block_bitmap * 1024ull) = 0;
          }).find("metadata is marked free") != std::string::npos);
}
