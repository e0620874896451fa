// Entries of the file allocation table, and bits of the allocation bitmap.
#include "kernel/fs/exfatfs/fat.h"

#include "kernel/vfs/buffer_cache.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <memory>
#include <optional>

namespace rump::exfatfs {

using host::MutexGuard;

Result<Buf> FatTable::sector(uint32_t number) {
    uint64_t byte = uint64_t{number} * sizeof(le32);
    return mount_.buffers().read(geometry_.fat_offset + byte - byte % geometry_.sector_size,
                                 geometry_.sector_size);
}

Result<FatEntry> FatTable::get(Cluster cluster, Cursor& cursor) {
    MutexGuard guard(mutex_);
    uint64_t byte = uint64_t{cluster.value()} * sizeof(le32);
    uint64_t inside = byte % geometry_.sector_size;
    if (!cursor.buf || cursor.buf.offset() != geometry_.fat_offset + byte - inside) {
        auto read = sector(cluster.value());
        if (!read)
            return mount_.io_error(fmt::format("file allocation table, byte {}", byte),
                                   read.error());
        cursor.buf = read.release_value();
    }
    uint32_t raw = cursor.buf.as<le32>(inside);
    FatEntry entry;
    if (geometry_.is_cluster(raw))
        entry.kind = FatEntry::Kind::next, entry.next = Cluster(raw);
    else if (raw == disk::fat_end)
        entry.kind = FatEntry::Kind::end;
    else if (raw == disk::fat_bad)
        entry.kind = FatEntry::Kind::bad;
    else
        entry.kind = FatEntry::Kind::outside;
    return entry;
}

Result<void> FatTable::set(Transaction& tx, uint32_t number, uint32_t value, WritePhase phase) {
    MutexGuard guard(mutex_);
    Buf buf = TRY(sector(number));
    tx.modify_as<le32>(buf, uint64_t{number} * sizeof(le32) % geometry_.sector_size, phase) = value;
    return {};
}

Result<void> FatTable::make_chain(Transaction& tx, Runs runs) {
    uint32_t per_sector = geometry_.sector_size / sizeof(le32);
    MutexGuard guard(mutex_);
    Buf at;
    for (size_t i = 0; i < runs.size(); i++) {
        ClusterRun run = runs[i];
        uint32_t behind = i + 1 < runs.size() ? runs[i + 1].first.value() : disk::fat_end;
        for (uint32_t number = run.first.value(); number < run.end();) {
            uint32_t index = number % per_sector;
            uint32_t here = std::min(per_sector - index, run.end() - number);
            uint64_t offset = geometry_.fat_offset + uint64_t{number - index} * sizeof(le32);
            if (!at || at.offset() != offset) at = TRY(sector(number));
            auto bytes =
                tx.modify(at, index * sizeof(le32), here * sizeof(le32), WritePhase::allocation);
            for (uint32_t n = 0; n < here; n++, number++)
                *reinterpret_cast<le32*>(&bytes[n * sizeof(le32)]) =
                    number + 1 == run.end() ? behind : number + 1;
        }
    }
    return {};
}

Result<void> FatTable::link(Transaction& tx, Cluster last, Runs next, bool ordered) {
    Buf from = TRY(sector(last.value()));
    uint32_t per_sector = geometry_.sector_size / sizeof(le32);
    std::optional<uint32_t> ordered_last;
    for (ClusterRun run : ordered ? next : Runs())
        for (uint32_t number = run.first.value(); number < run.end();
             number += per_sector - number % per_sector) {
            if (ordered_last == number / per_sector) continue;
            ordered_last = number / per_sector;
            Buf first = TRY(sector(number));
            TRY(tx.order(first, from));
        }
    return set(tx, last.value(), next[0].first.value(), WritePhase::inode);
}

Result<void> FatTable::end_chain(Transaction& tx, Cluster last) {
    return set(tx, last.value(), disk::fat_end, WritePhase::allocation);
}

// --- bitmap -------------------------------------------------------------------------------------

uint64_t Bitmap::offset_of(uint64_t byte) const {
    for (ClusterRun run : runs_) {
        uint64_t length = uint64_t{run.count} << geometry_.cluster_shift;
        if (byte < length) return geometry_.offset_of(run.first) + byte;
        byte -= length;
    }
    ASSERT(false);
    return 0;
}

/// An undo gives bytes back as they were, so bits that belong to others, and may have changed
/// since, are carried over it.
Result<void> Bitmap::mark_byte(Transaction& tx, Buf& buf, size_t at, uint8_t mask, bool used) {
    auto* byte = const_cast<std::byte*>(buf.bytes().data()) + at;
    std::byte ours{mask};
    auto neighbours = std::make_shared<std::byte>();
    if (mask != 0xff) tx.on_abort([=] { *byte = (*byte & ours) | (*neighbours & ~ours); });
    std::byte& target = tx.modify(buf, at, 1, WritePhase::allocation)[0];
    target = used ? target | ours : target & ~ours;
    if (mask != 0xff) tx.on_abort([=] { *neighbours = *byte; });
    return {};
}

Result<void> Bitmap::mark(Transaction& tx, ClusterRun run, bool used) {
    uint32_t size = geometry_.sector_size;
    uint64_t bit = run.first.value() - first_cluster, end = bit + run.count;
    MutexGuard guard(mutex_);
    while (bit < end) {
        uint64_t offset = offset_of(bit / 8);
        size_t at = offset % size;
        Buf buf = TRY(mount_.buffers().read(offset - at, size));
        uint64_t sector_end = std::min(end, (bit / 8 + size - at) * 8);
        if (bit % 8 == 0 && sector_end - bit >= 8) {
            size_t bytes = (sector_end - bit) / 8;
            auto span = tx.modify(buf, at, bytes, WritePhase::allocation);
            std::memset(span.data(), used ? 0xff : 0, bytes);
            bit += bytes * 8;
            continue;
        }
        uint64_t stop = std::min(sector_end, bit / 8 * 8 + 8);
        auto mask =
            static_cast<uint8_t>((0xffu << bit % 8) & (0xffu >> (8 - (stop - bit / 8 * 8))));
        TRY(mark_byte(tx, buf, at, mask, used));
        bit = stop;
    }
    return {};
}

Result<void> Bitmap::read_used(ClusterRun run, std::span<uint64_t> used) {
    auto out = std::as_writable_bytes(used).first((run.count + 7) / 8);
    uint32_t size = geometry_.sector_size;
    uint64_t byte = (run.first.value() - first_cluster) / 8;
    for (size_t done = 0; done < out.size();) {
        uint64_t offset = offset_of(byte + done);
        size_t at = offset % size;
        auto buf = mount_.buffers().read(offset - at, size);
        if (!buf)
            return mount_.io_error(fmt::format("allocation bitmap, byte {}", byte + done),
                                   buf.error());
        size_t length = std::min<size_t>(size - at, out.size() - done);
        MutexGuard guard(mutex_);
        std::memcpy(out.data() + done, buf->bytes().data() + at, length);
        done += length;
    }
    for (uint64_t& word : used) word = std::bit_cast<le64>(word); // whatever the host's order
    return {};
}

} // namespace rump::exfatfs
