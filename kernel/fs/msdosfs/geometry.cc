// Boot sector to Geometry: every field and relation is checked here, nowhere else.
#include "kernel/fs/msdosfs/geometry.h"
#include "kernel/sys/missing_end.h"
#include "kernel/sys/rounding.h"

#include <fmt/format.h>

#include <bit>
#include <cstring>

namespace rump::msdosfs {

namespace {

template<class T>
const T& view(std::span<const std::byte, 512> sector, size_t at) {
    static_assert(alignof(T) == 1);
    return *reinterpret_cast<const T*>(sector.data() + at);
}

template<class... A>
Failure wrong(fmt::format_string<A...> text, A&&... arguments) {
    return {Errno::uclean, "boot sector: " + fmt::format(text, std::forward<A>(arguments)...)};
}

/// MS-DOS 1.x floppies say what they are by the first byte of the FAT in sector 1.
struct MediaLayout {
    uint8_t media;
    uint32_t kibibytes;
    uint8_t sectors_per_cluster;
    uint8_t fat_sectors;
    uint16_t root_entries;
};
constexpr MediaLayout media_layouts[] = {
    {0xfe, 160, 1, 1, 64},
    {0xfc, 180, 1, 2, 64},
    {0xff, 320, 2, 1, 112},
    {0xfd, 360, 2, 2, 112},
};

std::optional<Geometry> without_parameter_block(std::span<const std::byte, 4> fat,
                                                uint64_t device_size) {
    for (const MediaLayout& layout : media_layouts) {
        if (fat[0] != std::byte{layout.media} || fat[1] != std::byte{0xff} ||
            fat[2] != std::byte{0xff} || device_size != layout.kibibytes * 1024ull)
            continue;
        Geometry g;
        g.has_parameter_block = false;
        g.media = layout.media;
        g.sector_size = 512;
        g.cluster_size = 512u * layout.sectors_per_cluster;
        g.cluster_shift = static_cast<uint32_t>(std::countr_zero(g.cluster_size));
        g.fat_offset = 512;
        g.fat_size = 512ull * layout.fat_sectors;
        g.fat_count = 2;
        g.root_offset = g.fat_offset + g.fat_count * g.fat_size;
        g.root_entries = layout.root_entries;
        g.heap_offset = g.root_offset + g.root_entries * disk::dirent_size;
        g.volume_size = device_size;
        g.cluster_count = static_cast<uint32_t>((device_size - g.heap_offset) / g.cluster_size);
        return g;
    }
    return std::nullopt;
}

/// What another system's first sector says of itself.
std::string_view other_type(const disk::BootSector& boot) {
    std::string_view id(boot.system_id, sizeof boot.system_id);
    if (id == "EXFAT   ") return "this is an exFAT file system, use rump_exfat";
    if (id == "NTFS    ") return "this is an NTFS file system";
    return "no FAT boot sector";
}

Result<void, Failure> read_sizes(const disk::BootSector& boot, Geometry& g) {
    g.sector_size = boot.bytes_per_sector;
    if (!std::has_single_bit(g.sector_size) || g.sector_size < 512 || g.sector_size > 32768)
        return wrong("bytes per sector is {}, not a power of two from 512 to 32768", g.sector_size);
    uint32_t per_cluster = boot.sectors_per_cluster;
    if (!std::has_single_bit(per_cluster))
        return wrong("sectors per cluster is {}, not a power of two", per_cluster);
    g.cluster_size = g.sector_size * per_cluster;
    g.cluster_shift = static_cast<uint32_t>(std::countr_zero(g.cluster_size));
    if (boot.reserved_sectors == 0) return wrong("reserved sectors is 0");
    g.fat_count = boot.fat_count;
    if (g.fat_count == 0) return wrong("number of FATs is 0");
    if (g.fat_count > 16) return wrong("number of FATs is {}, more than 16", g.fat_count);
    g.media = boot.media;
    return {};
}

Result<void, Failure> read_tail32(std::span<const std::byte, 512> sector, Geometry& g) {
    const auto& tail = view<disk::BootTail32>(sector, sizeof(disk::BootSector));
    g.fat_size = uint64_t{tail.fat_sectors} * g.sector_size;
    if (g.fat_size == 0) return wrong("sectors per FAT is 0");
    if (tail.version != 0)
        return Failure(Errno::opnotsupp, fmt::format("FAT32 version {}.{} is not known",
                                                     tail.version >> 8, tail.version & 0xff));
    if (tail.flags & disk::flag_no_mirror) {
        g.mirrored = false;
        g.active_fat = tail.flags & disk::active_fat_mask;
        if (g.active_fat >= g.fat_count)
            return wrong("active FAT is {}, there are {}", g.active_fat, g.fat_count);
    }
    const auto& boot = view<disk::BootSector>(sector, 0);
    auto within_reserved = [&](uint16_t number) {
        return number != 0 && number < boot.reserved_sectors;
    };
    if (within_reserved(tail.fsinfo_sector))
        g.fsinfo_offset = uint64_t{tail.fsinfo_sector} * g.sector_size;
    if (within_reserved(tail.backup_sector))
        g.backup_offset = uint64_t{tail.backup_sector} * g.sector_size;
    g.root_cluster = Cluster(tail.root_cluster);
    return {};
}

/// Serial number, label and the place of the state byte.
void read_tail(std::span<const std::byte, 512> sector, Geometry& g) {
    size_t at = sizeof(disk::BootSector);
    if (g.is_fat32()) at += offsetof(disk::BootTail32, tail);
    const auto& tail = view<disk::BootTail>(sector, at);
    if (tail.signature != disk::signature_serial && tail.signature != disk::signature_label) return;
    g.tail_offset = static_cast<uint32_t>(at);
    g.serial = tail.serial;
    if (tail.signature == disk::signature_serial) return;
    std::string_view label(tail.label, sizeof tail.label);
    label = label.substr(0, label.find('\0'));
    size_t end = label.find_last_not_of(' ');
    label = label.substr(0, end == label.npos ? 0 : end + 1);
    if (label != "NO NAME") g.boot_label = label;
}

/// FAT12 or FAT16, where the cluster count decides but for Ataris, which use 16 bits on hard disks
/// of any size.
FatType small_type(const Geometry& g, bool sixteen_bit_mark) {
    if (g.cluster_count > 4084) return FatType::fat16;
    bool room = g.fat_size / 2 >= uint64_t{g.cluster_count} + 2;
    return g.atari && room && sixteen_bit_mark ? FatType::fat16 : FatType::fat12;
}

Result<void, Failure> lay_out(const disk::BootSector& boot, uint64_t sectors, bool sixteen_bit_mark,
                              Geometry& g) {
    uint64_t fats_end = boot.reserved_sectors + g.fat_count * (g.fat_size / g.sector_size);
    g.fat_offset = uint64_t{boot.reserved_sectors} * g.sector_size;
    g.root_offset = fats_end * g.sector_size;
    uint64_t root_bytes = uint64_t{g.root_entries} * disk::dirent_size;
    uint64_t data_sector = fats_end + howmany(root_bytes, g.sector_size);
    g.heap_offset = data_sector * g.sector_size;
    g.volume_size = sectors * g.sector_size;
    if (data_sector >= sectors)
        return wrong("{} sectors in all leave no room behind {} for FATs and root directory",
                     sectors, data_sector);
    uint64_t clusters = (sectors - data_sector) / boot.sectors_per_cluster;
    uint64_t most = g.is_fat32() ? 0x0ffffff5 : 65524;
    if (clusters == 0) return wrong("there is no data cluster");
    if (clusters > most)
        return wrong("{} clusters are more than {} has", clusters,
                     g.is_fat32() ? "FAT32" : "FAT16");
    g.cluster_count = static_cast<uint32_t>(clusters);
    if (!g.is_fat32()) g.type = small_type(g, sixteen_bit_mark);

    uint64_t bits = static_cast<uint64_t>(g.type);
    if (g.fat_size * 8 / bits < clusters + 2)
        return wrong("sectors per FAT is {}, too few for {} clusters", g.fat_size / g.sector_size,
                     clusters);
    if (g.is_fat32() && !g.is_cluster(g.root_cluster.value()))
        return wrong("root cluster is {}, outside 2 to {}", g.root_cluster.value(), clusters + 1);
    return {};
}

} // namespace

const char* Geometry::type_name() const {
    return type == FatType::fat12 ? "FAT12" : type == FatType::fat16 ? "FAT16" : "FAT32";
}

FailureOr<Geometry> Geometry::validate(std::span<const std::byte, 512> sector,
                                       std::span<const std::byte, 4> behind, uint64_t device_size) {
    const auto& boot = view<disk::BootSector>(sector, 0);
    bool signed_sector = view<le16>(sector, disk::boot_signature_offset) == disk::boot_signature;
    bool jump = boot.jump[0] == 0xeb || boot.jump[0] == 0xe9;

    // A sector that has no parameter block at all is no damaged FAT; it is something else.
    bool sensible =
        std::has_single_bit(boot.bytes_per_sector.get()) && boot.bytes_per_sector >= 512;
    if (!sensible || boot.fat_count == 0 || (!jump && boot.reserved_sectors == 0)) {
        if (auto floppy = without_parameter_block(behind, device_size)) return *floppy;
        bool named = std::memcmp(sector.data() + 54, "FAT", 3) == 0 ||
                     std::memcmp(sector.data() + 82, "FAT", 3) == 0;
        if (!named) return Failure(Errno::inval, std::string(other_type(boot)));
    }

    Geometry g;
    g.atari = !jump && !signed_sector;
    TRY(read_sizes(boot, g));
    if (boot.media != 0xf0 && boot.media < 0xf8 && !g.atari)
        return wrong("media byte is {:#04x}, neither 0xf0 nor 0xf8 to 0xff", boot.media);
    if (boot.fat_sectors_16 != 0) {
        g.type = FatType::fat16;
        g.fat_size = uint64_t{boot.fat_sectors_16} * g.sector_size;
        g.root_entries = boot.root_entries;
        if (g.root_entries == 0) return wrong("root directory entries is 0");
    } else {
        g.type = FatType::fat32;
        if (g.atari) return wrong("sectors per FAT is 0");
        if (boot.root_entries != 0)
            return wrong("root directory entries is {} on FAT32", boot.root_entries.get());
        TRY(read_tail32(sector, g));
    }
    uint64_t sectors = boot.sectors_16;
    if (sectors == 0 && !g.atari) sectors = boot.sectors_32;
    if (sectors == 0) return wrong("number of sectors is 0");
    if (sectors * g.sector_size > device_size)
        return wrong("{} sectors of {} bytes are more than the device's {} bytes{}", sectors,
                     g.sector_size, device_size, how_to_read_the_rest(sectors, g.sector_size));

    TRY(lay_out(boot, sectors, behind[2] == std::byte{0xff} && behind[3] == std::byte{0xff}, g));
    if (!g.atari) read_tail(sector, g);
    return g;
}

namespace {

/// The boot sector at `offset`, with the beginning of the table that it leads to.
struct BootArea {
    std::array<std::byte, 512> sector{};
    std::array<std::byte, 4> fat{};
    uint64_t fat_offset = 0;
};

FailureOr<BootArea> read_boot(host::BlockDevice& device, uint64_t offset) {
    BootArea area;
    if (!device.read(offset, area.sector)) return Failure(Errno::io, "boot sector: cannot be read");
    const auto& boot = view<disk::BootSector>(area.sector, 0);
    area.fat_offset = uint64_t{boot.reserved_sectors} * boot.bytes_per_sector;
    if (area.fat_offset == 0) area.fat_offset = 512;
    if (area.fat_offset + area.fat.size() <= device.size() &&
        !device.read(area.fat_offset, area.fat))
        return Failure(Errno::io, "file allocation table: cannot be read");
    return area;
}

FailureOr<Geometry> read_main(host::BlockDevice& device) {
    BootArea area = TRY(read_boot(device, 0));
    auto g = Geometry::validate(area.sector, area.fat, device.size());
    if (g.ok() || g.error().code != Errno::inval || area.fat_offset == 512) return g;
    // A floppy without a parameter block may hold anything where one would stand.
    if (!device.read(512, area.fat)) return Failure(Errno::io, "sector 1: cannot be read");
    return Geometry::validate(area.sector, area.fat, device.size());
}

/// How many entries of a table can be none, if it has so wide ones.
uint32_t faults_as(const Geometry& g, std::span<const std::byte> table, uint32_t bits) {
    auto entry = [&](uint32_t number) -> uint32_t {
        auto byte = [&](size_t at) { return static_cast<uint32_t>(table[at]); };
        if (bits == 16) return byte(size_t{number} * 2) | byte(size_t{number} * 2 + 1) << 8;
        size_t at = number + number / 2;
        uint32_t two = byte(at) | byte(at + 1) << 8;
        return number % 2 ? two >> 4 : two & 0xfff;
    };
    const uint32_t special = (1u << bits) - 9; // a bad cluster; ends are above
    uint32_t faults = 0;
    for (uint32_t n = first_cluster; n < g.cluster_count + first_cluster; n++) {
        uint32_t next = entry(n);
        if (next != 0 && next < special) faults += !g.is_cluster(next) || entry(next) == 0;
    }
    return faults;
}

/// Where an Atari's table has room for either width, the first of 12 bits can look like the mark of
/// 16: what follows tells, and if it does not, floppies have 12.
Result<FatType> atari_type(host::BlockDevice& device, const Geometry& g) {
    constexpr uint64_t largest_floppy = 2880u << 10;
    if (!g.atari || g.type != FatType::fat16 || g.cluster_count > 4084) return g.type;
    std::vector<std::byte> table((size_t{g.cluster_count} + first_cluster) * 2);
    TRY(device.read(g.fat_offset, table));
    uint32_t as_12 = faults_as(g, table, 12), as_16 = faults_as(g, table, 16);
    bool floppy = as_12 == as_16 ? g.volume_size <= largest_floppy : as_12 < as_16;
    return floppy ? FatType::fat12 : FatType::fat16;
}

/// FAT32's second boot sector, in sector 6 of whatever size (FAT specification, 3.3).
std::optional<Geometry> read_backup(host::BlockDevice& device) {
    for (uint64_t size = 512; size <= 4096; size *= 2) {
        uint64_t offset = disk::backup_boot_sector * size;
        if (offset + 512 > device.size()) break;
        auto area = read_boot(device, offset);
        if (!area || view<le16>(area->sector, disk::boot_signature_offset) != disk::boot_signature)
            continue;
        auto g = Geometry::validate(area->sector, area->fat, device.size());
        if (!g || !g->is_fat32() || g->sector_size != size || g->backup_offset != offset) continue;
        // The table tells a FAT from what another file system left alone when it was made over it.
        const auto& head = reinterpret_cast<const le32&>(area->fat);
        if ((head & 0x0fffffff) == (0x0fffff00u | g->media)) return *g;
    }
    return std::nullopt;
}

} // namespace

FailureOr<Geometry> Geometry::read(host::BlockDevice& device) {
    if (device.size() < 1024) return Failure(Errno::inval, "too short for a FAT file system");
    auto main = read_main(device);
    if (main) {
        auto type = atari_type(device, *main);
        if (!type) return Failure(type.error(), "file allocation table: cannot be read");
        main->type = *type;
    }
    if (main || main.error().code == Errno::opnotsupp) return main;
    auto backup = read_backup(device);
    if (!backup) return main;
    backup->damage = main.error().text;
    backup->tail_offset.reset(); // no state stands in a sector that says nothing else, either
    return *backup;
}

Result<Marks> Geometry::marks(host::BlockDevice& device) const {
    Marks marks;
    if (tail_offset) {
        disk::BootTail tail;
        TRY(device.read(*tail_offset, std::as_writable_bytes(std::span(&tail, 1))));
        marks = {(tail.state & disk::state_dirty) != 0, (tail.state & disk::state_errors) != 0};
    }
    uint64_t table = fat_offset + active_fat * fat_size;
    if (is_fat32()) {
        le32 entry;
        TRY(device.read(table + sizeof entry, std::as_writable_bytes(std::span(&entry, 1))));
        marks.dirty |= !(entry & disk::fat32_clean);
        marks.errors |= !(entry & disk::fat32_no_errors);
    } else if (type == FatType::fat16 && !atari) { // an Atari leaves zeros there
        le16 entry;
        TRY(device.read(table + sizeof entry, std::as_writable_bytes(std::span(&entry, 1))));
        marks.dirty |= !(entry & disk::fat16_clean);
        marks.errors |= !(entry & disk::fat16_no_errors);
    }
    return marks;
}

} // namespace rump::msdosfs
