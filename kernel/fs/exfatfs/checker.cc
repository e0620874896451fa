// The check of everything but the tree: boot regions, bitmap, up-case table, chains.
#include "kernel/fs/exfatfs/checker.h"

#include "kernel/fs/exfatfs/check.h"

#include <algorithm>
#include <cstring>

namespace rump::exfatfs {

namespace {

constexpr uint64_t piece_bytes = 64u << 10;

/// As boot_checksum says it, for the eleven sectors before it.
std::vector<std::byte> checksum_bytes(uint32_t sum, uint32_t sector_size) {
    std::vector<std::byte> sector(sector_size);
    for (uint32_t at = 0; at < sector_size; at += sizeof(le32))
        *reinterpret_cast<le32*>(&sector[at]) = sum;
    return sector;
}

} // namespace

// --- boot regions -------------------------------------------------------------------------------

Result<void> Checker::check_boot_regions() {
    uint64_t size = uint64_t{disk::boot_region_sectors} * geometry_.sector_size;
    uint64_t summed = uint64_t{disk::checksum_sector} * geometry_.sector_size;
    std::vector<std::byte> regions[2];
    bool holds[2];
    for (unsigned i = 0; i < 2; i++) {
        regions[i].resize(size);
        TRY(device_.read(i * size, regions[i]));
        auto sums = checksum_bytes(boot_checksum(std::span(regions[i]).first(summed)),
                                   geometry_.sector_size);
        holds[i] = std::memcmp(regions[i].data() + summed, sums.data(), sums.size()) == 0 &&
                   std::memcmp(regions[i].data() + 3, "EXFAT   ", 8) == 0;
    }
    const char* names[2] = {"boot region", "backup boot region"};
    if (holds[0] && !geometry_.damage.empty()) { // it says what cannot be, so the backup counts
        if (wrong("boot-sector", names[0], geometry_.damage)) TRY(device_.write(0, regions[1]));
        return {};
    }
    for (unsigned i = 0; i < 2; i++) {
        if (holds[i]) continue;
        if (wrong("boot-checksum", names[i], "the checksum is wrong", holds[1 - i]))
            TRY(device_.write(i * size, regions[1 - i]));
    }
    if (!holds[0] || !holds[1]) return {};
    // The flags and the percentage of a mount are not carried to the backup.
    for (auto& region : regions) {
        auto& boot = *reinterpret_cast<disk::BootSector*>(region.data());
        boot.flags = 0;
        boot.percent_in_use = 0;
    }
    if (regions[0] == regions[1]) return {};
    if (wrong("backup-boot-region", names[1], "is not the same as the boot region")) {
        TRY(device_.read(0, regions[0]));
        TRY(device_.write(size, regions[0]));
    }
    return {};
}

Result<void> Checker::check_dirty() {
    disk::BootSector boot;
    auto bytes = std::as_writable_bytes(std::span(&boot, 1));
    TRY(device_.read(0, bytes));
    unsigned cleared = 0;
    if (boot.flags & disk::flag_dirty &&
        wrong("dirty", "boot sector", "the file system was not unmounted cleanly"))
        cleared |= disk::flag_dirty;
    if (boot.flags & disk::flag_media_failure &&
        wrong("device-errors", "boot sector", "errors of the device were met"))
        cleared |= disk::flag_media_failure;
    if (cleared == 0) return {};
    boot.flags = static_cast<uint16_t>(boot.flags & ~cleared);
    return device_.write(0, bytes);
}

// --- chains -------------------------------------------------------------------------------------

Result<uint32_t> Checker::fat_entry(uint32_t cluster) {
    uint64_t byte = uint64_t{cluster} * sizeof(le32);
    uint64_t begin = byte - byte % piece_bytes;
    if (fat_piece_.empty() || begin != fat_piece_at_) {
        fat_piece_.resize(std::min(piece_bytes, geometry_.fat_size - begin));
        fat_piece_at_ = begin;
        TRY(device_.read(geometry_.fat_offset + begin, fat_piece_));
    }
    return reinterpret_cast<const le32*>(&fat_piece_[byte - begin])->get();
}

Result<void> Checker::set_fat_entry(uint32_t cluster, uint32_t value) {
    le32 entry;
    entry = value;
    fat_piece_.clear();
    return device_.write(geometry_.fat_offset + uint64_t{cluster} * sizeof entry,
                         std::as_bytes(std::span(&entry, 1)));
}

/// Takes the clusters of one file. Each is taken once, so circles end.
Result<Checker::Walk> Checker::walk(const Claim& claim) {
    Walk result;
    if (claim.no_chain && !geometry_.is_run(claim.first, claim.clusters)) {
        result.broken = "run past the cluster heap";
        return result;
    }
    uint64_t at = claim.first;
    while (result.clusters.size() < claim.clusters) {
        if (at > UINT32_MAX || !geometry_.is_cluster(static_cast<uint32_t>(at))) {
            result.broken = "lead to a number that is no cluster";
            return result;
        }
        auto cluster = static_cast<uint32_t>(at);
        if (owned_[cluster]) {
            result.broken = "are shared with another file, or go round in a circle";
            return result;
        }
        owned_[cluster] = true;
        result.clusters.push_back(cluster);
        if (claim.no_chain) {
            at++;
            continue;
        }
        at = TRY(fat_entry(cluster));
        if (at == disk::fat_end) return result;
        if (at == disk::fat_bad) {
            result.broken = "lead to a bad cluster";
            return result;
        }
    }
    result.goes_on = !claim.no_chain && claim.clusters > 0;
    return result;
}

void Checker::end_chain(const Walk& walk) {
    if (!walk.clusters.empty()) ends_.push_back(walk.clusters.back());
}

Result<void> Checker::end_chains() {
    for (uint32_t last : ends_) TRY(set_fat_entry(last, disk::fat_end));
    return {};
}

Result<std::vector<std::byte>> Checker::read_clusters(const std::vector<uint32_t>& clusters) {
    std::vector<std::byte> bytes(uint64_t{clusters.size()} << geometry_.cluster_shift);
    for (size_t i = 0; i < clusters.size(); i++)
        TRY(device_.read(
            geometry_.offset_of(Cluster(clusters[i])),
            std::span(bytes).subspan(i << geometry_.cluster_shift, geometry_.cluster_size)));
    return bytes;
}

Result<void> Checker::write_cluster_bytes(const std::vector<uint32_t>& clusters, uint64_t offset,
                                          std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
        uint64_t inside = offset & (geometry_.cluster_size - 1);
        uint64_t here = std::min<uint64_t>(bytes.size(), geometry_.cluster_size - inside);
        Cluster cluster(clusters[offset >> geometry_.cluster_shift]);
        TRY(device_.write(geometry_.offset_of(cluster) + inside, bytes.first(here)));
        bytes = bytes.subspan(here);
        offset += here;
    }
    return {};
}

