// Writing to FAT: a random workload on images of every kind, compared with a model, remounted, and
// judged by dosfstools.
#include "tests/unit/extract_tree.h"
#include "tests/unit/fat_workload.h"
#include "tests/unit/temp_dir.h"

#include "hostshim/file_device.h"
#include "kernel/fs/registry.h"

#include <catch2/catch.hpp>

#include <array>
#include <cstring>
#include <fstream>

using namespace rump;
using namespace rump::test;

namespace {

struct Image {
    const char* what;
    const char* mkfs;
    unsigned kibibytes;
    const char* fsck = "-n"; // null: fsck.fat faults it from the start (four FATs, Atari)
};

Mount& mount_rw(Kernel& kernel, const std::string& path, const char* type = "vfat") {
    auto device = host::open_file_device(path, {.access = host::Access::read_write});
    REQUIRE(device.ok());
    MountArgs args{device.release_value(), {}};
    args.options.atime = AtimePolicy::none;
    auto mount = kernel.mount(*find_filesystem(type), std::move(args));
    INFO((mount.ok() ? "" : mount.error().text));
    REQUIRE(mount.ok());
    return **mount;
}

} // namespace

TEST_CASE(
    "a random workload on every kind of FAT leaves what the model says, and dosfstools agrees") {
    const Image images[] = {
        {"FAT12 floppy", "", 1440},
        {"FAT12, big clusters", "-F 12 -s 16", 8192},
        {"FAT12, one FAT", "-F 12 -f 1 -s 2", 2048},
        {"FAT16", "-F 16 -s 2", 16384},
        {"FAT16, 33 reserved sectors, unaligned", "-F 16 -s 1 -R 33 -a", 16384},
        {"FAT16, 4 FATs", "-F 16 -s 2 -f 4", 16384, nullptr},
        {"FAT16, 2 KiB sectors", "-F 16 -S 2048 -s 1", 32768},
        {"FAT32", "-F 32 -s 1", 40960},
        {"FAT32, 4 KiB sectors", "-F 32 -S 4096 -s 1", 300000},
        {"FAT32, 32 KiB clusters, few of them", "-F 32 -s 64", 20000},
        {"Atari", "-A", 720, nullptr},
    };
    uint64_t seed = 1;
    for (const Image& image : images) {
        INFO(image.what);
        TempDir dir;
        std::string path = dir / "image";
        std::string make = "mkfs.fat " + std::string(image.mkfs) + " -C '" + path + "' " +
                           std::to_string(image.kibibytes) + " >/dev/null 2>&1";
        REQUIRE(std::system(make.c_str()) == 0);
        Kernel kernel;
        Mount* mount = &mount_rw(kernel, path);
        Workload work(*mount, seed++, image.kibibytes > 4000 ? 200000 : 60000);
        for (int round = 0; round < 3; round++) {
            INFO("round " << round);
            work.run(150);
            work.compare();
            REQUIRE_FALSE(mount->tainted());
            REQUIRE(kernel.unmount(*mount, false).ok());
            if (!image.fsck) {
                mount = &mount_rw(kernel, path);
                work.mount_again(*mount);
                work.compare();
                continue;
            }
            std::string check =
                std::string("fsck.fat ") + image.fsck + " '" + path + "' >'" + path + ".log' 2>&1";
            int result = std::system(check.c_str());
            if (result != 0) (void)std::system(("cat '" + path + ".log'").c_str());
            REQUIRE(result == 0);
            mount = &mount_rw(kernel, path);
            work.mount_again(*mount);
            work.compare();
        }
        REQUIRE(kernel.unmount(*mount, false).ok());
    }
}

TEST_CASE("a random workload on exFAT leaves what the model says, and exfatprogs agrees") {
    uint64_t seed = 100;
    for (const char* cluster : {"512", "4K", "64K"}) {
        INFO(cluster);
        TempDir dir;
        std::string path = dir / "image";
        std::string make = "truncate -s 24M '" + path + "' && mkfs.exfat -c " + cluster + " '" +
                           path + "' >/dev/null 2>&1";
        REQUIRE(std::system(make.c_str()) == 0);
        Kernel kernel;
        Mount* mount = &mount_rw(kernel, path, "exfat");
        Workload work(*mount, seed++, 300000);
        for (int round = 0; round < 4; round++) {
            INFO("round " << round);
            work.run(150);
            work.compare();
            REQUIRE_FALSE(mount->tainted());
            REQUIRE(kernel.unmount(*mount, false).ok());
            std::string check = "fsck.exfat -n '" + path + "' >'" + path + ".log' 2>&1";
            int result = std::system(check.c_str());
            if (result != 0) (void)std::system(("cat '" + path + ".log'").c_str());
            REQUIRE(result == 0);
            mount = &mount_rw(kernel, path, "exfat");
            work.mount_again(*mount);
            work.compare();
        }
        REQUIRE(kernel.unmount(*mount, false).ok());
    }
}

