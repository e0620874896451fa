// Finding and listing entries.
#include "kernel/fs/msdosfs/dir.h"

#include "kernel/vfs/utf16.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

namespace rump::msdosfs {

using host::MutexGuard;

namespace {

/// Directories of more slots than this get an index.
constexpr uint32_t index_worth_slots = 128;
constexpr uint32_t room_slots = 64;

bool is_long(const disk::DirEntry& entry) {
    return (entry.attributes & disk::attr_long_mask) == disk::attr_long_name;
}

bool usable_name(std::string_view name) {
    return !name.empty() && name.size() <= name_max && name != "." && name != ".." &&
           name.find('/') == name.npos && name.find('\0') == name.npos;
}

} // namespace

ShortName Entry::short_name() const {
    ShortName name;
    std::copy_n(raw.name, name.size(), name.begin());
    return name;
}

Result<void> show_name(const Entry& entry, const NameRules& rules, std::string& out) {
    out.clear();
    if (entry.long_name.size > 0) {
        vfs::append_utf8(entry.long_name.view(), out);
        if (usable_name(out)) return {};
        out.clear();
    }
    NameUnits shown;
    show_short_name(entry.short_name(), entry.raw.case_bits, rules, shown);
    vfs::append_utf8(shown.view(), out);
    if (!usable_name(out)) return Errno::uclean;
    return {};
}

/// The bytes of a slot; null behind the directory's last cluster.
Result<const std::byte*> Directory::slot(Reader& reader, uint32_t number) {
    if (!reader.buf || number < reader.first_slot || number >= reader.end_slot) {
        auto position = TRY(node_.directory_position(uint64_t{number} * disk::dirent_size));
        if (!position) return static_cast<const std::byte*>(nullptr);
        auto sector = volume_.sector_at(*position);
        if (!sector)
            return volume_.mount.io_error(fmt::format("{}, slot {}", node_.label(), number),
                                          sector.error());
        reader.buf = sector.release_value();
        uint32_t per_sector = volume_.geometry.sector_size / disk::dirent_size;
        auto inside = static_cast<uint32_t>((*position - reader.buf.offset()) / disk::dirent_size);
        reader.first_slot = number - inside;
        reader.end_slot = reader.first_slot + per_sector;
        reader.base = reader.buf.offset();
    }
    uint64_t inside = uint64_t{number - reader.first_slot} * disk::dirent_size;
    reader.position = reader.base + inside;
    return reader.buf.bytes().data() + inside;
}

/// The next short entry of any kind, with its long name.
Result<bool> Directory::next_any(Reader& reader, uint32_t number, Entry& out) {
    bool from_start = number <= reader.seen;
    uint32_t end = node_.end_slot.load(std::memory_order_relaxed);
    for (;; number++) {
        if (number >= end) return false;
        const std::byte* bytes = TRY(slot(reader, number));
        if (!bytes || bytes[0] == std::byte{disk::name_end}) {
            if (from_start) node_.end_slot.store(number, std::memory_order_relaxed);
            return false;
        }
        if (from_start) reader.seen = number + 1;
        if (bytes[0] == std::byte{disk::name_deleted}) continue;
        const auto& entry = *reinterpret_cast<const disk::DirEntry*>(bytes);
        if (is_long(entry)) continue;
        out.slot = out.first_slot = number;
        out.position = reader.position;
        out.raw = entry;
        out.long_name.size = 0;
        if (!out.is_label() && !out.is_dot()) TRY(assemble(reader, out));
        return true;
    }
}

/// Collects the pieces before an entry: order 1 next to it, and up; the one with the mark is the
/// last.
Result<void> Directory::assemble(Reader& reader, Entry& out) {
    uint8_t checksum = short_name_checksum(out.short_name());
    for (uint32_t order = 1; order <= disk::long_entries_max && order <= out.slot; order++) {
        const std::byte* bytes = TRY(slot(reader, out.slot - order));
        if (!bytes) return {};
        const auto& piece = *reinterpret_cast<const disk::LongEntry*>(bytes);
        bool last = piece.order & disk::long_last;
        if (bytes[0] == std::byte{disk::name_deleted} ||
            (piece.order & ~disk::long_last) != order ||
            (piece.attributes & disk::attr_long_mask) != disk::attr_long_name ||
            piece.checksum != checksum)
            return {};
        size_t at = size_t{order - 1} * disk::long_units_per_entry;
        decode_long_entry(piece, std::span<char16_t, disk::long_units_per_entry>(
                                     out.long_name.units.data() + at, disk::long_units_per_entry));
        if (!last) continue;
        std::u16string_view all(out.long_name.units.data(), at + disk::long_units_per_entry);
        size_t size = std::min(all.find(u'\0'), all.size());
        if (size == 0 || size > disk::long_name_max) return {};
        out.long_name.size = size;
        out.first_slot = out.slot - order;
        return {};
    }
    return {};
}

Result<bool> Directory::next(uint32_t number, Entry& out) {
    Reader reader;
    for (;; number = out.slot + 1) {
        if (!TRY(next_any(reader, number, out))) return false;
        if (!out.is_label() && !out.is_dot()) return true;
    }
}

Result<bool> Directory::label(Entry& out) {
    Reader reader;
    for (uint32_t number = 0;; number = out.slot + 1) {
        if (!TRY(next_any(reader, number, out))) return false;
        if (out.is_label() && !out.is_directory()) return true;
    }
}

Result<bool> Directory::empty() {
    Entry entry;
    return !TRY(next(0, entry));
}

void Directory::fold_names(const Entry& entry, NameUnits& long_name, NameUnits& short_name) const {
    const NameRules& rules = volume_.options.names;
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

/// The slots that the index names for a hash. False: there is no index, or too many to tell.
bool Directory::indexed(uint32_t hash, std::array<uint32_t, 16>& slots, uint32_t& count) {
    MutexGuard guard(node_.mutex());
    auto use = node_.names().get();
    if (!use) return false;
    count = 0;
    bool overflow = use->find(hash, [&](uint32_t slot) {
        if (count == slots.size()) return true;
        slots[count++] = slot;
        return false;
    });
    return !overflow;
}

Result<bool> Directory::find(std::u16string_view folded, Entry& out) {
    std::array<uint32_t, 16> slots;
    uint32_t count = 0;
    uint32_t hash = hash_folded(folded);
    bool have_index = indexed(hash, slots, count);
    Reader reader;
    if (!have_index) {
        for (uint32_t number = 0; number < index_worth_slots; number = out.slot + 1) {
            if (!TRY(next_any(reader, number, out))) return false;
            if (!out.is_label() && !out.is_dot() && matches(out, folded)) return true;
        }
        TRY(build_index());
        have_index = indexed(hash, slots, count);
    }
    if (have_index) {
        for (uint32_t i = 0; i < count; i++)
            if (TRY(next_any(reader, slots[i], out)) && out.slot == slots[i] &&
                matches(out, folded))
                return true;
        return false;
    }
    // No memory for an index.
    for (uint32_t number = index_worth_slots;; number = out.slot + 1) {
        if (!TRY(next_any(reader, number, out))) return false;
        if (!out.is_label() && !out.is_dot() && matches(out, folded)) return true;
    }
}

/// One pass without the node's mutex: the vnode's lock keeps changes away. Readers may do it twice.
Result<void> Directory::build_index() {
    struct Item {
        uint32_t hash;
        uint32_t slot;
    };
    std::vector<Item> items;
    std::vector<uint32_t> rooms;
    Reader reader;
    Entry entry;
    NameUnits long_name, short_name;
    uint32_t behind = 0; // slots before it are accounted for
    auto free_until = [&](uint32_t end) {
        for (uint32_t at = behind; at < end;) {
            uint32_t room = at / room_slots;
            uint32_t run = std::min(end, (room + 1) * room_slots) - at;
            if (rooms.size() <= room) rooms.resize(room + 1);
            rooms[room] = std::max(rooms[room], run);
            at += run;
        }
    };
    for (uint32_t number = 0; TRY(next_any(reader, number, entry)); number = entry.slot + 1) {
        free_until(entry.first_slot);
        behind = entry.slot + 1;
        if (entry.is_label() || entry.is_dot()) continue;
        fold_names(entry, long_name, short_name);
        if (long_name.size > 0) items.push_back({hash_folded(long_name.view()), entry.slot});
        if (long_name.size == 0 || short_name.view() != long_name.view())
            items.push_back({hash_folded(short_name.view()), entry.slot});
    }
    free_until(node_.end_slot.load(std::memory_order_relaxed));

    MutexGuard guard(node_.mutex());
    if (node_.names().get()) return {};
    node_.names().drop();
    auto use = volume_.mount.dirhashes().make(node_.names());
    if (!use) return {};
    for (const Item& item : items) use->add(item.hash, item.slot);
    for (uint32_t room = 0; room < rooms.size(); room++) use->set_room(room, rooms[room]);
    return {};
}

void Directory::index_entry(const Entry& entry, bool add) {
    NameUnits long_name, short_name;
    fold_names(entry, long_name, short_name);
    MutexGuard guard(node_.mutex());
    auto use = node_.names().get();
    if (!use) return;
    auto one = [&](const NameUnits& name) {
        if (add)
            use->add(hash_folded(name.view()), entry.slot);
        else
            use->remove(hash_folded(name.view()), entry.slot);
    };
    if (long_name.size > 0) one(long_name);
    if (long_name.size == 0 || short_name.view() != long_name.view()) one(short_name);
}

/// Recounts the free runs of the rooms that slots [first, end) touch.
Result<void> Directory::update_rooms(uint32_t first, uint32_t end) {
    {
        MutexGuard guard(node_.mutex());
        if (!node_.names().get()) return {};
    }
    Reader reader;
    uint32_t used_end = node_.end_slot.load(std::memory_order_relaxed);
    for (uint32_t room = first / room_slots; room * room_slots < end; room++) {
        uint32_t at = room * room_slots, limit = std::min(at + room_slots, used_end), best = 0;
        while (at < limit) {
            Entry entry;
            bool more = TRY(next_any(reader, at, entry));
            uint32_t stop = more ? std::min(entry.first_slot, limit) : limit;
            if (stop > at) best = std::max(best, stop - at);
            if (!more) break;
            at = entry.slot + 1;
        }
        MutexGuard guard(node_.mutex());
        if (auto use = node_.names().get()) use->set_room(room, best);
    }
    return {};
}

Result<uint32_t> Directory::end_slot() {
    uint32_t known = node_.end_slot.load(std::memory_order_relaxed);
    if (known != UINT32_MAX) return known;
    Reader reader;
    Entry entry;
    for (uint32_t number = 0; TRY(next_any(reader, number, entry));) number = entry.slot + 1;
    return node_.end_slot.load(std::memory_order_relaxed);
}

// --- changes ------------------------------------------------------------------------------------

/// After an undo nothing that was remembered is sure.
void Directory::forget_on_abort(Transaction& tx) {
    tx.on_abort([&node = node_] {
        MutexGuard guard(node.mutex());
        node.end_slot.store(UINT32_MAX, std::memory_order_relaxed);
        node.names().drop();
    });
}

Result<std::span<std::byte>> Directory::modify_slot(Transaction& tx, uint32_t number, Buf& sector) {
    auto position = TRY(node_.directory_position(uint64_t{number} * disk::dirent_size));
    ASSERT(position);
    sector = TRY(volume_.sector_at(*position));
    return tx.modify(sector, *position % volume_.geometry.sector_size, disk::dirent_size,
                     WritePhase::directory);
}

/// `count` free slots in a row within [from, to); none: there are none.
Result<std::optional<uint32_t>> Directory::free_run(uint32_t from, uint32_t to, uint32_t count) {
    Reader reader;
    for (uint32_t at = from; at + count <= to;) {
        Entry entry;
        bool more = TRY(next_any(reader, at, entry));
        uint32_t stop = more ? std::min(entry.first_slot, to) : to;
        if (stop >= at + count) return std::optional<uint32_t>{at};
        if (!more) break;
        at = entry.slot + 1;
    }
    return std::optional<uint32_t>{};
}

/// The first of `count` slots for a new entry: deleted ones, or the next that were never used.
Result<uint32_t> Directory::free_slots(Transaction& tx, uint32_t count) {
    uint32_t end = TRY(end_slot());
    std::optional<uint32_t> room;
    bool have_index;
    {
        MutexGuard guard(node_.mutex());
        auto use = node_.names().get();
        have_index = static_cast<bool>(use);
        if (have_index) room = use->find_room(count);
    }
    std::optional<uint32_t> found;
    if (have_index && room)
        found = TRY(free_run(*room * room_slots, std::min(end, (*room + 1) * room_slots), count));
    else if (!have_index)
        found = TRY(free_run(0, end, count));
    if (found) return *found;
    if (end + count > disk::directory_entries_max) return Errno::nospc;
    while (!TRY(node_.directory_position((uint64_t{end} + count - 1) * disk::dirent_size)))
        TRY(node_.grow_directory(tx));
    return end;
}

Result<ShortName> Directory::free_short_name(const Shortened& basis, const LongName& name) {
    // Nine plain numbers, then enough hashed ones to get past any directory that is not made for
    // it.
    constexpr uint32_t tries = 9 + 9 * 512;
    const NameRules& rules = volume_.options.names;
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

Result<std::optional<uint32_t>> Directory::room_beside(const Entry& old, const LongName& name) {
    using Room = std::optional<uint32_t>;
    uint32_t per_sector = volume_.geometry.sector_size / disk::dirent_size;
    uint32_t begin = old.slot - old.slot % per_sector;
    if (old.first_slot < begin) return Room{};
    bool needs_long = shorten(name, volume_.options.names).needs_long;
    uint32_t count = 1 + (needs_long ? long_entries_for(name.units.size()) : 0);
    uint32_t end = std::min(begin + per_sector, TRY(end_slot())), run = 0;
    Reader reader;
    for (uint32_t at = begin; at < end; at++) {
        const std::byte* bytes = TRY(slot(reader, at));
        bool ours = at >= old.first_slot && at <= old.slot;
        run = ours || *bytes == std::byte{disk::name_deleted} ? run + 1 : 0;
        if (run == count) return Room{at + 1 - count};
    }
    return Room{};
}

Result<Directory::Made> Directory::insert(Transaction& tx, const LongName& name,
                                          disk::DirEntry entry, const Place& place) {
    Shortened shortened = shorten(name, volume_.options.names);
    if (!shortened.fits) shortened.name = TRY(free_short_name(shortened, name));
    uint32_t pieces = shortened.needs_long ? long_entries_for(name.units.size()) : 0;
    forget_on_abort(tx);
    uint32_t first = place.first ? *place.first : TRY(free_slots(tx, pieces + 1));
    uint32_t end = TRY(end_slot());

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
        encode_long_entry(name.units, order, checksum,
                          *reinterpret_cast<disk::LongEntry*>(bytes.data()));
        // A cut between the two leaves pieces that belong to nothing, which everybody skips. Should
        // the epoch want the opposite order, it leaves the file under its short name.
        (void)tx.order(sector, result.sector);
    }
    auto position = TRY(node_.directory_position(uint64_t{made.slot} * disk::dirent_size));
    result.position = made.position = *position;
    result.never_used = made.slot >= end && !volume_.numbers.recycled(volume_.unit_of(*position));

    if (made.slot >= end) {
        // What is behind the old end may be anything: the specification asks for one end mark only.
        node_.end_slot.store(made.slot + 1, std::memory_order_relaxed);
        Reader reader;
        const std::byte* behind = TRY(slot(reader, made.slot + 1));
        if (behind && *behind != std::byte{disk::name_end}) {
            Buf sector;
            TRY(modify_slot(tx, made.slot + 1, sector))[0] = std::byte{disk::name_end};
        }
    }
    if (pieces > 0) {
        std::copy(name.units.begin(), name.units.end(), made.long_name.units.begin());
        made.long_name.size = name.units.size();
    }
    index_entry(made, true);
    TRY(update_rooms(made.first_slot, made.slot + 1));
    return result;
}

Result<void> Directory::erase(Transaction& tx, const Entry& entry) {
    forget_on_abort(tx);
    for (uint32_t number = entry.slot + 1; number-- > entry.first_slot;) {
        Buf sector;
        TRY(modify_slot(tx, number, sector))[0] = std::byte{disk::name_deleted};
    }
    index_entry(entry, false);
    return update_rooms(entry.first_slot, entry.slot + 1);
}

} // namespace rump::msdosfs