// --- bitmap and up-case table -------------------------------------------------------------------

bool Checker::marked(uint32_t cluster) const {
    uint32_t bit = cluster - first_cluster;
    return (bitmap_[bit / 8] & std::byte{static_cast<uint8_t>(1u << bit % 8)}) != std::byte{0};
}

Result<void> Checker::load_bitmap(const disk::BitmapEntry& entry) {
    uint64_t need = (uint64_t{geometry_.cluster_count} + 7) / 8;
    if (entry.length != need)
        wrong("bitmap-length", "allocation bitmap",
              fmt::format("has {} bytes, {} clusters need {}", entry.length.get(),
                          geometry_.cluster_count, need),
              false);
    Claim claim{entry.first_cluster, geometry_.clusters_for(need), false};
    Walk chain = TRY(walk(claim));
    if (chain.clusters.size() < claim.clusters) {
        wrong("bitmap-chain", "allocation bitmap",
              fmt::format("its clusters {}", chain.broken ? chain.broken : "end too soon"), false);
        return {};
    }
    bitmap_ = TRY(read_clusters(chain.clusters));
    bitmap_clusters_ = std::move(chain.clusters);
    return {};
}

Result<void> Checker::load_upcase(const disk::UpcaseEntry& entry) {
    uint64_t length = entry.length;
    const char* place = "up-case table";
    if (length == 0 || length > 2 * 65536 || length % 2 != 0) {
        wrong("upcase-length", place, fmt::format("has {} bytes", length), false);
        return {};
    }
    Claim claim{entry.first_cluster, geometry_.clusters_for(length), false};
    Walk chain = TRY(walk(claim));
    if (chain.clusters.size() < claim.clusters) {
        wrong("upcase-chain", place,
              fmt::format("its clusters {}", chain.broken ? chain.broken : "end too soon"), false);
        return {};
    }
    auto bytes = TRY(read_clusters(chain.clusters));
    uint32_t sum = 0;
    for (std::byte b : std::span(bytes).first(length))
        sum = (sum << 31 | sum >> 1) + static_cast<uint8_t>(b);
    if (sum != entry.checksum) {
        wrong("upcase-checksum", place,
              fmt::format("the checksum is {:#x}, not {:#x}", sum, entry.checksum.get()), false);
        return {};
    }
    std::vector<uint16_t> units(length / 2);
    for (size_t i = 0; i < units.size(); i++)
        units[i] = *reinterpret_cast<const le16*>(&bytes[i * 2]);
    if (!upcase_.load(units)) wrong("upcase-table", place, "runs past 65536 code units", false);
    return {};
}

