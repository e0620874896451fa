// The check of everything but the tree: table, marks, lost clusters, FSInfo, backup.
#include "kernel/fs/msdosfs/checker.h"

#include "kernel/fs/msdosfs/check.h"

#include <algorithm>
#include <cstring>

namespace rump::msdosfs {

namespace {
constexpr uint64_t piece_bytes = 1u << 20;

template<class T>
std::span<std::byte> bytes_of(T& object) {
    return std::as_writable_bytes(std::span(&object, 1));
}
} // namespace

uint32_t Checker::end_mark() const {
    return geometry_.type == FatType::fat12   ? 0xfff
           : geometry_.type == FatType::fat16 ? 0xffff
                                              : disk::fat32_mask;
}

Result<void> Checker::load_table() {
    uint64_t entries = uint64_t{geometry_.cluster_count} + first_cluster;
    auto bits = static_cast<unsigned>(geometry_.type);
    uint64_t bytes = (entries * bits + 7) / 8;
    std::vector<std::byte> raw(bytes + 2); // the last entry of 12 bits is read as 16
    TRY(device_.read(geometry_.fat_offset + geometry_.active_fat * geometry_.fat_size,
                     std::span(raw).first(bytes)));
    table_.resize(entries);
    for (uint64_t n = 0; n < entries; n++) {
        const std::byte* at = raw.data() + n * bits / 8;
        if (bits == 32)
            table_[n] = *reinterpret_cast<const le32*>(at) & disk::fat32_mask;
        else if (bits == 16)
            table_[n] = *reinterpret_cast<const le16*>(at);
        else
            table_[n] = *reinterpret_cast<const le16*>(at) >> (n % 2 ? 4 : 0) & 0xfff;
    }
    return {};
}

/// The active table as it should stand on the device; the upper bits of FAT32 come from there.
std::vector<std::byte> Checker::encode_table() const {
    auto bits = static_cast<unsigned>(geometry_.type);
    std::vector<std::byte> raw((table_.size() * bits + 7) / 8 + 4);
    for (size_t n = 0; n < table_.size(); n++) {
        auto* at = raw.data() + n * bits / 8;
        if (bits == 32)
            *reinterpret_cast<le32*>(at) = table_[n];
        else if (bits == 16)
            *reinterpret_cast<le16*>(at) = static_cast<uint16_t>(table_[n]);
        else
            *reinterpret_cast<le16*>(at) |= static_cast<uint16_t>(table_[n] << (n % 2 ? 4 : 0));
    }
    raw.resize((table_.size() * bits + 7) / 8);
    return raw;
}

Result<void> Checker::compare_copies() {
    if (!geometry_.mirrored) return {};
    uint64_t used = std::min<uint64_t>(
        geometry_.fat_size, (table_.size() * static_cast<unsigned>(geometry_.type) + 7) / 8);
    std::vector<std::byte> a(std::min(piece_bytes, used)), b(a.size());
    for (uint32_t copy = 1; copy < geometry_.fat_count; copy++) {
        bool differs = false;
        for (uint64_t at = 0; at < used && !differs; at += piece_bytes) {
            uint64_t length = std::min(piece_bytes, used - at);
            TRY(device_.read(geometry_.fat_offset + at, std::span(a).first(length)));
            TRY(device_.read(geometry_.fat_offset + copy * geometry_.fat_size + at,
                             std::span(b).first(length)));
            differs = std::memcmp(a.data(), b.data(), length) != 0;
        }
        if (differs && wrong("fat-copies-differ", fmt::format("FAT {}", copy),
                             "is not the same as the first one"))
            table_changed_ = true;
    }
    return {};
}

Result<void> Checker::check_marks() {
    if ((table_[0] & 0xff) != geometry_.media && !geometry_.atari &&
        wrong("fat-media", "FAT, entry 0",
              fmt::format("media byte is {:#04x}, the boot sector has {:#04x}", table_[0] & 0xff,
                          geometry_.media))) {
        table_[0] = (table_[0] & ~0xffu) | geometry_.media;
        table_changed_ = true;
    }
    Marks marks = TRY(geometry_.marks(device_));
    if (marks.dirty &&
        wrong("dirty", "boot sector and FAT", "the file system was not unmounted cleanly"))
        TRY(clear_mark(disk::state_dirty, disk::fat16_clean, disk::fat32_clean));
    if (marks.errors &&
        wrong("device-errors", "boot sector and FAT", "errors of the device were met"))
        TRY(clear_mark(disk::state_errors, disk::fat16_no_errors, disk::fat32_no_errors));
    return {};
}

/// A mark is set by a bit in the boot sector, and by one that is missing in the table.
Result<void> Checker::clear_mark(uint8_t state, uint32_t bit16, uint32_t bit32) {
    if (geometry_.type != FatType::fat12) table_[1] |= geometry_.is_fat32() ? bit32 : bit16;
    table_changed_ = true;
    if (!geometry_.tail_offset) return {};
    disk::BootTail tail;
    TRY(device_.read(*geometry_.tail_offset, bytes_of(tail)));
    tail.state &= static_cast<uint8_t>(~state);
    return device_.write(*geometry_.tail_offset, bytes_of(tail));
}

/// Takes the clusters of a chain for one file, at most `most` of them and one more.
Checker::Walk Checker::walk(uint32_t first, uint64_t most) {
    Walk result;
    for (uint32_t at = first;;) {
        if (!geometry_.is_cluster(at)) {
            result.broken = "leads to a number that is no cluster";
            break;
        }
        uint32_t next = table_[at];
        if (next == 0 || next == end_mark() - 8) {
            result.broken = next == 0 ? "leads to a free cluster" : "leads to a bad cluster";
            break;
        }
        if (owned_[at]) {
            result.broken = "shares a cluster with another chain, or goes round in a circle";
            break;
        }
        owned_[at] = true;
        result.clusters.push_back(at);
        if (next >= end_mark() - 7) break;
        if (result.clusters.size() > most) {
            result.broken = "is longer than it may be";
            break;
        }
        at = next;
    }
    return result;
}

void Checker::cut(const Cut& where) {
    const auto& [clusters, keep] = where;
    if (keep > 0) table_[clusters[keep - 1]] = end_mark();
    for (size_t i = keep; i < clusters.size(); i++) {
        table_[clusters[i]] = 0;
        owned_[clusters[i]] = false;
    }
    table_changed_ = true;
}

Result<void> Checker::check_lost() {
    uint64_t lost = 0, used = 0;
    uint32_t first = 0;
    for (uint32_t n = first_cluster; n < table_.size(); n++) {
        if (table_[n] == 0 || table_[n] == end_mark() - 8) continue;
        used++;
        if (owned_[n]) continue;
        if (lost++ == 0) first = n;
    }
    report_.blocks_total = geometry_.cluster_count;
    report_.blocks_used = used;
    if (lost == 0) return {};
    if (!wrong("lost-clusters", fmt::format("cluster {}", first),
               fmt::format("{} clusters are marked as used and belong to no file", lost)))
        return {};
    for (uint32_t n = first_cluster; n < table_.size(); n++)
        if (table_[n] != end_mark() - 8 && !owned_[n]) table_[n] = 0;
    report_.blocks_used -= lost;
    table_changed_ = true;
    return {};
}

Result<void> Checker::check_fsinfo() {
    if (!geometry_.fsinfo_offset) return {};
    disk::FsInfo info;
    TRY(device_.read(*geometry_.fsinfo_offset, bytes_of(info)));
    auto free = static_cast<uint32_t>(std::count(table_.begin() + first_cluster, table_.end(), 0u));
    bool marked = info.lead_signature == disk::fsinfo_lead &&
                  info.signature == disk::fsinfo_signature &&
                  info.trail_signature == disk::fsinfo_trail;
    bool counted = info.free_clusters == free || info.free_clusters == disk::fsinfo_unknown;
    bool hinted = geometry_.is_cluster(info.next_free) || info.next_free == disk::fsinfo_unknown ||
                  info.next_free == 0 || info.next_free == geometry_.cluster_count + first_cluster;
    bool mend = false;
    if (!marked) mend = wrong("fsinfo-signature", "FSInfo", "a signature is missing");
    // While clusters are lost or a writer was cut off, the count cannot be right.
    if (marked && !counted)
        mend = wrong(
            "fsinfo-free", "FSInfo",
            fmt::format("says {} free clusters, there are {}", info.free_clusters.get(), free));
    if (marked && !hinted)
        mend = wrong("fsinfo-next", "FSInfo",
                     fmt::format("next free cluster {} is none", info.next_free.get()));
    if (!mend) return {};
    info.lead_signature = disk::fsinfo_lead;
    info.signature = disk::fsinfo_signature;
    info.trail_signature = disk::fsinfo_trail;
    info.free_clusters = free;
    if (!hinted) info.next_free = disk::fsinfo_unknown;
    return device_.write(*geometry_.fsinfo_offset, bytes_of(info));
}

Result<void> Checker::check_backup() {
    if (!geometry_.backup_offset) return {};
    std::array<std::byte, 512> boot, backup;
    TRY(device_.read(*geometry_.backup_offset, backup));
    if (!geometry_.damage.empty()) {
        if (wrong("boot-sector", "sector 0", geometry_.damage + "; the backup is sound"))
            return device_.write(0, backup);
        return {};
    }
    TRY(device_.read(0, boot));
    // Marks of a mount are not carried to the backup.
    if (geometry_.tail_offset) {
        size_t state = *geometry_.tail_offset + offsetof(disk::BootTail, state);
        boot[state] = backup[state];
    }
    if (boot == backup) return {};
    if (wrong("backup-boot-sector", fmt::format("byte {}", *geometry_.backup_offset),
              "the backup of the boot sector is not the same"))
        return device_.write(*geometry_.backup_offset, boot);
    return {};
}

Result<void> Checker::store_table() {
    if (!repair_ || !table_changed_) return {};
    std::vector<std::byte> raw = encode_table();
    if (geometry_.is_fat32()) {
        std::vector<std::byte> old(raw.size());
        TRY(device_.read(geometry_.fat_offset + geometry_.active_fat * geometry_.fat_size, old));
        for (size_t at = 3; at < raw.size(); at += 4) raw[at] |= old[at] & std::byte{0xf0};
    }
    for (uint32_t copy = 0; copy < geometry_.fat_count; copy++)
        if (geometry_.mirrored || copy == geometry_.active_fat)
            TRY(device_.write(geometry_.fat_offset + copy * geometry_.fat_size, raw));
    return {};
}

Result<void> Checker::check_all() {
    TRY(load_table());
    TRY(compare_copies());
    TRY(check_marks());
    TRY(check_tree());
    TRY(check_lost());
    TRY(check_fsinfo());
    TRY(check_backup());
    return store_table();
}

FailureOr<CheckReport> check(host::BlockDevice& device, const CheckOptions& options) {
    Geometry geometry = TRY(Geometry::read(device));
    return Checker(device, std::move(geometry), options.repair).run();
}

} // namespace rump::msdosfs
