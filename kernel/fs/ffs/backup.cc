// A copy of the superblock in place of the first one: newfs(8) leaves one in each cylinder group,
// at its start, and says so for this purpose.
#include "kernel/fs/ffs/backup.h"

#include <algorithm>
#include <array>

namespace rump::ffs {

namespace {

/// Groups begin with a block, and copies in them, so nowhere else is one.
constexpr uint64_t step = disk::min_bsize;
/// No group is larger: its map of fragments is in one block. So this much holds two copies.
constexpr uint64_t reach = uint64_t{disk::max_bsize} * 8 * disk::max_bsize + (1u << 20);
constexpr size_t chunk_bytes = 1u << 20;

/// The copy that these bytes of the device are, if they are one: its numbers make sense, it stands
/// where it says that one does, and its group's header is there, too. What an older file system
/// has left is none.
Result<std::optional<BackupSuperblock>> copy_at(host::BlockDevice& device, uint64_t place,
                                                std::span<const std::byte> head) {
    const auto& sb = *reinterpret_cast<const disk::Superblock*>(head.data());
    for (const auto endian : {std::endian::little, std::endian::big}) {
        const ByteOrder order(endian);
        const uint32_t magic = order.get(sb.magic);
        const bool ufs1 = magic == disk::magic_ufs1;
        if (!ufs1 && magic != disk::magic_ufs2 && magic != disk::magic_ufs2ea) continue;
        const bool updated = !ufs1 || (sb.old_flags & disk::flag_updated) != 0;
        const uint64_t home = updated ? order.get(sb.sblockloc) : disk::superblock_ufs1;
        if (std::find(disk::superblock_places.begin(), disk::superblock_places.end(), home) ==
            disk::superblock_places.end())
            continue;
        auto geo = Geometry::validate(sb, order, home, device.size());
        if (!geo || place == home) continue;
        const auto cg = static_cast<uint32_t>(place / geo->bytes(FragNumber(geo->fpg)));
        if (cg >= geo->ncg || geo->bytes(geo->cg_super(cg)) != place) continue;
        disk::CylinderGroup group;
        TRY(device.read(geo->bytes(geo->cg_block(cg)),
                        std::as_writable_bytes(std::span(&group, 1))));
        if (order.get(group.cgx) != cg || order.get(group.ndblk) != geo->cg_frags(cg)) continue;
        if (!geo->old_groups && order.get(group.magic) != disk::cg_magic) continue;
        std::vector<std::byte> bytes(disk::superblock_size);
        TRY(device.read(place, bytes));
        if ((geo->metackhash & disk::ck_superblock) != 0 &&
            superblock_hash(std::span(bytes).first(geo->superblock_bytes)) != order.get(sb.ckhash))
            continue;
        return std::optional(BackupSuperblock{{sb, order, home, std::move(bytes)}, place, cg});
    }
    return std::optional<BackupSuperblock>{};
}

} // namespace

std::vector<uint64_t> first_backup_places() {
    std::vector<uint64_t> places;
    for (uint64_t home : disk::superblock_places)
        for (uint64_t bsize = disk::min_bsize; bsize <= disk::max_bsize; bsize *= 2)
            places.push_back((home + disk::superblock_size + bsize - 1) & ~(bsize - 1));
    std::sort(places.begin(), places.end());
    places.erase(std::unique(places.begin(), places.end()), places.end());
    return places;
}

Result<std::optional<BackupSuperblock>> first_backup(host::BlockDevice& device) {
    std::array<std::byte, sizeof(disk::Superblock)> head;
    for (uint64_t place : first_backup_places()) {
        if (place + disk::superblock_size > device.size()) continue;
        TRY(device.read(place, head));
        if (auto found = TRY(copy_at(device, place, head))) return found;
    }
    return std::optional<BackupSuperblock>{};
}

Result<std::optional<BackupSuperblock>> search_backup(host::BlockDevice& device) {
    if (auto first = first_backup(device); first && *first) return first;
    const uint64_t end = std::min(device.size(), reach);
    std::vector<std::byte> chunk(chunk_bytes);
    for (uint64_t at = 0; at < end; at += chunk_bytes) {
        const auto part = std::span(chunk).first(std::min<uint64_t>(chunk_bytes, end - at));
        if (!device.read(at, part)) continue; // a bad place; others may be readable
        for (size_t in = 0; in + sizeof(disk::Superblock) <= part.size(); in += step)
            if (auto found = copy_at(device, at + in, part.subspan(in)); found && *found)
                return found;
    }
    return std::optional<BackupSuperblock>{};
}

} // namespace rump::ffs