Result<void> Checker::check_bitmap() {
    report_.blocks_total = geometry_.cluster_count;
    if (bitmap_.empty()) return {};
    uint64_t lost = 0, unmarked = 0;
    uint32_t first_lost = 0, first_unmarked = 0;
    uint32_t end = geometry_.cluster_count + first_cluster;
    for (uint32_t cluster = first_cluster; cluster < end; cluster++) {
        report_.blocks_used += owned_[cluster];
        if (marked(cluster) == owned_[cluster]) continue;
        if (owned_[cluster]) {
            if (unmarked++ == 0) first_unmarked = cluster;
            continue;
        }
        // Bad clusters are marked, so that nobody takes them.
        if (TRY(fat_entry(cluster)) == disk::fat_bad)
            owned_[cluster] = true;
        else if (lost++ == 0)
            first_lost = cluster;
    }
    bool mend = bitmap_changed_;
    if (unmarked > 0)
        mend |= wrong("cluster-not-marked", fmt::format("cluster {}", first_unmarked),
                      fmt::format("{} clusters of files are marked as free", unmarked));
    if (lost > 0)
        mend |= wrong("lost-clusters", fmt::format("cluster {}", first_lost),
                      fmt::format("{} clusters are marked as used and belong to no file", lost));
    if (!mend) return {};
    for (uint32_t cluster = first_cluster; cluster < end; cluster++) {
        uint32_t bit = cluster - first_cluster;
        std::byte mask{static_cast<uint8_t>(1u << bit % 8)};
        bitmap_[bit / 8] = owned_[cluster] ? bitmap_[bit / 8] | mask : bitmap_[bit / 8] & ~mask;
    }
    return write_cluster_bytes(bitmap_clusters_, 0, bitmap_);
}

Result<void> Checker::check_all() {
    TRY(check_boot_regions());
    TRY(check_dirty());
    TRY(check_root());
    TRY(check_tree());
    return check_bitmap();
}

FailureOr<CheckReport> check(host::BlockDevice& device, const CheckOptions& options) {
    Geometry geometry = TRY(Geometry::read(device));
    return Checker(device, geometry, options.repair).run();
}

} // namespace rump::exfatfs
