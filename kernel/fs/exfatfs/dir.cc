// Finding and listing sets, and the index of big directories.
#include "kernel/fs/exfatfs/dir.h"

#include "kernel/kern/kernel.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

namespace rump::exfatfs {

using host::MutexGuard;

namespace {

/// Directories of more slots than this get an index.
constexpr uint32_t index_worth_slots = 192;
/// So many code units always fit into a path component.
constexpr size_t units_always_shown = name_max / 3;

constexpr bool in_use(std::byte type) {
    return (type & std::byte{disk::type_in_use}) != std::byte{0};
}

} // namespace

/// The bytes of a slot; null behind the directory's last cluster.
Result<const std::byte*> Directory::slot(Reader& reader, uint32_t number) {
    if (!reader.buf || number < reader.first_slot || number >= reader.end_slot) {
        auto position = TRY(node_.directory_position(uint64_t{number} * disk::entry_size));
        if (!position) return static_cast<const std::byte*>(nullptr);
        auto sector = volume_.sector_at(*position);
        if (!sector)
            return volume_.mount.io_error(fmt::format("{}, slot {}", node_.label(), number),
                                          sector.error());
        reader.buf = sector.release_value();
        uint32_t per_sector = volume_.geometry.sector_size / disk::entry_size;
        auto inside = static_cast<uint32_t>((*position - reader.buf.offset()) / disk::entry_size);
        reader.first_slot = number - inside;
        reader.end_slot = reader.first_slot + per_sector;
        reader.base = reader.buf.offset();
    }
    uint64_t inside = uint64_t{number - reader.first_slot} * disk::entry_size;
    reader.position = reader.base + inside;
    return reader.buf.bytes().data() + inside;
}

Result<bool> Directory::next(Reader& reader, uint32_t number, Entry& out) {
    bool from_start = number <= reader.seen;
    uint32_t end = node_.end_slot.load(std::memory_order_relaxed);
    for (;; number++) {
        if (number >= end) return false;
        const std::byte* bytes = TRY(slot(reader, number));
        if (!bytes || bytes[0] == std::byte{disk::type_end}) {
            if (from_start) node_.end_slot.store(number, std::memory_order_relaxed);
            return false;
        }
        if (from_start) reader.seen = number + 1;
        auto type = static_cast<uint8_t>(bytes[0]);
        if (!in_use(bytes[0]) || (type & disk::type_secondary)) continue;
        if (type != disk::type_file) {
            bool of_root =
                type == disk::type_bitmap || type == disk::type_upcase || type == disk::type_label;
            if ((type & disk::type_benign) || (of_root && node_.is_root())) continue;
            volume_.mount.kernel().log().error(
                "{}, slot {}: an entry of type {:#04x}, which must be understood and is not known",
                node_.label(), number, type);
            return Errno::opnotsupp;
        }
        out.slot = number;
        out.position = reader.position;
        if (const char* why = TRY(assemble(reader, out))) {
            (void)volume_.mount.corrupt(fmt::format("{}, slot {}: {}", node_.label(), number, why));
            continue;
        }
        return true;
    }
}

/// Reads the rest of a set. Not null: what is wrong with it.
Result<const char*> Directory::assemble(Reader& reader, Entry& out) {
    const std::byte* bytes = TRY(slot(reader, out.slot));
    std::memcpy(&out.head.file, bytes, disk::entry_size);
    SetChecksum sum;
    sum.add({bytes, disk::entry_size});
    uint32_t secondaries = out.head.file.secondaries;
    out.count = secondaries + 1;
    out.name.size = 0;
    if (secondaries < 2) return "a set of less than three entries";
    uint32_t pieces = 0;
    for (uint32_t i = 1; i <= secondaries; i++) {
        bytes = TRY(slot(reader, out.slot + i));
        if (!bytes) return "a set that runs past the end of the directory";
        auto type = static_cast<uint8_t>(bytes[0]);
        constexpr uint8_t secondary = disk::type_in_use | disk::type_secondary;
        if ((type & secondary) != secondary) return "a set with too few secondary entries";
        sum.add({bytes, disk::entry_size});
        if (i == 1) {
            if (type != disk::type_stream) return "a set without a stream extension";
            std::memcpy(&out.head.stream, bytes, disk::entry_size);
            pieces =
                (out.head.stream.name_length + disk::units_per_entry - 1) / disk::units_per_entry;
            if (pieces == 0) return "a name of no length";
        } else if (i < 2 + pieces) {
            if (type != disk::type_name) return "a set with too few name entries";
            const auto& piece = *reinterpret_cast<const disk::NameEntry*>(bytes);
            for (const le16& unit : piece.units)
                out.name.units[out.name.size++] = static_cast<char16_t>(unit.get());
        } else if (!(type & disk::type_benign)) {
            return "a secondary entry that must be understood and is not known";
        }
    }
    if (secondaries < 1 + pieces) return "a set with too few name entries";
    out.name.size = out.head.stream.name_length;
    if (sum.value() != out.head.file.checksum) return "the checksum of a set is wrong";
    if (out.head.stream.name_hash != name_hash(out.name.view(), volume_.upcase))
        return "the hash of a name is wrong";
    if (out.head.stream.valid_length > out.head.stream.length)
        return "a valid length above the length";
    return static_cast<const char*>(nullptr);
}

Result<bool> Directory::next(uint32_t number, Entry& out) {
    Reader reader;
    return next(reader, number, out);
}

Result<bool> Directory::read_at(uint32_t number, Entry& out) {
    Reader reader;
    const std::byte* bytes = TRY(slot(reader, number));
    if (!bytes || bytes[0] != std::byte{disk::type_file}) return false;
    out.slot = number;
    out.position = reader.position;
    return !TRY(assemble(reader, out));
}

Result<bool> Directory::empty() {
    Entry entry;
    return !TRY(next(0, entry));
}

Result<SetPlace> Directory::place_of(uint32_t number, uint32_t count) {
    SetPlace place;
    for (uint32_t i = 0; i < count; i++) {
        auto at = TRY(node_.directory_position(uint64_t{number + i} * disk::entry_size));
        if (!at) return Errno::uclean;
        if (!place.empty() &&
            place.back().position + uint64_t{place.back().entries} * disk::entry_size == *at)
            place.back().entries++;
        else
            place.push_back({*at, 1});
    }
    return place;
}

Result<std::vector<disk::Entry>> Directory::extras(const Entry& entry) {
    std::vector<disk::Entry> list;
    Reader reader;
    uint32_t pieces = static_cast<uint32_t>((entry.name.size + disk::units_per_entry - 1) /
                                            disk::units_per_entry);
    for (uint32_t i = 2 + pieces; i < entry.count; i++) {
        const std::byte* bytes = TRY(slot(reader, entry.slot + i));
        if (!bytes) return Errno::uclean;
        std::memcpy(&list.emplace_back(), bytes, disk::entry_size);
    }
    return list;
}

void Directory::fold_entry(const Entry& entry, NameUnits& out) const {
    std::string shown;
    if (entry.name.size > units_always_shown && show_name(entry.name.view(), shown) &&
        fold(std::string_view(shown), volume_.upcase, out))
        return;
    fold(entry.name.view(), volume_.upcase, out);
}

bool Directory::matches(const Entry& entry, std::u16string_view folded) const {
    NameUnits name;
    fold_entry(entry, name);
    return name.view() == folded;
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
            if (!TRY(next(reader, number, out))) return false;
            if (matches(out, folded)) return true;
        }
        TRY(build_index());
        have_index = indexed(hash, slots, count);
    }
    if (have_index) {
        for (uint32_t i = 0; i < count; i++)
            if (TRY(next(reader, slots[i], out)) && out.slot == slots[i] && matches(out, folded))
                return true;
        return false;
    }
    // No memory for an index.
    for (uint32_t number = index_worth_slots;; number = out.slot + 1) {
        if (!TRY(next(reader, number, out))) return false;
        if (matches(out, folded)) return true;
    }
}

