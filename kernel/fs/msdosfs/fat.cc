// Reading and writing entries of the file allocation table.
#include "kernel/fs/msdosfs/fat.h"

#include "kernel/vfs/buffer_cache.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <optional>

namespace rump::msdosfs {

using host::MutexGuard;

namespace {

constexpr uint32_t read_ahead_bytes = 128 * 1024;

} // namespace

uint64_t FatTable::byte_of(uint32_t number) const {
    switch (geometry_.type) {
    case FatType::fat12:
        return number + number / 2;
    case FatType::fat16:
        return uint64_t{number} * 2;
    case FatType::fat32:
        break;
    }
    return uint64_t{number} * 4;
}

uint32_t FatTable::end_mark() const {
    switch (geometry_.type) {
    case FatType::fat12:
        return 0xfff;
    case FatType::fat16:
        return 0xffff;
    case FatType::fat32:
        break;
    }
    return disk::fat32_mask;
}

FatEntry FatTable::classify(uint32_t raw) const {
    FatEntry entry;
    uint32_t last = end_mark();
    if (raw == 0)
        entry.kind = FatEntry::Kind::free;
    else if (geometry_.is_cluster(raw))
        entry.kind = FatEntry::Kind::next, entry.next = Cluster(raw);
    else if (raw >= last - 7)
        entry.kind = FatEntry::Kind::end;
    else if (raw == last - 8)
        entry.kind = FatEntry::Kind::bad;
    else
        entry.kind = FatEntry::Kind::outside;
    return entry;
}

Result<Buf> FatTable::sector(uint32_t copy, uint64_t byte) {
    uint64_t in_table = byte - byte % geometry_.sector_size;
    return mount_.buffers().read(geometry_.fat_offset + copy * geometry_.fat_size + in_table,
                                 geometry_.sector_size);
}

Result<Buf> FatTable::readable_sector(uint64_t byte) {
    auto active = sector(geometry_.active_fat, byte);
    if (active || !geometry_.mirrored) return active;
    for (uint32_t copy = 0; copy < geometry_.fat_count; copy++)
        if (auto other = sector(copy, byte)) return other;
    return mount_.io_error(fmt::format("file allocation table, byte {}", byte), active.error());
}

Result<uint32_t> FatTable::raw(uint32_t number, Cursor& cursor) {
    uint32_t size = geometry_.sector_size;
    auto at = [&](uint64_t byte) -> Result<const std::byte*> {
        uint64_t offset = geometry_.fat_offset + geometry_.active_fat * geometry_.fat_size + byte;
        if (!cursor.buf || cursor.buf.offset() != offset - byte % size)
            cursor.buf = TRY(readable_sector(byte));
        return cursor.buf.bytes().data() + byte % size;
    };
    uint64_t byte = byte_of(number);
    const std::byte* bytes = TRY(at(byte));
    if (geometry_.type == FatType::fat16) return uint32_t{*reinterpret_cast<const le16*>(bytes)};
    if (geometry_.type == FatType::fat32)
        return *reinterpret_cast<const le32*>(bytes) & disk::fat32_mask;
    auto value = static_cast<uint32_t>(*bytes);
    value |= static_cast<uint32_t>(*TRY(at(byte + 1))) << 8;
    return number % 2 ? value >> 4 : value & 0xfff;
}

Result<FatEntry> FatTable::get(Cluster cluster, Cursor& cursor) {
    MutexGuard guard(mutex_);
    return classify(TRY(raw(cluster.value(), cursor)));
}

Result<void> FatTable::read_used(ClusterRun run, std::span<uint64_t> used) {
    uint64_t begin = byte_of(run.first.value()), end = byte_of(run.end());
    for (uint64_t at = begin; at < end; at += read_ahead_bytes)
        mount_.buffers().read_ahead(geometry_.fat_offset +
                                        geometry_.active_fat * geometry_.fat_size + at,
                                    std::min<uint64_t>(read_ahead_bytes, end - at));
    std::fill(used.begin(), used.end(), 0);
    Cursor cursor;
    MutexGuard guard(mutex_);
    for (uint32_t i = 0; i < run.count; i++)
        if (TRY(raw(run.first.value() + i, cursor)) != 0) used[i / 64] |= uint64_t{1} << i % 64;
    return {};
}

/// An undo gives bytes back as they were, so the half of a byte that belongs to a neighbour, and
/// may have changed since, is carried over it.
Result<void> FatTable::set12(Transaction& tx, uint32_t copy, uint32_t number, uint32_t value,
                             WritePhase phase) {
    uint64_t byte = byte_of(number);
    bool odd = number % 2;
    for (unsigned i = 0; i < 2; i++) {
        Buf buf = TRY(sector(copy, byte + i));
        size_t at = (byte + i) % geometry_.sector_size;
        bool whole = odd ? i == 1 : i == 0;
        auto ours = static_cast<uint8_t>(whole ? 0xff : odd ? 0xf0 : 0x0f);
        auto part = static_cast<uint8_t>(odd ? (i ? value >> 4 : value << 4) : value >> 8 * i);
        auto* bytes = const_cast<std::byte*>(buf.bytes().data()) + at;
        auto neighbour = std::make_shared<std::byte>();
        if (!whole)
            tx.on_abort(
                [=] { *bytes = (*bytes & std::byte{ours}) | (*neighbour & ~std::byte{ours}); });
        std::byte& target = tx.modify(buf, at, 1, phase)[0];
        target = (target & ~std::byte{ours}) | (std::byte{part} & std::byte{ours});
        if (!whole) tx.on_abort([=] { *neighbour = *bytes; });
    }
    return {};
}

Result<void> FatTable::fill_copy(Transaction& tx, uint32_t copy, Entries entries, WritePhase phase,
                                 Values value, Buf& at) {
    if (geometry_.type == FatType::fat12) {
        for (uint32_t number = entries.first; number < entries.end(); number++)
            TRY(set12(tx, copy, number, value(number), phase));
        return {};
    }
    uint32_t width = geometry_.is_fat32() ? 4 : 2;
    uint32_t per_sector = geometry_.sector_size / width;
    uint64_t table = geometry_.fat_offset + copy * geometry_.fat_size;
    for (uint32_t number = entries.first; number < entries.end();) {
        uint32_t index = number % per_sector;
        uint32_t here = std::min(per_sector - index, entries.end() - number);
        if (!at || at.offset() != table + byte_of(number - index))
            at = TRY(sector(copy, byte_of(number)));
        auto bytes = tx.modify(at, index * width, here * width, phase);
        for (uint32_t i = 0; i < here; i++, number++) {
            if (width == 2) {
                *reinterpret_cast<le16*>(&bytes[i * 2]) = static_cast<uint16_t>(value(number));
            } else {
                auto& entry = *reinterpret_cast<le32*>(&bytes[i * 4]);
                entry = (entry & ~disk::fat32_mask) | (value(number) & disk::fat32_mask);
            }
        }
    }
    return {};
}

Result<void> FatTable::fill(Transaction& tx, Entries entries, WritePhase phase, Values value) {
    MutexGuard guard(mutex_);
    for (uint32_t copy = 0; copy < geometry_.fat_count; copy++) {
        Buf at;
        if (geometry_.mirrored || copy == geometry_.active_fat)
            TRY(fill_copy(tx, copy, entries, phase, value, at));
    }
    return {};
}

Result<void> FatTable::make_chain(Transaction& tx, Runs runs) {
    MutexGuard guard(mutex_);
    for (uint32_t copy = 0; copy < geometry_.fat_count; copy++) {
        if (!geometry_.mirrored && copy != geometry_.active_fat) continue;
        Buf at;
        for (size_t i = 0; i < runs.size(); i++) {
            ClusterRun run = runs[i];
            uint32_t behind = i + 1 < runs.size() ? runs[i + 1].first.value() : end_mark();
            TRY(fill_copy(
                tx, copy, {run.first.value(), run.count}, WritePhase::allocation,
                [&](uint32_t number) { return number + 1 == run.end() ? behind : number + 1; },
                at));
        }
    }
    return {};
}

/// The sectors with the entries of `runs` reach the device before `then`.
Result<void> FatTable::order_before(Transaction& tx, uint32_t copy, Runs runs, Buf& then) {
    std::optional<uint64_t> last;
    for (ClusterRun run : runs)
        for (uint64_t byte = byte_of(run.first.value()), end = byte_of(run.end()); byte <= end;
             byte += geometry_.sector_size - byte % geometry_.sector_size) {
            if (last == byte / geometry_.sector_size) continue;
            last = byte / geometry_.sector_size;
            Buf first = TRY(sector(copy, byte));
            TRY(tx.order(first, then));
        }
    return {};
}

/// The sectors that hold an entry: one, but for some of FAT12.
Result<std::pair<Buf, Buf>> FatTable::sectors_of(uint32_t copy, Cluster cluster) {
    uint64_t byte = byte_of(cluster.value());
    Buf begin = TRY(sector(copy, byte));
    Buf end = geometry_.type == FatType::fat12 ? TRY(sector(copy, byte + 1)) : begin;
    return std::pair(std::move(begin), std::move(end));
}

/// An entry in two sectors is never half a cluster's number: with its first part in place of that
/// of an end mark it is above all clusters, but for a few of a FAT12 as large as can be.
Result<void> FatTable::link(Transaction& tx, Cluster last, Runs next, bool ordered) {
    for (uint32_t copy = 0; ordered && copy < geometry_.fat_count; copy++) {
        if (!geometry_.mirrored && copy != geometry_.active_fat) continue;
        auto [begin, end] = TRY(sectors_of(copy, last));
        TRY(tx.order(begin, end));
        TRY(order_before(tx, copy, next, end));
    }
    return fill(tx, {last.value(), 1}, WritePhase::inode,
                [&](uint32_t) { return next[0].first.value(); });
}

Result<void> FatTable::end_chain(Transaction& tx, Cluster last) {
    for (uint32_t copy = 0; copy < geometry_.fat_count; copy++) {
        if (!geometry_.mirrored && copy != geometry_.active_fat) continue;
        auto [begin, end] = TRY(sectors_of(copy, last));
        (void)tx.order(end, begin); // as above; what the size does not cover counts for nothing
    }
    return fill(tx, {last.value(), 1}, WritePhase::allocation,
                [&](uint32_t) { return end_mark(); });
}

Result<void> FatTable::set_free(Transaction& tx, ClusterRun run) {
    return fill(tx, {run.first.value(), run.count}, WritePhase::allocation,
                [](uint32_t) { return 0u; });
}

Result<uint32_t> FatTable::state() {
    if (geometry_.type == FatType::fat12) return UINT32_MAX;
    Cursor cursor;
    MutexGuard guard(mutex_);
    return raw(1, cursor);
}

Result<void> FatTable::set_state(Transaction& tx, uint32_t state) {
    if (geometry_.type == FatType::fat12) return {};
    return fill(tx, {1, 1}, WritePhase::allocation, [&](uint32_t) { return state; });
}

Result<uint32_t> FatTable::repair_mirrors(Transaction& tx) {
    uint32_t differ = 0;
    if (!geometry_.mirrored) return differ;
    uint64_t used = byte_of(geometry_.cluster_count + 1) + 4;
    MutexGuard guard(mutex_);
    for (uint64_t byte = 0; byte < std::min(used, geometry_.fat_size);
         byte += geometry_.sector_size) {
        auto active = sector(geometry_.active_fat, byte);
        if (!active) continue; // reading falls back on the other copies
        for (uint32_t copy = 0; copy < geometry_.fat_count; copy++) {
            if (copy == geometry_.active_fat) continue;
            auto mirror = sector(copy, byte);
            if (!mirror || std::memcmp(mirror->bytes().data(), active->bytes().data(),
                                       geometry_.sector_size) == 0)
                continue;
            auto bytes = tx.modify(*mirror, 0, geometry_.sector_size, WritePhase::allocation);
            std::memcpy(bytes.data(), active->bytes().data(), bytes.size());
            differ++;
        }
    }
    return differ;
}

} // namespace rump::msdosfs
