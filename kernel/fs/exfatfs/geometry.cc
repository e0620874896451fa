// Boot region to Geometry: every field and relation is checked here, nowhere else.
#include "kernel/fs/exfatfs/geometry.h"
#include "kernel/sys/missing_end.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <cstring>

namespace rump::exfatfs {

namespace {

template<class... A>
Failure wrong(fmt::format_string<A...> text, A&&... arguments) {
    return {Errno::uclean, "boot sector: " + fmt::format(text, std::forward<A>(arguments)...)};
}

/// The boot region's checksum sector repeats the sum of the others. EIO.
Result<bool> checksum_holds(host::BlockDevice& device, uint64_t offset, uint32_t sector_size) {
    std::vector<std::byte> region(size_t{disk::boot_region_sectors} * sector_size);
    if (offset + region.size() > device.size()) return false;
    TRY(device.read(offset, region));
    size_t sums = size_t{disk::checksum_sector} * sector_size;
    uint32_t sum = boot_checksum(std::span(region).first(sums));
    for (size_t at = sums; at < region.size(); at += sizeof(le32))
        if (*reinterpret_cast<const le32*>(&region[at]) != sum) return false;
    return true;
}

} // namespace

uint32_t boot_checksum(std::span<const std::byte> sectors) {
    uint32_t sum = 0;
    for (size_t at = 0; at < sectors.size(); at++) {
        if (at == offsetof(disk::BootSector, flags) ||
            at == offsetof(disk::BootSector, flags) + 1 ||
            at == offsetof(disk::BootSector, percent_in_use))
            continue;
        sum = (sum << 31 | sum >> 1) + static_cast<uint8_t>(sectors[at]);
    }
    return sum;
}

FailureOr<Geometry> Geometry::validate(const disk::BootSector& boot, uint64_t device_size) {
    if (std::memcmp(boot.name, "EXFAT   ", sizeof boot.name) != 0)
        return Failure(Errno::inval, "no exFAT boot sector");
    if (boot.signature != disk::boot_signature) return wrong("the signature is missing");
    if (std::any_of(std::begin(boot.zero), std::end(boot.zero), [](uint8_t b) { return b != 0; }))
        return wrong("bytes that must be zero are not");
    if (boot.revision >> 8 != 1)
        return Failure(Errno::opnotsupp, fmt::format("exFAT revision {}.{} is not known",
                                                     boot.revision >> 8, boot.revision & 0xff));
    if (boot.sector_shift < 9 || boot.sector_shift > 12)
        return wrong("bytes per sector is 2 to the {}, not 9 to 12", boot.sector_shift);
    if (boot.cluster_shift > 25 - boot.sector_shift)
        return wrong("sectors per cluster is 2 to the {}, more than 32 MiB", boot.cluster_shift);
    if (boot.fat_count != 1 && boot.fat_count != 2)
        return wrong("number of FATs is {}, not 1 or 2", boot.fat_count);

    Geometry g;
    g.sector_size = 1u << boot.sector_shift;
    g.cluster_shift = uint32_t{boot.sector_shift} + boot.cluster_shift;
    g.cluster_size = 1u << g.cluster_shift;
    g.cluster_count = boot.cluster_count;
    g.serial = boot.serial;
    g.was_dirty = boot.flags & disk::flag_dirty;
    g.media_failure = boot.flags & disk::flag_media_failure;
    uint64_t sectors = boot.volume_length;
    if (sectors > device_size >> boot.sector_shift)
        return wrong("{} sectors of {} bytes are more than the device's {} bytes{}", sectors,
                     g.sector_size, device_size, how_to_read_the_rest(sectors, g.sector_size));
    g.volume_size = sectors << boot.sector_shift;
    uint64_t fats_end = boot.fat_offset + uint64_t{boot.fat_count} * boot.fat_length;
    if (boot.fat_offset < 2 * disk::boot_region_sectors)
        return wrong("FAT offset is {}, inside the boot regions", boot.fat_offset.get());
    if (boot.heap_offset < fats_end)
        return wrong("cluster heap offset is {}, before the end of the FATs at {}",
                     boot.heap_offset.get(), fats_end);
    if (g.cluster_count == 0 || g.cluster_count > disk::cluster_count_max)
        return wrong("cluster count is {}", g.cluster_count);
    uint64_t heap_end = boot.heap_offset + (uint64_t{g.cluster_count} << boot.cluster_shift);
    if (heap_end > sectors)
        return wrong("{} clusters end at sector {}, behind the volume's {}", g.cluster_count,
                     heap_end, sectors);
    g.fat_size = uint64_t{boot.fat_length} << boot.sector_shift;
    if (g.fat_size / sizeof(le32) < uint64_t{g.cluster_count} + first_cluster)
        return wrong("FAT length is {}, too short for {} clusters", boot.fat_length.get(),
                     g.cluster_count);
    g.second_fat = boot.flags & disk::flag_second_fat;
    if (g.second_fat && boot.fat_count == 1) return wrong("the active FAT is the second of one");
    g.fat_offset =
        (uint64_t{boot.fat_offset} << boot.sector_shift) + (g.second_fat ? g.fat_size : 0);
    g.heap_offset = uint64_t{boot.heap_offset} << boot.sector_shift;
    if (!g.is_cluster(boot.root_cluster))
        return wrong("root cluster is {}, outside 2 to {}", boot.root_cluster.get(),
                     uint64_t{g.cluster_count} + 1);
    g.root_cluster = Cluster(boot.root_cluster);
    return g;
}

FailureOr<Geometry> Geometry::read(host::BlockDevice& device) {
    disk::BootSector boot;
    auto bytes = std::as_writable_bytes(std::span(&boot, 1));
    if (device.size() < sizeof boot) return Failure(Errno::inval, "too short for exFAT");
    if (!device.read(0, bytes)) return Failure(Errno::io, "boot sector: cannot be read");
    auto main = validate(boot, device.size());
    if (main) {
        auto holds = checksum_holds(device, 0, main->sector_size);
        if (!holds) return Failure(holds.error(), "boot region: cannot be read");
        if (*holds) return main;
    } else if (main.error().code == Errno::inval) {
        return main;
    }
    // The backup, at every place where it can be.
    for (uint32_t shift = 9; shift <= 12; shift++) {
        uint64_t offset = uint64_t{disk::boot_region_sectors} << shift;
        if (offset + sizeof boot > device.size() || !device.read(offset, bytes)) continue;
        auto backup = validate(boot, device.size());
        if (!backup || backup->sector_size != 1u << shift) continue;
        auto holds = checksum_holds(device, offset, backup->sector_size);
        if (!holds || !*holds) continue;
        backup->damage = main ? "boot region: the checksum is wrong" : main.error().text;
        return backup;
    }
    if (!main) return main;
    return Failure(Errno::uclean, "boot region: the checksum is wrong, and so is the backup's");
}

} // namespace rump::exfatfs