/// One pass without the node's mutex: the vnode's lock keeps changes away. Readers may do it twice.
Result<void> Directory::build_index() {
    struct Item {
        uint32_t hash;
        uint32_t slot;
    };
    std::vector<Item> items;
    Reader reader;
    Entry entry;
    NameUnits name;
    for (uint32_t number = 0; TRY(next(reader, number, entry)); number = entry.slot + 1) {
        fold_entry(entry, name);
        items.push_back({hash_folded(name.view()), entry.slot});
    }
    std::vector<uint32_t> rooms;
    uint32_t end = node_.end_slot.load(std::memory_order_relaxed);
    for (uint32_t at = 0; at < end; at += room_slots)
        rooms.push_back(TRY(longest_run(at, std::min(end, at + room_slots))));

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
    NameUnits name;
    fold_entry(entry, name);
    MutexGuard guard(node_.mutex());
    auto use = node_.names().get();
    if (!use) return;
    if (add)
        use->add(hash_folded(name.view()), entry.slot);
    else
        use->remove(hash_folded(name.view()), entry.slot);
}

/// Recounts the free runs of the rooms that slots [first, end) touch.
Result<void> Directory::update_rooms(uint32_t first, uint32_t end) {
    {
        MutexGuard guard(node_.mutex());
        if (!node_.names().get()) return {};
    }
    uint32_t used_end = node_.end_slot.load(std::memory_order_relaxed);
    for (uint32_t room = first / room_slots; room * room_slots < end; room++) {
        uint32_t best =
            TRY(longest_run(room * room_slots, std::min((room + 1) * room_slots, used_end)));
        MutexGuard guard(node_.mutex());
        if (auto use = node_.names().get()) use->set_room(room, best);
    }
    return {};
}

Result<uint32_t> Directory::longest_run(uint32_t from, uint32_t to) {
    Reader reader;
    uint32_t best = 0, run = 0;
    for (uint32_t at = from; at < to; at++) {
        const std::byte* bytes = TRY(slot(reader, at));
        if (!bytes) break;
        run = in_use(bytes[0]) ? 0 : run + 1;
        best = std::max(best, run);
    }
    return best;
}

Result<uint32_t> Directory::end_slot() {
    uint32_t known = node_.end_slot.load(std::memory_order_relaxed);
    if (known != UINT32_MAX) return known;
    Reader reader;
    for (uint32_t number = 0;; number++) {
        const std::byte* bytes = TRY(slot(reader, number));
        if (bytes && bytes[0] != std::byte{disk::type_end}) continue;
        node_.end_slot.store(number, std::memory_order_relaxed);
        return number;
    }
}

} // namespace rump::exfatfs
