// newfs for FAT: sizes by Microsoft's tables (FAT specification, 3.5), floppies by their formats.
#include "kernel/fs/msdosfs/newfs.h"

#include "kernel/fs/msdosfs/codepage.h"
#include "kernel/fs/msdosfs/format.h"
#include "kernel/kern/kernel.h"
#include "kernel/sys/rounding.h"
#include "kernel/vfs/dos_time.h"
#include "kernel/vfs/upcase.h"
#include "kernel/vfs/utf16.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <vector>

namespace rump::msdosfs {

namespace {

constexpr uint64_t mebibyte = 1u << 20;

struct Plan {
    unsigned bits = 0; // 12, 16, 32
    uint32_t sector_size = 512;
    uint32_t per_cluster = 0; // sectors
    uint32_t reserved = 0;    // sectors
    uint32_t fats = 2;
    uint32_t root_entries = 0;
    uint32_t fat_sectors = 0;
    uint64_t sectors = 0;
    uint64_t clusters = 0;
    uint8_t media = 0xf8;
    uint16_t per_track = 63;
    uint16_t heads = 255;
    uint32_t serial = 0;
    std::array<char, 11> label;
    bool has_label = false;
};

/// Formats that drives and systems expect.
struct Floppy {
    uint32_t kibibytes;
    uint8_t per_cluster;
    uint16_t root_entries;
    uint8_t media;
    uint8_t per_track;
    uint8_t heads;
};
constexpr Floppy floppies[] = {
    {160, 1, 64, 0xfe, 8, 1},    {180, 1, 64, 0xfc, 9, 1},    {320, 2, 112, 0xff, 8, 2},
    {360, 2, 112, 0xfd, 9, 2},   {720, 2, 112, 0xf9, 9, 2},   {1200, 1, 224, 0xf9, 15, 2},
    {1440, 1, 224, 0xf0, 18, 2}, {2880, 2, 240, 0xf0, 36, 2},
};

struct Size {
    uint64_t up_to; // bytes of the volume
    uint32_t cluster;
};
constexpr Size fat16_sizes[] = {
    {16 * mebibyte, 1024},  {128 * mebibyte, 2048},   {256 * mebibyte, 4096},
    {512 * mebibyte, 8192}, {1024 * mebibyte, 16384}, {2048 * mebibyte, 32768},
    {UINT64_MAX, 65536},
};
constexpr Size fat32_sizes[] = {
    {260 * mebibyte, 512},     {8192 * mebibyte, 4096}, {16384 * mebibyte, 8192},
    {32768 * mebibyte, 16384}, {UINT64_MAX, 32768},
};

uint32_t cluster_by_size(std::span<const Size> sizes, uint64_t bytes, uint32_t sector_size) {
    for (const Size& size : sizes)
        if (bytes <= size.up_to) return std::max(size.cluster, sector_size);
    return sector_size;
}

/// Sectors of one FAT, and how many clusters that leaves.
void lay_out(Plan& plan) {
    uint64_t root = howmany(plan.root_entries * disk::dirent_size, plan.sector_size);
    plan.fat_sectors = 1;
    for (;;) {
        uint64_t taken = plan.reserved + root + uint64_t{plan.fats} * plan.fat_sectors;
        plan.clusters = taken >= plan.sectors ? 0 : (plan.sectors - taken) / plan.per_cluster;
        uint64_t bytes = ((plan.clusters + 2) * plan.bits + 7) / 8;
        auto need = static_cast<uint32_t>(howmany(bytes, plan.sector_size));
        if (need <= plan.fat_sectors) return;
        plan.fat_sectors = need;
    }
}

FailureOr<void> choose_label(Plan& plan, const OptionSet& options) {
    plan.label.fill(' ');
    std::string text = options.text("label");
    if (text.empty()) return {};
    auto units = vfs::utf8_to_utf16(text);
    CodePage page = *CodePage::find(CodePage::standard);
    vfs::UpcaseTable upcase;
    if (!units || units->size() > plan.label.size())
        return Failure(Errno::inval, "label=" + text + ": not 1 to 11 characters");
    for (size_t i = 0; i < units->size(); i++) {
        auto byte = page.encode(upcase.upper((*units)[i]));
        if (!byte || *byte < 0x20 || std::strchr("\"*+,./:;<=>?[\\]|", *byte))
            return Failure(Errno::inval, "label=" + text + ": a character that no label has");
        plan.label[i] = static_cast<char>(*byte);
    }
    plan.has_label = true;
    return {};
}

FailureOr<void> choose_sizes(Plan& plan, uint64_t bytes, const OptionSet& options) {
    const Floppy* floppy = nullptr;
    if (!options.has("fat") && !options.has("cluster") && plan.sector_size == 512)
        for (const Floppy& format : floppies)
            if (bytes == format.kibibytes * 1024ull) floppy = &format;
    uint64_t bits = options.number("fat", 0);
    if (bits != 0 && bits != 12 && bits != 16 && bits != 32)
        return Failure(Errno::inval, fmt::format("fat={}: not 12, 16 or 32", bits));
    plan.bits = static_cast<unsigned>(bits);
    if (plan.bits == 0)
        plan.bits = floppy || bytes < 4 * mebibyte ? 12 : bytes < 512 * mebibyte ? 16 : 32;

    plan.reserved = static_cast<uint32_t>(options.number("reserved", plan.bits == 32 ? 32 : 1));
    plan.fats = static_cast<uint32_t>(options.number("fats", 2));
    plan.root_entries = plan.bits == 32 ? 0 : 512;
    if (floppy) {
        plan.per_cluster = floppy->per_cluster;
        plan.root_entries = floppy->root_entries;
        plan.media = floppy->media;
        plan.per_track = floppy->per_track;
        plan.heads = floppy->heads;
    }
    if (plan.bits != 32)
        plan.root_entries =
            static_cast<uint32_t>(options.number("root_entries", plan.root_entries));
    if (plan.reserved < (plan.bits == 32 ? 8 : 1) || plan.reserved > 65535)
        return Failure(Errno::inval, "reserved= is out of range");
    if (plan.fats < 1 || plan.fats > 16) return Failure(Errno::inval, "fats= is not 1 to 16");
    if (plan.root_entries > 65535 || (plan.bits != 32 && plan.root_entries == 0))
        return Failure(Errno::inval, "root_entries= is not 1 to 65535");
    return {};
}

/// Sectors per cluster as asked for, or such that the count of clusters is right for the type.
FailureOr<void> choose_cluster(Plan& plan, uint64_t bytes, const OptionSet& options) {
    const uint64_t most = plan.bits == 12 ? 4084 : plan.bits == 16 ? 65524 : 0x0ffffff5;
    uint64_t asked = options.number("cluster", 0);
    if (asked != 0) {
        if (!std::has_single_bit(asked) || asked < plan.sector_size ||
            asked > 128ull * plan.sector_size)
            return Failure(Errno::inval, fmt::format("cluster={}: not a power of two from 1 to 128 "
                                                     "sectors of {} bytes",
                                                     asked, plan.sector_size));
        plan.per_cluster = static_cast<uint32_t>(asked / plan.sector_size);
    } else if (plan.per_cluster == 0) {
        uint32_t size = plan.bits == 12   ? plan.sector_size
                        : plan.bits == 16 ? cluster_by_size(fat16_sizes, bytes, plan.sector_size)
                                          : cluster_by_size(fat32_sizes, bytes, plan.sector_size);
        plan.per_cluster = std::min(size / plan.sector_size, 128u);
        for (lay_out(plan); plan.clusters > most && plan.per_cluster < 128; lay_out(plan))
            plan.per_cluster *= 2;
        // Smaller clusters where there are too few for the type.
        for (; plan.bits == 16 && plan.clusters < 4085 && plan.per_cluster > 1; lay_out(plan))
            plan.per_cluster /= 2;
    }
    lay_out(plan);
    if (plan.bits == 16 && plan.clusters < 4085 && !options.has("fat")) {
        plan.bits = 12;
        lay_out(plan);
    }
    if (plan.clusters == 0) return Failure(Errno::inval, "the device is too small");
    if (plan.clusters > most)
        return Failure(Errno::inval, fmt::format("{} clusters are more than FAT{} has; use larger "
                                                 "clusters or another type",
                                                 plan.clusters, plan.bits));
    // FAT32 is known by its fields as well, and small FAT32 volumes are common on boot partitions.
    if (plan.bits == 16 && plan.clusters < 4085)
        return Failure(Errno::inval,
                       fmt::format("{} clusters are too few for FAT16", plan.clusters));
    if (plan.bits != 32 && plan.fat_sectors > 65535)
        return Failure(Errno::inval, "the FAT would be too large");
    return {};
}

FailureOr<Plan> make_plan(Kernel& kernel, uint64_t bytes, const OptionSet& options) {
    Plan plan;
    uint64_t sector = options.number("sector", 512);
    if (!std::has_single_bit(sector) || sector < 512 || sector > 32768)
        return Failure(Errno::inval,
                       fmt::format("sector={}: not a power of two from 512 to 32768", sector));
    plan.sector_size = static_cast<uint32_t>(sector);
    plan.sectors = std::min<uint64_t>(bytes / sector, UINT32_MAX);
    plan.serial = static_cast<uint32_t>(options.number("serial", kernel.random().next32()));
    TRY(choose_label(plan, options));
    TRY(choose_sizes(plan, bytes, options));
    TRY(choose_cluster(plan, bytes, options));
    return plan;
}

void fill_tail(disk::BootTail& tail, const Plan& plan) {
    tail.drive = plan.media == 0xf8 ? 0x80 : 0;
    tail.signature = disk::signature_label;
    tail.serial = plan.serial;
    std::memcpy(tail.label, plan.has_label ? plan.label.data() : "NO NAME    ", sizeof tail.label);
    std::string name = fmt::format("{:<8}", fmt::format("FAT{}", plan.bits));
    std::memcpy(tail.type_name, name.data(), sizeof tail.type_name);
}

std::vector<std::byte> boot_sector(const Plan& plan) {
    std::vector<std::byte> sector(plan.sector_size);
    auto& boot = *reinterpret_cast<disk::BootSector*>(sector.data());
    bool fat32 = plan.bits == 32;
    uint8_t code = fat32 ? 0x5a : 0x3e; // behind the fields
    boot.jump[0] = 0xeb;
    boot.jump[1] = static_cast<uint8_t>(code - 2);
    boot.jump[2] = 0x90;
    std::memcpy(boot.system_id, "RUMP    ", sizeof boot.system_id);
    boot.bytes_per_sector = static_cast<uint16_t>(plan.sector_size);
    boot.sectors_per_cluster = static_cast<uint8_t>(plan.per_cluster);
    boot.reserved_sectors = static_cast<uint16_t>(plan.reserved);
    boot.fat_count = static_cast<uint8_t>(plan.fats);
    boot.root_entries = static_cast<uint16_t>(plan.root_entries);
    bool small = plan.sectors < 65536 && !fat32;
    boot.sectors_16 = static_cast<uint16_t>(small ? plan.sectors : 0);
    boot.sectors_32 = static_cast<uint32_t>(small ? 0 : plan.sectors);
    boot.media = plan.media;
    boot.fat_sectors_16 = static_cast<uint16_t>(fat32 ? 0 : plan.fat_sectors);
    boot.sectors_per_track = plan.per_track;
    boot.heads = plan.heads;
    auto* behind = sector.data() + sizeof(disk::BootSector);
    if (fat32) {
        auto& tail = *reinterpret_cast<disk::BootTail32*>(behind);
        tail.fat_sectors = plan.fat_sectors;
        tail.root_cluster = 2;
        tail.fsinfo_sector = 1;
        tail.backup_sector = disk::backup_boot_sector;
        fill_tail(tail.tail, plan);
    } else {
        fill_tail(*reinterpret_cast<disk::BootTail*>(behind), plan);
    }
    // "Next boot device", then wait for ever.
    const uint8_t program[] = {0xcd, 0x18, 0xeb, 0xfe};
    std::memcpy(sector.data() + code, program, sizeof program);
    *reinterpret_cast<le16*>(sector.data() + disk::boot_signature_offset) = disk::boot_signature;
    return sector;
}

std::vector<std::byte> fsinfo_sector(const Plan& plan) {
    std::vector<std::byte> sector(plan.sector_size);
    auto& info = *reinterpret_cast<disk::FsInfo*>(sector.data());
    info.lead_signature = disk::fsinfo_lead;
    info.signature = disk::fsinfo_signature;
    info.free_clusters = static_cast<uint32_t>(plan.clusters - 1); // the root has one
    info.next_free = 3;
    info.trail_signature = disk::fsinfo_trail;
    return sector;
}

/// Media byte, marks, and the root's one cluster on FAT32.
std::vector<std::byte> first_fat_sector(const Plan& plan) {
    std::vector<std::byte> sector(plan.sector_size);
    auto set = [&](size_t at, uint32_t value, unsigned bytes) {
        for (unsigned i = 0; i < bytes; i++) sector[at + i] = std::byte(value >> 8 * i & 0xff);
    };
    switch (plan.bits) {
    case 12:
        set(0, 0xffff00u | plan.media, 3);
        break;
    case 16:
        set(0, 0xffffff00u | plan.media, 4);
        break;
    default:
        set(0, 0x0fffff00u | plan.media, 4);
        set(4, 0x0fffffff, 4);
        set(8, 0x0fffffff, 4);
    }
    return sector;
}

disk::DirEntry label_entry(const Plan& plan, Timespec now) {
    disk::DirEntry entry{};
    std::memcpy(entry.name, plan.label.data(), sizeof entry.name);
    if (entry.name[0] == disk::name_deleted) entry.name[0] = disk::name_is_e5;
    entry.attributes = disk::attr_label;
    vfs::DosTime stamp = vfs::to_dos(now, 0);
    entry.written_date = stamp.date;
    entry.written_time = stamp.time;
    return entry;
}

Result<void> write_all(host::BlockDevice& device, const Plan& plan, Timespec now) {
    uint64_t size = plan.sector_size;
    uint64_t root = (plan.reserved + uint64_t{plan.fats} * plan.fat_sectors) * size;
    uint64_t root_bytes = plan.bits == 32 ? uint64_t{plan.per_cluster} * size
                                          : round_up(plan.root_entries * disk::dirent_size, size);
    // The boot sector last: until then this is no file system.
    TRY(device.write_zeros(0, root + root_bytes));
    for (uint32_t fat = 0; fat < plan.fats; fat++)
        TRY(device.write((plan.reserved + uint64_t{fat} * plan.fat_sectors) * size,
                         first_fat_sector(plan)));
    if (plan.has_label) {
        disk::DirEntry entry = label_entry(plan, now);
        TRY(device.write(root, std::as_bytes(std::span(&entry, 1))));
    }
    auto boot = boot_sector(plan);
    if (plan.bits == 32) {
        auto info = fsinfo_sector(plan);
        TRY(device.write(size, info));
        TRY(device.write(disk::backup_boot_sector * size, boot));
        TRY(device.write((disk::backup_boot_sector + 1) * size, info));
    }
    TRY(device.flush());
    TRY(device.write(0, boot));
    return device.flush();
}

} // namespace

std::span<const OptionSpec> newfs_options() {
    using Kind = OptionSpec::Kind;
    static constexpr std::array<OptionSpec, 8> specs{{
        {"fat", Kind::number, "BITS", "12, 16 or 32 (by the size of the device)"},
        {"cluster", Kind::size, "BYTES", "size of a cluster (by the size of the device)"},
        {"sector", Kind::size, "BYTES", "size of a sector, 512 to 32768 (512)"},
        {"fats", Kind::number, "N", "copies of the FAT, 1 to 16 (2)"},
        {"reserved", Kind::number, "N", "sectors before the first FAT (1; FAT32: 32)"},
        {"root_entries", Kind::number, "N", "entries of the root directory, not on FAT32 (512)"},
        {"label", Kind::text, "NAME", "volume label, up to 11 characters"},
        {"serial", Kind::number, "N", "volume serial number (random)"},
    }};
    return specs;
}

FailureOr<void> newfs(Kernel& kernel, host::BlockDevice& device, const OptionSet& options) {
    if (device.read_only()) return Failure(Errno::rofs, "the image cannot be written");
    Plan plan = TRY(make_plan(kernel, device.size(), options));
    if (auto written = write_all(device, plan, kernel.now()); !written)
        return Failure(written.error());
    return {};
}

} // namespace rump::msdosfs