TEST_CASE("newfs of exFAT makes what exfatprogs calls clean, and the driver can use") {
    const FileSystemType& type = *find_filesystem("exfat");
    const std::pair<const char*, const char*> cases[][3] = {
        {{"cluster", "512"}, {"label", "small"}, {"serial", "7"}},
        {{"cluster", "4k"}, {"label", "Ä label"}, {"serial", "8"}},
        {{"cluster", "32k"}, {"sector", "4096"}, {"serial", "9"}},
    };
    for (const auto& one : cases) {
        INFO(one[0].second);
        TempDir dir;
        std::string path = dir / "image";
        REQUIRE(std::system(("truncate -s 24M '" + path + "'").c_str()) == 0);
        Kernel kernel;
        {
            auto device = host::open_file_device(path, {.access = host::Access::read_write});
            REQUIRE(device.ok());
            OptionSet options;
            for (const auto& [name, value] : one)
                REQUIRE(options.set(type.newfs_options(), name, value).ok());
            auto made = type.newfs(kernel, **device, options);
            INFO((made.ok() ? "" : made.error().text));
            REQUIRE(made.ok());
            auto probed = type.probe(**device);
            REQUIRE(probed.ok());
            REQUIRE(probed->has_value());
            if (std::string(one[1].first) == "label") CHECK((*probed)->label == one[1].second);
        }
        std::string check = "fsck.exfat -n '" + path + "' >/dev/null 2>&1";
        CHECK(std::system(check.c_str()) == 0);
        Mount& mount = mount_rw(kernel, path, "exfat");
        Workload work(mount, 5, 100000);
        work.run(120);
        work.compare();
        REQUIRE(kernel.unmount(mount, false).ok());
        CHECK(std::system(check.c_str()) == 0);
    }
}

TEST_CASE("an Atari's floppy has entries of 12 bits, whatever is in them") {
    // 720 KiB as mkfs.fat -A makes it: the table has room for 16 bits, and byte 3 of it, where a
    // table of 16 bits has its mark, is part of cluster 2's entry.
    std::vector<std::byte> image(720 << 10);
    const uint8_t boot[] = {0x60, 0x1c, 'm', 'k',  'd', 'o',  's', 'f',  0, 0, 0, 0, 2, 2,
                            1,    0,    2,   0x70, 0,   0xa0, 5,   0xf9, 3, 0, 9, 0, 2, 0};
    for (size_t i = 0; i < std::size(boot); i++) image[i] = std::byte{boot[i]};
    for (size_t fat : {512u, 4u * 512u}) {
        image[fat] = std::byte{0xf9};
        image[fat + 1] = image[fat + 2] = std::byte{0xff};
    }
    TempDir dir;
    std::string path = dir / "image";
    std::ofstream(path, std::ios::binary)
        .write(reinterpret_cast<const char*>(image.data()), static_cast<long>(image.size()));
    const Cred cred = Cred::superuser();
    Kernel kernel;
    for (unsigned i = 0; i < 5; i++) {
        INFO(i);
        Mount& mount = mount_rw(kernel, path);
        CHECK(mount.describe()[0].second == "FAT12");
        for (unsigned known = 0; known < i; known++)
            CHECK(vfs::lookup(**mount.root(), "d" + std::to_string(known), cred).ok());
        CHECK(
            vfs::mkdir(**mount.root(), "d" + std::to_string(i), {FileType::dir, 0755, 0, {}}, cred)
                .ok());
        CHECK_FALSE(mount.tainted());
        REQUIRE(kernel.unmount(mount, false).ok());
    }
}

TEST_CASE("what a cache above writes over a file's bytes shows in its archive attribute") {
    TempDir dir;
    const std::string path = dir / "image";
    REQUIRE(std::system(("mkfs.fat -C '" + path + "' 1440 >/dev/null 2>&1").c_str()) == 0);
    Kernel kernel;
    Mount& mount = mount_rw(kernel, path);
    const Cred root = Cred::superuser();
    {
        const VnodeRef file =
            *vfs::create(**mount.root(), "file", {FileType::reg, 0644, 0, {}}, root);
        const auto bytes = [](std::string_view text) { return std::as_bytes(std::span(text)); };
        REQUIRE(vfs::write(*file, 0, bytes("before"), root).ok());
        for (int pass = 0; pass < 2; ++pass) {
            const char* attribute = "user.dos.attrib";
            REQUIRE(vfs::setxattr(*file, attribute, bytes("0x2"), XattrSet::any, root).ok());
            for (const char* text : {"BEF", "ORE"})
                REQUIRE(
                    vfs::write_back(*file, 0, bytes(text), [&](const Attr&) { return root; }).ok());
            std::array<std::byte, 4> bits;
            REQUIRE(vfs::getxattr(*file, attribute, bits, root).value() == 4);
            CHECK(std::memcmp(bits.data(), "0x22", 4) == 0);
        }
    }
    REQUIRE(kernel.unmount(mount, false).ok());
}
