// Making and removing sets.
#include "kernel/fs/exfatfs/dir.h"
#include "kernel/sys/rounding.h"

#include <algorithm>
#include <cstring>

namespace rump::exfatfs {

namespace {

uint32_t pieces_of(const NameUnits& name) {
    return static_cast<uint32_t>(howmany(name.size, disk::units_per_entry));
}

/// All of a set: the file entry, the stream extension, the name, vendors' own.
uint32_t entries_for(const NameUnits& name, size_t extras) {
    return 2 + pieces_of(name) + static_cast<uint32_t>(extras);
}

} // namespace

/// A commit writes the first two entries of a set anew, and the checksum of both is in the first: a
/// cut must not come between them, so they stand in one sector.
uint32_t Directory::aligned(uint32_t number) const {
    uint32_t per_sector = volume_.geometry.sector_size / disk::entry_size;
    return number % per_sector == per_sector - 1 ? number + 1 : number;
}

Result<std::optional<uint32_t>> Directory::room_beside(const Entry& old, const NameUnits& name,
                                                       size_t extras) {
    return SlotDirectory::room_beside({old.slot, old.slot + old.count}, entries_for(name, extras));
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

    // A slot that is left out must not look like the directory's end.
    for (uint32_t skipped = end; skipped < first; skipped++) {
        Buf sector;
        TRY(modify_slot(tx, skipped, sector))
        [0] = std::byte{disk::type_file & static_cast<uint8_t>(~disk::type_in_use)};
    }
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
        // A cut before the first entry leaves secondaries of nothing. Should the epoch want the
        // opposite order, it leaves a set that is no set, and the old one.
        (void)tx.order(sector, made.sector);
        if (place.then) TRY(tx.order(sector, *place.then));
    }
    made.place = TRY(place_of(first, count));
    uint64_t unit = volume_.geometry.cluster_at(made.place[0].position).value();
    made.never_used = first >= end && !volume_.space.numbers.recycled(unit);
    TRY(move_end(tx, first + count));
    Entry entry;
    entry.slot = first;
    entry.name = name;
    TRY(order_behind_gone(tx, hash_of(entry), made.sector));
    index_entry(entry, true);
    TRY(update_rooms({first, first + count}));
    return made;
}

Result<void> Directory::erase(Transaction& tx, const Entry& entry) {
    forget_on_abort(tx);
    Buf first;
    for (uint32_t i = 0; i < entry.count; i++) {
        Buf sector;
        auto bytes = TRY(modify_slot(tx, entry.slot + i, sector));
        bytes[0] &= ~std::byte{disk::type_in_use};
        // Secondaries of nothing are better than a set that lacks some.
        if (i == 0)
            first = sector;
        else
            (void)tx.order(first, sector);
    }
    index_entry(entry, false);
    return update_rooms({entry.slot, entry.slot + entry.count});
}

} // namespace rump::exfatfs
