// Finding and listing entries.
#include "kernel/fs/msdosfs/dir.h"

#include "kernel/vfs/utf16.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

namespace rump::msdosfs {

ShortName Entry::short_name() const {
    ShortName name;
    std::copy_n(raw.name, name.size(), name.begin());
    return name;
}

Result<void> show_name(const Entry& entry, const NameRules& rules, std::string& out) {
    out.clear();
    if (entry.long_name.size > 0) {
        vfs::append_utf8(entry.long_name.view(), out);
        if (clusters::usable_in_paths(out)) return {};
        out.clear();
    }
    NameUnits shown;
    show_short_name(entry.short_name(), entry.raw.case_bits, rules, shown);
    vfs::append_utf8(shown.view(), out);
    return clusters::usable_in_paths(out) ? Result<void>() : Errno::uclean;
}

/// The next short entry of any kind, with its long name.
Result<bool> Directory::next_any(Reader& reader, uint32_t number, Entry& out) {
    const std::byte* bytes = TRY(next_slot(reader, number, [](const std::byte* slot) {
        return slot[0] == std::byte{disk::name_deleted} ||
               is_long(*reinterpret_cast<const disk::DirEntry*>(slot));
    }));
    if (!bytes) return false;
    out.slot = out.first_slot = number;
    out.position = reader.position;
    std::memcpy(&out.raw, bytes, sizeof out.raw);
    out.long_name.size = 0;
    if (!out.is_label() && !out.is_dot()) TRY(assemble(reader, out));
    return true;
}

Result<bool> Directory::next_file(Reader& reader, uint32_t number, Entry& out) {
    for (;; number = out.slot + 1) {
        if (!TRY(next_any(reader, number, out))) return false;
        if (!out.is_label() && !out.is_dot() && !volume_.space.twins.hides(out.position))
            return true;
    }
}

/// Long pieces that belong to no entry are free.
Result<Directory::SlotRange> Directory::next_used(Reader& reader, uint32_t from) {
    Entry entry;
    if (!TRY(next_any(reader, from, entry))) return SlotRange{};
    return SlotRange{entry.first_slot, entry.slot + 1};
}

/// Collects the pieces before an entry: order 1 next to it, and up; the one with the mark is the
/// last.
Result<void> Directory::assemble(Reader& reader, Entry& out) {
    uint8_t checksum = 0;
    for (uint32_t order = 1; order <= disk::long_entries_max && order <= out.slot; order++) {
        const std::byte* bytes = TRY(slot(reader, out.slot - order));
        if (!bytes) return {};
        const auto& piece = *reinterpret_cast<const disk::LongEntry*>(bytes);
        bool last = piece.order & disk::long_last;
        if (bytes[0] == std::byte{disk::name_deleted} ||
            (piece.order & ~disk::long_last) != order ||
            (piece.attributes & disk::attr_long_mask) != disk::attr_long_name)
            return {};
        if (order == 1) checksum = short_name_checksum(out.short_name());
        if (piece.checksum != checksum) return {};
        size_t at = size_t{order - 1} * disk::long_units_per_entry;
        decode_long_entry(piece, std::span<char16_t, disk::long_units_per_entry>(
                                     out.long_name.units.data() + at, disk::long_units_per_entry));
        if (!last) continue;
        std::u16string_view all(out.long_name.units.data(), at + disk::long_units_per_entry);
        size_t size = std::min(all.find(u'\0'), all.size());
        if (size == 0 || size > clusters::name_units_max) return {};
        out.long_name.size = size;
        out.first_slot = out.slot - order;
        return {};
    }
    return {};
}

Result<bool> Directory::next(uint32_t number, Entry& out) {
    Reader reader;
    return next_file(reader, number, out);
}

Result<void> Directory::at(uint32_t slot, Entry& out) {
    Reader reader;
    if (!TRY(next_any(reader, slot, out)) || out.slot != slot) return Errno::noent;
    return {};
}

Result<bool> Directory::label(Entry& out) {
    Reader reader;
    for (uint32_t number = 0;; number = out.slot + 1) {
        if (!TRY(next_any(reader, number, out))) return false;
        if (out.is_label() && !out.is_directory()) return true;
    }
}

void Directory::fold_names(const Entry& entry, NameUnits& long_name, NameUnits& short_name) const {
    const NameRules& rules = volume_.names;
    long_name.size = 0;
    if (entry.long_name.size > 0) fold(entry.long_name.view(), rules.upcase, long_name);
    show_short_name(entry.short_name(), entry.raw.case_bits, rules, short_name);
    fold(short_name.view(), rules.upcase, short_name);
}

bool Directory::matches(const Entry& entry, std::u16string_view folded) const {
    NameUnits long_name, short_name;
    fold_names(entry, long_name, short_name);
    return (long_name.size > 0 && long_name.view() == folded) || short_name.view() == folded;
}

void Directory::each_hash(const Entry& entry, FunctionRef<void(uint32_t)> give) const {
    NameUnits long_name, short_name;
    fold_names(entry, long_name, short_name);
    if (long_name.size > 0) give(hash_folded(long_name.view()));
    if (long_name.size == 0 || short_name.view() != long_name.view())
        give(hash_folded(short_name.view()));
}

Result<bool> Directory::find(std::u16string_view folded, Entry& out) {
    return find_entry(
        hash_folded(folded), out,
        [&](Reader& reader, uint32_t slot, Entry& entry) { return next_file(reader, slot, entry); },
        [&](const Entry& entry) { return matches(entry, folded); },
        [&](const Entry& entry, FunctionRef<void(uint32_t)> give) { each_hash(entry, give); });
}

void Directory::index_entry(const Entry& entry, bool add) {
    each_hash(entry, [&](uint32_t hash) { change_index({hash, entry.slot}, add); });
}

// --- changes ------------------------------------------------------------------------------------

Result<ShortName> Directory::free_short_name(const Shortened& basis, std::u16string_view name) {
    // Nine plain numbers, then enough hashed ones to get past any directory that is not made for
    // it.
    constexpr uint32_t tries = 9 + 9 * 512;
    const NameRules& rules = volume_.names;
    Entry taken;
    NameUnits folded;
    for (uint32_t candidate = 0; candidate < tries; candidate++) {
        ShortName made = numbered_short_name(basis, name, candidate);
        show_short_name(made, 0, rules, folded);
        fold(folded.view(), rules.upcase, folded);
        if (!TRY(find(folded.view(), taken))) return made;
    }
    return Errno::nospc;
}

Result<std::optional<uint32_t>> Directory::room_beside(const Entry& old, const NameUnits& name) {
    bool needs_long = shorten(name.view(), volume_.names).needs_long;
    uint32_t count = 1 + (needs_long ? long_entries_for(name.size) : 0);
    return SlotDirectory::room_beside({old.first_slot, old.slot + 1}, count);
}

Result<Directory::Made> Directory::insert(Transaction& tx, const NameUnits& name,
                                          disk::DirEntry entry, const Place& place) {
    Shortened shortened = shorten(name.view(), volume_.names);
    if (!shortened.fits) shortened.name = TRY(free_short_name(shortened, name.view()));
    uint32_t pieces = shortened.needs_long ? long_entries_for(name.size) : 0;
    forget_on_abort(tx);
    uint32_t first = place.first ? *place.first : TRY(free_slots(tx, pieces + 1));
    uint32_t end = TRY(end_slot());

    // A slot that is left out must not look like the directory's end.
    for (uint32_t skipped = end; skipped < first; skipped++) {
        Buf sector;
        TRY(modify_slot(tx, skipped, sector))[0] = std::byte{disk::name_deleted};
    }
    Entry made;
    made.first_slot = first;
    made.slot = first + pieces;
    made.raw = entry;
    std::copy(shortened.name.begin(), shortened.name.end(), made.raw.name);
    made.raw.case_bits = shortened.case_bits;
    Made result;
    auto short_bytes = TRY(modify_slot(tx, made.slot, result.sector));
    std::memcpy(short_bytes.data(), &made.raw, disk::dirent_size);
    // Before the pieces ask for an order: this one is what no file may be lost by.
    if (place.then) TRY(tx.order(result.sector, *place.then));
    uint8_t checksum = short_name_checksum(shortened.name);
    for (uint32_t order = 1; order <= pieces; order++) {
        Buf sector;
        auto bytes = TRY(modify_slot(tx, made.slot - order, sector));
        encode_long_entry(name.view(), order, checksum,
                          *reinterpret_cast<disk::LongEntry*>(bytes.data()));
        // A cut between the two leaves pieces that belong to nothing, which everybody skips. Should
        // the epoch want the opposite order, it leaves the file under its short name, and under
        // its old one.
        (void)tx.order(sector, result.sector);
        if (place.then) TRY(tx.order(sector, *place.then));
    }
    auto position = TRY(node_.directory_position(uint64_t{made.slot} * disk::dirent_size));
    result.position = made.position = *position;
    result.entry = made.raw;
    result.never_used =
        made.slot >= end && !volume_.space.numbers.recycled(volume_.unit_of(*position));

    TRY(move_end(tx, made.slot + 1));
    if (pieces > 0) made.long_name = name;
    Result<void> ordered;
    each_hash(made, [&](uint32_t hash) {
        if (ordered) ordered = order_behind_gone(tx, hash, result.sector);
    });
    TRY(std::move(ordered));
    index_entry(made, true);
    TRY(update_rooms({made.first_slot, made.slot + 1}));
    return result;
}

Result<void> Directory::erase(Transaction& tx, const Entry& entry) {
    forget_on_abort(tx);
    Buf last;
    for (uint32_t number = entry.slot + 1; number-- > entry.first_slot;) {
        Buf sector;
        TRY(modify_slot(tx, number, sector))[0] = std::byte{disk::name_deleted};
        // Pieces that belong to nothing are better than an entry without its long name.
        if (number == entry.slot)
            last = sector;
        else
            (void)tx.order(last, sector);
    }
    index_entry(entry, false);
    return update_rooms({entry.first_slot, entry.slot + 1});
}

void Directory::note_gone(const Entry& entry, const Buf& sector) {
    each_hash(entry, [&](uint32_t hash) { SlotDirectory::note_gone(hash, sector); });
}

} // namespace rump::msdosfs
