// Partition tables by libblkid.
#include "images/partitions.h"

#include "hostshim/byte_order.h"
#include "hostshim/file_device.h"
#include "images/blkid_probe.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <strings.h>

namespace rump::images {
namespace {

constexpr uint64_t sector = 512; // libblkid counts in these, whatever the disk's sectors are

// --- letters of a BSD disklabel -----------------------------------------------------------------

/// disklabel(5), the fields that tell where a letter's partition is.
struct DiskLabel {
    le32 magic;
    uint8_t other[128];
    le32 magic2;
    le16 checksum;
    le16 partition_count;
    le32 boot_size;
    le32 superblock_size;
    struct Slot {
        le32 sectors;
        le32 offset; // sectors; from the disk's start, some systems write the slice's
        le32 fragment_size;
        uint8_t fs_type;
        uint8_t fragments;
        le16 cylinders_per_group;
    };
    std::array<Slot, 16> slots; // 'a' to 'p'
};
static_assert(sizeof(DiskLabel) == 148 + 16 * 16 && alignof(DiskLabel) == 1);

constexpr uint32_t disklabel_magic = 0x82564557;
/// Where systems put the label, in bytes from the start of the slice or disk.
constexpr std::array<uint64_t, 3> disklabel_places{512, 64, 128};

bool is_bsd(std::string_view scheme) { return scheme.ends_with("bsd"); }

/// Gives the partitions of one label their letters. libblkid lists them in the label's order, but
/// skips unused slots and ones that it does not trust, so each is sought from the last one's slot
/// on.
void assign_letters(host::BlockDevice& disk, uint64_t table_start, std::span<Partition*> of_label) {
    DiskLabel label;
    bool found = false;
    for (uint64_t place : disklabel_places) {
        auto bytes = std::as_writable_bytes(std::span(&label, 1));
        if (!disk.read(table_start + place, bytes).ok()) continue;
        found = label.magic == disklabel_magic && label.magic2 == disklabel_magic;
        if (found) break;
    }
    if (!found) return;
    size_t slot = 0;
    for (Partition* partition : of_label) {
        for (size_t i = slot; i < label.slots.size(); ++i) {
            uint64_t offset = label.slots[i].offset * sector;
            if (label.slots[i].sectors * sector != partition->size) continue;
            if (offset != partition->offset && offset + table_start != partition->offset) continue;
            partition->letter = static_cast<char>('a' + i);
            slot = i + 1;
            break;
        }
    }
}

// --- the table ----------------------------------------------------------------------------------

struct Listed {
    Partition partition;
    uint64_t table_start; // bytes: the start of the disk or slice that holds the BSD label
};

Listed describe(blkid_partition from) {
    blkid_parttable table = blkid_partition_get_table(from);
    Listed listed;
    Partition& p = listed.partition;
    p.number = static_cast<unsigned>(std::max(blkid_partition_get_partno(from), 0));
    p.offset = static_cast<uint64_t>(blkid_partition_get_start(from)) * sector;
    p.size = static_cast<uint64_t>(blkid_partition_get_size(from)) * sector;
    p.extended = blkid_partition_is_extended(from) != 0;
    p.scheme = text_or_empty(blkid_parttable_get_type(table));
    p.type = text_or_empty(blkid_partition_get_type_string(from));
    if (p.type.empty())
        p.type = fmt::format("{:#x}", static_cast<unsigned>(blkid_partition_get_type(from)));
    p.name = text_or_empty(blkid_partition_get_name(from));
    p.uuid = text_or_empty(blkid_partition_get_uuid(from));
    blkid_partition parent = blkid_parttable_get_parent(table);
    listed.table_start =
        parent ? static_cast<uint64_t>(blkid_partition_get_start(parent)) * sector : 0;
    return listed;
}

Result<std::vector<Listed>> read_table(const host::DirectRange& range, uint64_t size,
                                       unsigned sector_size) {
    Probe probe = TRY(make_probe(range, size));
    blkid_probe_set_sectorsize(probe.get(), sector_size);
    std::vector<Listed> listed;
    // Also null when there is no table; libblkid tells I/O errors from that only by errno's grace.
    blkid_partlist list = blkid_probe_get_partitions(probe.get());
    int count = list ? blkid_partlist_numof_partitions(list) : 0;
    for (int i = 0; i < count; ++i)
        listed.push_back(describe(blkid_partlist_get_partition(list, i)));
    return listed;
}

} // namespace

Result<std::vector<Partition>> partitions(host::BlockDevice& disk) {
    auto range = disk.direct(0, disk.size(), false);
    if (!range) return Errno::opnotsupp;
    auto listed = TRY(read_table(*range, disk.size(), disk.sector_size()));
    // A file may be the image of a disk with larger sectors; GPT is written in them.
    if (listed.empty() && disk.sector_size() == 512)
        listed = TRY(read_table(*range, disk.size(), 4096));

    std::vector<Partition> all;
    all.reserve(listed.size());
    std::vector<Partition*> of_label;
    for (size_t i = 0; i < listed.size(); ++i) {
        all.push_back(std::move(listed[i].partition));
        if (!is_bsd(all.back().scheme)) continue;
        of_label.push_back(&all.back());
        if (i + 1 < listed.size() && listed[i + 1].partition.scheme == all.back().scheme &&
            listed[i + 1].table_start == listed[i].table_start)
            continue;
        assign_letters(disk, listed[i].table_start, of_label);
        of_label.clear();
    }
    std::stable_sort(all.begin(), all.end(),
                     [](const Partition& a, const Partition& b) { return a.number < b.number; });
    return all;
}

FailureOr<std::vector<Partition>> partitions(const std::string& path, uint64_t offset,
                                             uint64_t size) {
    auto disk = TRY(host::open_file_device(
        path, {.access = host::Access::read_only, .offset = offset, .size = size, .lock = false}));
    return TRY(partitions(*disk));
}

std::string list_of(const std::vector<Partition>& all) {
    std::string text;
    for (const Partition& p : all) {
        if (p.extended) continue;
        if (!text.empty()) text += ", ";
        text += fmt::format("{}", p.number);
        if (p.letter)
            text += fmt::format(" ({})", p.letter);
        else if (!p.name.empty())
            text += fmt::format(" ({})", p.name);
    }
    return text.empty() ? "none" : text;
}

FailureOr<Partition> select(const std::vector<Partition>& all, std::string_view which,
                            uint64_t disk_size) {
    if (all.empty())
        return Failure(Errno::noent, fmt::format("no partition table, so no partition {}", which));

    unsigned number = 0;
    auto parsed = std::from_chars(which.data(), which.data() + which.size(), number);
    bool is_number = parsed.ec == std::errc() && parsed.ptr == which.data() + which.size();
    auto means = [&](const Partition& p) {
        if (is_number) return p.number == number;
        if (which.size() == p.uuid.size() &&
            strncasecmp(which.data(), p.uuid.data(), which.size()) == 0 && !which.empty())
            return true;
        if (p.letter && which.size() == 1) return p.letter == (which[0] | 0x20);
        return !p.name.empty() && p.name == which;
    };
    auto found = std::find_if(all.begin(), all.end(), means);
    if (found == all.end())
        return Failure(Errno::noent,
                       fmt::format("no partition {}; there are {}", which, list_of(all)));
    if (std::find_if(found + 1, all.end(), means) != all.end())
        return Failure(Errno::inval,
                       fmt::format("several partitions are called {}; choose by number: {}", which,
                                   list_of(all)));
    if (found->extended)
        return Failure(Errno::inval, fmt::format("partition {} holds partitions, no file system; "
                                                 "there are {}",
                                                 which, list_of(all)));
    if (found->size == 0) return Failure(Errno::inval, fmt::format("partition {} is empty", which));
    if (found->offset >= disk_size || found->size > disk_size - found->offset)
        return Failure(
            Errno::inval,
            fmt::format("partition {} reaches to byte {}, the image has {}: it is cut off", which,
                        found->offset + found->size, disk_size));
    return *found;
}

} // namespace rump::images
