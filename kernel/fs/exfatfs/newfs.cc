// newfs for exFAT: both boot regions, table, bitmap, up-case table, root directory. Specification,
// 3 to 7.
#include "kernel/fs/exfatfs/newfs.h"

#include "kernel/fs/exfatfs/format.h"
#include "kernel/fs/exfatfs/geometry.h"
#include "kernel/kern/kernel.h"
#include "kernel/sys/rounding.h"
#include "kernel/vfs/upcase.h"
#include "kernel/vfs/utf16.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

namespace rump::exfatfs {

namespace {

constexpr uint64_t mebibyte = 1u << 20;
constexpr uint64_t upcase_bytes = 2 * std::tuple_size_v<decltype(vfs::compressed_upcase_table)>;

struct Plan {
    uint32_t sector_size = 512;
    uint32_t cluster_size = 0;
    uint64_t sectors = 0;
    uint32_t fat_offset = 0; // sectors
    uint32_t fat_length = 0;
    uint32_t heap_offset = 0;
    uint32_t clusters = 0;
    uint32_t bitmap_clusters = 0; // from cluster 2
    uint32_t upcase_clusters = 0; // then these, then the root's one
    uint32_t serial = 0;
    std::u16string label;

    uint32_t upcase_first() const { return first_cluster + bitmap_clusters; }
    uint32_t root() const { return upcase_first() + upcase_clusters; }
    uint64_t offset_of(uint32_t cluster) const {
        return uint64_t{heap_offset} * sector_size +
               uint64_t{cluster - first_cluster} * cluster_size;
    }
};

uint32_t clusters_for(uint64_t bytes, uint32_t cluster_size) {
    return static_cast<uint32_t>(howmany(bytes, cluster_size));
}

/// FAT behind both boot regions, heap behind the FAT, each on a border of a cluster where that
/// wastes little.
FailureOr<void> lay_out(Plan& plan) {
    uint64_t align =
        std::max<uint64_t>(std::min<uint64_t>(plan.cluster_size, mebibyte) / plan.sector_size, 1);
    uint64_t fat_offset = round_up(2 * disk::boot_region_sectors, align);
    uint64_t per_cluster = plan.cluster_size / plan.sector_size;
    // As if there were no table: it then has room for a few entries more than are needed.
    uint64_t most = plan.sectors / per_cluster;
    uint64_t fat_length =
        howmany((std::min<uint64_t>(most, disk::cluster_count_max) + first_cluster) * sizeof(le32),
                plan.sector_size);
    uint64_t heap_offset = round_up(fat_offset + fat_length, align);
    if (heap_offset + per_cluster > plan.sectors || heap_offset > UINT32_MAX)
        return Failure(Errno::inval, "the device is too small");
    uint64_t clusters = (plan.sectors - heap_offset) / per_cluster;
    if (clusters > disk::cluster_count_max)
        return Failure(Errno::inval,
                       fmt::format("{} clusters are too many; use larger ones", clusters));
    plan.fat_offset = static_cast<uint32_t>(fat_offset);
    plan.fat_length = static_cast<uint32_t>(fat_length);
    plan.heap_offset = static_cast<uint32_t>(heap_offset);
    plan.clusters = static_cast<uint32_t>(clusters);
    plan.bitmap_clusters = clusters_for((clusters + 7) / 8, plan.cluster_size);
    plan.upcase_clusters = clusters_for(upcase_bytes, plan.cluster_size);
    if (uint64_t{plan.root()} >= clusters + first_cluster)
        return Failure(Errno::inval, "the device is too small");
    return {};
}

FailureOr<Plan> make_plan(Kernel& kernel, uint64_t bytes, const OptionSet& options) {
    Plan plan;
    uint64_t sector = options.number("sector", 512);
    if (!std::has_single_bit(sector) || sector < 512 || sector > 4096)
        return Failure(Errno::inval,
                       fmt::format("sector={}: not a power of two from 512 to 4096", sector));
    plan.sector_size = static_cast<uint32_t>(sector);
    plan.sectors = bytes / sector;
    if (bytes < mebibyte) return Failure(Errno::inval, "exFAT needs a megabyte at least");
    uint64_t standard = bytes <= 256 * mebibyte ? 4096 : bytes <= 32768 * mebibyte ? 32768 : 131072;
    uint64_t cluster = options.number("cluster", std::max(standard, sector));
    if (!std::has_single_bit(cluster) || cluster < sector || cluster > 32 * mebibyte)
        return Failure(Errno::inval, fmt::format("cluster={}: not a power of two from {} to 32M",
                                                 cluster, sector));
    plan.cluster_size = static_cast<uint32_t>(cluster);
    plan.serial = static_cast<uint32_t>(options.number("serial", kernel.random().next32()));
    std::string label = options.text("label");
    auto units = vfs::utf8_to_utf16(label);
    if (!units || units->size() > 11)
        return Failure(Errno::inval, "label=" + label + ": not 1 to 11 characters");
    plan.label = *units;
    TRY(lay_out(plan));
    return plan;
}

/// The twelve sectors of a boot region.
std::vector<std::byte> boot_region(const Plan& plan) {
    std::vector<std::byte> region(size_t{disk::boot_region_sectors} * plan.sector_size);
    auto& boot = *reinterpret_cast<disk::BootSector*>(region.data());
    boot.jump[0] = 0xeb;
    boot.jump[1] = 0x76;
    boot.jump[2] = 0x90;
    std::memcpy(boot.name, "EXFAT   ", sizeof boot.name);
    boot.volume_length = plan.sectors;
    boot.fat_offset = plan.fat_offset;
    boot.fat_length = plan.fat_length;
    boot.heap_offset = plan.heap_offset;
    boot.cluster_count = plan.clusters;
    boot.root_cluster = plan.root();
    boot.serial = plan.serial;
    boot.revision = 0x100;
    boot.sector_shift = static_cast<uint8_t>(std::countr_zero(plan.sector_size));
    boot.cluster_shift =
        static_cast<uint8_t>(std::countr_zero(plan.cluster_size / plan.sector_size));
    boot.fat_count = 1;
    boot.drive = 0x80;
    std::fill(std::begin(boot.code), std::end(boot.code), uint8_t{0xf4});
    boot.signature = disk::boot_signature;
    for (uint32_t sector = 1; sector <= 8; sector++)
        *reinterpret_cast<le32*>(&region[(sector + 1ull) * plan.sector_size - sizeof(le32)]) =
            disk::extended_signature;
    size_t sums = size_t{disk::checksum_sector} * plan.sector_size;
    uint32_t sum = boot_checksum(std::span(region).first(sums));
    for (size_t at = sums; at < region.size(); at += sizeof(le32))
        *reinterpret_cast<le32*>(&region[at]) = sum;
    return region;
}

/// Media entry, and the chains of bitmap, up-case table and root.
std::vector<std::byte> first_entries(const Plan& plan) {
    std::vector<std::byte> table(size_t{plan.root() + 1} * sizeof(le32));
    auto set = [&](uint32_t number, uint32_t value) {
        *reinterpret_cast<le32*>(&table[number * sizeof(le32)]) = value;
    };
    set(0, 0xfffffff8);
    set(1, 0xffffffff);
    for (uint32_t number = first_cluster; number <= plan.root(); number++) set(number, number + 1);
    set(plan.upcase_first() - 1, disk::fat_end);
    set(plan.root() - 1, disk::fat_end);
    set(plan.root(), disk::fat_end);
    return table;
}

std::vector<std::byte> upcase_table() {
    std::vector<std::byte> bytes(upcase_bytes);
    for (size_t i = 0; i < vfs::compressed_upcase_table.size(); i++)
        *reinterpret_cast<le16*>(&bytes[i * 2]) = vfs::compressed_upcase_table[i];
    return bytes;
}

std::vector<std::byte> root_entries(const Plan& plan, std::span<const std::byte> table) {
    std::vector<std::byte> bytes(3 * disk::entry_size);
    auto& label = *reinterpret_cast<disk::LabelEntry*>(&bytes[0]);
    // Without a label the entry stands there, not in use.
    label.type = plan.label.empty() ? uint8_t{disk::type_label & 0x7f} : disk::type_label;
    label.length = static_cast<uint8_t>(plan.label.size());
    for (size_t i = 0; i < plan.label.size(); i++)
        label.label[i] = static_cast<uint16_t>(plan.label[i]);
    auto& bitmap = *reinterpret_cast<disk::BitmapEntry*>(&bytes[disk::entry_size]);
    bitmap.type = disk::type_bitmap;
    bitmap.first_cluster = first_cluster;
    bitmap.length = (uint64_t{plan.clusters} + 7) / 8;
    auto& upcase = *reinterpret_cast<disk::UpcaseEntry*>(&bytes[2 * disk::entry_size]);
    upcase.type = disk::type_upcase;
    uint32_t sum = 0;
    for (std::byte b : table) sum = (sum << 31 | sum >> 1) + static_cast<uint8_t>(b);
    upcase.checksum = sum;
    upcase.first_cluster = plan.upcase_first();
    upcase.length = upcase_bytes;
    return bytes;
}

Result<void> write_all(host::BlockDevice& device, const Plan& plan) {
    uint32_t used = plan.root() + 1 - first_cluster;
    // The boot regions last: until then this is no file system.
    TRY(device.write_zeros(0, plan.offset_of(plan.root() + 1)));
    TRY(device.write(uint64_t{plan.fat_offset} * plan.sector_size, first_entries(plan)));
    std::vector<std::byte> bits((used + 7) / 8);
    for (uint32_t bit = 0; bit < used; bit++) bits[bit / 8] |= std::byte{1} << bit % 8;
    TRY(device.write(plan.offset_of(first_cluster), bits));
    auto table = upcase_table();
    TRY(device.write(plan.offset_of(plan.upcase_first()), table));
    TRY(device.write(plan.offset_of(plan.root()), root_entries(plan, table)));
    auto region = boot_region(plan);
    TRY(device.write(region.size(), region));
    TRY(device.flush());
    TRY(device.write(0, region));
    return device.flush();
}

} // namespace

std::span<const OptionSpec> newfs_options() {
    using Kind = OptionSpec::Kind;
    static constexpr std::array<OptionSpec, 4> specs{{
        {"cluster", Kind::size, "BYTES", "size of a cluster (by the size of the device)"},
        {"sector", Kind::size, "BYTES", "size of a sector, 512 to 4096 (512)"},
        {"label", Kind::text, "NAME", "volume label, up to 11 characters"},
        {"serial", Kind::number, "N", "volume serial number (random)"},
    }};
    return specs;
}

FailureOr<void> newfs(Kernel& kernel, host::BlockDevice& device, const OptionSet& options) {
    if (device.read_only()) return Failure(Errno::rofs, "the image cannot be written");
    Plan plan = TRY(make_plan(kernel, device.size(), options));
    if (auto written = write_all(device, plan); !written) return Failure(written.error());
    return {};
}

} // namespace rump::exfatfs
