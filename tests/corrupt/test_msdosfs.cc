// FAT images that lie: boot sector, FSInfo, table, directory entries, long names.
#include "tests/corrupt/run_lies.h"

#include "hostshim/memory_device.h"
#include "kernel/fs/msdosfs/vfsops.h"

#include <catch2/catch.hpp>
#include <fmt/format.h>

using namespace rump;
using namespace rump::msdosfs;

namespace {

void add_boot_fields(corrupt::Subject& subject, bool fat32) {
    using Boot = disk::BootSector;
    using Tail = disk::BootTail32;
    subject.fields = {
        {"bytes per sector", offsetof(Boot, bytes_per_sector), 2},
        {"sectors per cluster", offsetof(Boot, sectors_per_cluster), 1},
        {"reserved sectors", offsetof(Boot, reserved_sectors), 2},
        {"number of FATs", offsetof(Boot, fat_count), 1},
        {"root entries", offsetof(Boot, root_entries), 2},
        {"sectors, 16 bits", offsetof(Boot, sectors_16), 2},
        {"media", offsetof(Boot, media), 1},
        {"sectors per FAT, 16 bits", offsetof(Boot, fat_sectors_16), 2},
        {"sectors, 32 bits", offsetof(Boot, sectors_32), 4},
    };
    if (!fat32) return;
    for (auto [name, offset, size] : {std::tuple{"sectors per FAT", offsetof(Tail, fat_sectors), 4},
                                      {"flags", offsetof(Tail, flags), 2},
                                      {"version", offsetof(Tail, version), 2},
                                      {"root cluster", offsetof(Tail, root_cluster), 4},
                                      {"FSInfo sector", offsetof(Tail, fsinfo_sector), 2},
                                      {"backup sector", offsetof(Tail, backup_sector), 2}})
        subject.fields.push_back({name, sizeof(Boot) + offset, static_cast<uint8_t>(size)});
    subject.fields.push_back({"free clusters", 512 + offsetof(disk::FsInfo, free_clusters), 4});
    subject.fields.push_back({"next free", 512 + offsetof(disk::FsInfo, next_free), 4});
}

void run_lies(std::string name, uint64_t size, std::string_view newfs_options) {
    auto made = corrupt::filled_image(type(), size, newfs_options);
    REQUIRE(made.ok());
    std::vector<std::byte> image = made.release_value();
    auto device = host::make_memory_device(image);
    auto geometry = Geometry::read(*device);
    REQUIRE(geometry.ok());
    const Geometry& g = *geometry;
    corrupt::Subject subject{.type = type(), .name = std::move(name), .image = std::move(image)};
    add_boot_fields(subject, g.is_fat32());
    uint64_t width = g.type == FatType::fat16 ? 2 : g.is_fat32() ? 4 : 1;
    for (uint32_t n = 0; n < 200; n++)
        subject.fields.push_back({fmt::format("FAT entry {}", n), g.fat_offset + n * width,
                                  static_cast<uint8_t>(width)});
    // Both kinds of entries in the root and in what was made first.
    uint64_t root = g.is_fat32() ? g.offset_of(g.root_cluster) : g.root_offset;
    for (uint64_t base : {root, g.offset_of(Cluster(3)), g.offset_of(Cluster(4))})
        for (uint32_t slot = 0; slot < 16; slot++) {
            uint64_t at = base + slot * disk::dirent_size;
            std::string place = fmt::format("entry at {} ", at);
            using E = disk::DirEntry;
            subject.fields.push_back({place + "name", at, 1});
            subject.fields.push_back({place + "attributes", at + offsetof(E, attributes), 1});
            subject.fields.push_back(
                {place + "checksum", at + offsetof(disk::LongEntry, checksum), 1});
            subject.fields.push_back({place + "low", at + offsetof(E, first_cluster_low), 2});
            subject.fields.push_back({place + "high", at + offsetof(E, first_cluster_high), 2});
            subject.fields.push_back({place + "size", at + offsetof(E, size), 4});
        }
    subject.metadata = {{0, 512}, {g.fat_offset, 600}, {root, 2048}, {g.heap_offset, 16384}};
    subject.also = corrupt::mends<type>;
    CHECK(corrupt::run_lies(subject, 600).compared > 0);
}

} // namespace

TEST_CASE("lies in a FAT12 image do no more harm than they must") {
    run_lies("FAT12", 6 << 20, "fat=12,cluster=2048");
}

TEST_CASE("lies in a FAT16 image do no more harm than they must") {
    run_lies("FAT16", 12 << 20, "fat=16,cluster=1024");
}

TEST_CASE("lies in a FAT32 image do no more harm than they must") {
    run_lies("FAT32", 12 << 20, "fat=32,cluster=512");
}
