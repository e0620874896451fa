// exFAT images that lie: boot sector, table, bitmap, up-case table, entry sets.
#include "tests/corrupt/run_lies.h"

#include "hostshim/memory_device.h"
#include "kernel/fs/exfatfs/geometry.h"
#include "kernel/fs/exfatfs/vfsops.h"

#include <catch2/catch.hpp>
#include <fmt/format.h>

using namespace rump;
using namespace rump::exfatfs;

namespace {

void add_boot_fields(corrupt::Subject& subject) {
    using Boot = disk::BootSector;
    subject.fields = {
        {"volume length", offsetof(Boot, volume_length), 8},
        {"FAT offset", offsetof(Boot, fat_offset), 4},
        {"FAT length", offsetof(Boot, fat_length), 4},
        {"cluster heap offset", offsetof(Boot, heap_offset), 4},
        {"cluster count", offsetof(Boot, cluster_count), 4},
        {"root cluster", offsetof(Boot, root_cluster), 4},
        {"revision", offsetof(Boot, revision), 2},
        {"volume flags", offsetof(Boot, flags), 2},
        {"bytes per sector", offsetof(Boot, sector_shift), 1},
        {"sectors per cluster", offsetof(Boot, cluster_shift), 1},
        {"number of FATs", offsetof(Boot, fat_count), 1},
    };
}

/// The checksums of both boot regions, which would catch every lie in them.
void mend_boot_checksums(host::BlockDevice& device) {
    disk::BootSector boot;
    if (!device.read(0, std::as_writable_bytes(std::span(&boot, 1)))) return;
    if (boot.sector_shift < 9 || boot.sector_shift > 12) return;
    uint64_t sector = uint64_t{1} << boot.sector_shift;
    std::vector<std::byte> region(disk::checksum_sector * sector);
    if (!device.read(0, region)) return;
    std::vector<le32> sums(sector / sizeof(le32));
    for (le32& sum : sums) sum = boot_checksum(region);
    (void)device.write(disk::checksum_sector * sector, std::as_bytes(std::span(sums))).ok();
}

void run_lies(std::string name, std::string_view newfs_options) {
    auto made = corrupt::filled_image(type(), 12 << 20, newfs_options);
    REQUIRE(made.ok());
    std::vector<std::byte> image = made.release_value();
    auto device = host::make_memory_device(image);
    auto geometry = Geometry::read(*device);
    REQUIRE(geometry.ok());
    const Geometry& g = *geometry;
    corrupt::Subject subject{.type = type(), .name = std::move(name), .image = std::move(image)};
    add_boot_fields(subject);
    for (uint32_t n = 0; n < 200; n++)
        subject.fields.push_back({fmt::format("FAT entry {}", n), g.fat_offset + n * 4ull, 4});
    // System entries and sets of the root, and what was made first.
    uint64_t root = g.offset_of(g.root_cluster);
    for (uint64_t base : {root, root + g.cluster_size, root + 2 * g.cluster_size})
        for (uint32_t slot = 0; slot < 24; slot++) {
            uint64_t at = base + slot * disk::entry_size;
            std::string place = fmt::format("entry at {} ", at);
            using S = disk::StreamEntry;
            subject.fields.push_back({place + "type", at, 1});
            subject.fields.push_back({place + "count or flags", at + 1, 1});
            subject.fields.push_back({place + "checksum", at + 2, 2});
            subject.fields.push_back({place + "name length", at + offsetof(S, name_length), 1});
            subject.fields.push_back({place + "hash", at + offsetof(S, name_hash), 2});
            subject.fields.push_back({place + "valid length", at + offsetof(S, valid_length), 8});
            subject.fields.push_back({place + "first cluster", at + offsetof(S, first_cluster), 4});
            subject.fields.push_back({place + "length", at + offsetof(S, length), 8});
        }
    subject.metadata = {{0, 512}, {g.fat_offset, 800}, {g.heap_offset, 32768}, {root, 8192}};
    subject.mend_checksums = mend_boot_checksums;
    subject.also = corrupt::mends<type>;
    CHECK(corrupt::run_lies(subject, 600).compared > 0);
}

} // namespace

TEST_CASE("lies in an exFAT image do no more harm than they must") {
    run_lies("exFAT", "cluster=1024");
}

TEST_CASE("lies in an exFAT image of large clusters do no more harm than they must") {
    run_lies("exFAT, 32 KiB clusters", "cluster=32768");
}
