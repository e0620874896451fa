// Making and removing sets.
#include "kernel/fs/exfatfs/dir.h"

#include <algorithm>
#include <cstring>

namespace rump::exfatfs {

using host::MutexGuard;

namespace {

uint32_t pieces_of(const NameUnits& name) {
    return static_cast<uint32_t>((name.size + disk::units_per_entry - 1) / disk::units_per_entry);
}

/// All of a set: the file entry, the stream extension, the name, vendors' own.
uint32_t entries_for(const NameUnits& name, size_t extras) {
    return 2 + pieces_of(name) + static_cast<uint32_t>(extras);
}

} // namespace

/// After an undo nothing that was remembered is sure.
void Directory::forget_on_abort(Transaction& tx) {
    tx.on_abort([&node = node_] {
        MutexGuard guard(node.mutex());
        node.end_slot.store(UINT32_MAX, std::memory_order_relaxed);
        node.names().drop();
    });
}

Result<std::span<std::byte>> Directory::modify_slot(Transaction& tx, uint32_t number, Buf& sector) {
    auto position = TRY(node_.directory_position(uint64_t{number} * disk::entry_size));
    ASSERT(position);
    sector = TRY(volume_.sector_at(*position));
    return tx.modify(sector, *position % volume_.geometry.sector_size, disk::entry_size,
                     WritePhase::directory);
}

/// A commit writes the first two entries of a set anew, and the checksum of both is in the first: a
/// cut must not come between them, so they stand in one sector.
uint32_t Directory::aligned(uint32_t number) const {
    uint32_t per_sector = volume_.geometry.sector_size / disk::entry_size;
    return number % per_sector == per_sector - 1 ? number + 1 : number;
}

/// `count` free slots in a row within [from, to); none: there are none.
Result<std::optional<uint32_t>> Directory::free_run(uint32_t from, uint32_t to, uint32_t count) {
    Reader reader;
    uint32_t begin = aligned(from);
    for (uint32_t at = begin; at < to; at++) {
        const std::byte* bytes = TRY(slot(reader, at));
        if (!bytes) break;
        if ((bytes[0] & std::byte{disk::type_in_use}) != std::byte{0})
            begin = aligned(at + 1);
        else if (at >= begin && at - begin + 1 == count)
            return std::optional<uint32_t>{begin};
    }
    return std::optional<uint32_t>{};
}

/// The first of `count` slots for a new set: ones that are free again, or the next never used.
Result<uint32_t> Directory::free_slots(Transaction& tx, uint32_t count) {
    uint32_t end = TRY(end_slot());
    std::optional<uint32_t> room, found;
    bool have_index;
    {
        MutexGuard guard(node_.mutex());
        auto use = node_.names().get();
        have_index = static_cast<bool>(use);
        // One more than needed: the first may not be where a set can begin.
        if (have_index) room = use->find_room(count + 1);
    }
    if (have_index && room)
        found = TRY(free_run(*room * room_slots, std::min(end, (*room + 1) * room_slots), count));
    else if (!have_index)
        found = TRY(free_run(0, end, count));
    if (found) return *found;
    uint32_t first = aligned(end);
    if ((uint64_t{first} + count) * disk::entry_size > disk::directory_bytes_max)
        return Errno::nospc;
    while (!TRY(node_.directory_position((uint64_t{first} + count - 1) * disk::entry_size)))
        TRY(node_.grow_directory(tx));
    if (first == end) return first;
    // The slot that is left out must not look like the directory's end.
    Buf sector;
    TRY(modify_slot(tx, end, sector))
    [0] = std::byte{disk::type_file & static_cast<uint8_t>(~disk::type_in_use)};
    return first;
}

Result<std::optional<uint32_t>> Directory::room_beside(const Entry& old, const NameUnits& name,
                                                       size_t extras) {
    using Room = std::optional<uint32_t>;
    uint32_t per_sector = volume_.geometry.sector_size / disk::entry_size;
    uint32_t begin = old.slot - old.slot % per_sector;
    if (old.slot + old.count > begin + per_sector) return Room{};
    uint32_t count = entries_for(name, extras);
    uint32_t end = std::min(begin + per_sector, TRY(end_slot())), run = 0;
    Reader reader;
    for (uint32_t at = begin; at < end; at++) {
        const std::byte* bytes = TRY(slot(reader, at));
        bool ours = at >= old.slot && at < old.slot + old.count;
        run = ours || (*bytes & std::byte{disk::type_in_use}) == std::byte{0} ? run + 1 : 0;
        if (run == count) return Room{at + 1 - count};
    }
    return Room{};
}

Result<Directory::Made> Directory::insert(Transaction& tx, const NameUnits& name, SetHead head,
                                          std::span<const disk::Entry> extras, const Place& place) {
    uint32_t count = entries_for(name, extras.size());
    uint32_t pieces = pieces_of(name);
    if (count > 256) return Errno::nospc;
    forget_on_abort(tx);
    uint32_t end = TRY(end_slot());
    uint32_t first = place.first ? *place.first : TRY(free_slots(tx, count));

    head.file.type = disk::type_file;
    head.file.secondaries = static_cast<uint8_t>(count - 1);
    head.stream.type = disk::type_stream;
    head.stream.name_length = static_cast<uint8_t>(name.size);
    head.stream.name_hash = name_hash(name.view(), volume_.upcase);
    std::vector<disk::Entry> entries(count);
    std::memcpy(&entries[1], &head.stream, disk::entry_size);
    for (uint32_t piece = 0; piece < pieces; piece++) {
        auto& out = reinterpret_cast<disk::NameEntry&>(entries[2 + piece]);
        out = {};
        out.type = disk::type_name;
        for (size_t i = 0; i < disk::units_per_entry; i++) {
            size_t at = piece * disk::units_per_entry + i;
            out.units[i] = at < name.size ? static_cast<uint16_t>(name.units[at]) : 0;
        }
    }
    std::copy(extras.begin(), extras.end(), entries.begin() + 2 + pieces);
    std::memcpy(&entries[0], &head.file, disk::entry_size);
    SetChecksum sum;
    for (const disk::Entry& entry : entries) sum.add(std::as_bytes(std::span(&entry, 1)));
    head.file.checksum = sum.value();
    std::memcpy(&entries[0], &head.file, disk::entry_size);

    Made made;
    for (uint32_t i = 0; i < count; i++) {
        Buf sector;
        auto bytes = TRY(modify_slot(tx, first + i, sector));
        std::memcpy(bytes.data(), &entries[i], disk::entry_size);
        if (i == 0) {
            made.sector = sector;
            if (place.then) TRY(tx.order(sector, *place.then));
            continue;
        }
        // A cut before the first entry leaves secondaries of nothing, one before the others a set
        // that is no set.
        (void)tx.order(sector, made.sector);
    }
    made.place = TRY(place_of(first, count));
    uint64_t unit = volume_.geometry.cluster_at(made.place[0].position).value();
    made.never_used = first >= end && !volume_.numbers.recycled(unit);
    if (first + count > end) {
        node_.end_slot.store(first + count, std::memory_order_relaxed);
        Reader reader;
        const std::byte* behind = TRY(slot(reader, first + count));
        if (behind && *behind != std::byte{disk::type_end}) {
            Buf sector;
            TRY(modify_slot(tx, first + count, sector))[0] = std::byte{disk::type_end};
        }
    }
    Entry entry;
    entry.slot = first;
    entry.name = name;
    index_entry(entry, true);
    TRY(update_rooms(first, first + count));
    return made;
}

Result<void> Directory::erase(Transaction& tx, const Entry& entry) {
    forget_on_abort(tx);
    for (uint32_t i = 0; i < entry.count; i++) {
        Buf sector;
        auto bytes = TRY(modify_slot(tx, entry.slot + i, sector));
        bytes[0] &= ~std::byte{disk::type_in_use};
    }
    index_entry(entry, false);
    return update_rooms(entry.slot, entry.slot + entry.count);
}

} // namespace rump::exfatfs
