// Finding and listing sets, and the index of big directories.
#include "kernel/fs/exfatfs/dir.h"

#include "kernel/kern/kernel.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

namespace rump::exfatfs {

namespace {

/// What a cut leaves of a set that took more than a sector when its file was removed or renamed.
constexpr const char* torn_set = "a set with too few secondary entries";

constexpr bool in_use(std::byte type) {
    return (type & std::byte{disk::type_in_use}) != std::byte{0};
}

} // namespace

Result<Directory::SlotRange> Directory::next_used(Reader& reader, uint32_t from) {
    const std::byte* bytes =
        TRY(next_slot(reader, from, [](const std::byte* slot) { return !in_use(slot[0]); }));
    return bytes ? SlotRange{from, from + 1} : SlotRange{};
}

Result<bool> Directory::next(Reader& reader, uint32_t number, Entry& out) {
    for (;; number++) {
        const std::byte* bytes = TRY(next_slot(reader, number, [](const std::byte* slot) {
            constexpr std::byte secondary{disk::type_secondary};
            return !in_use(slot[0]) || (slot[0] & secondary) != std::byte{0};
        }));
        if (!bytes) return false;
        auto type = static_cast<uint8_t>(bytes[0]);
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
            if (why == torn_set && volume_.space.was_cut) continue;
            (void)volume_.mount.corrupt(fmt::format("{}, slot {}: {}", node_.label(), number, why));
            continue;
        }
        if (volume_.space.twins.hides(out.position)) continue;
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
        if ((type & secondary) != secondary) return torn_set;
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

bool Directory::matches(const Entry& entry, std::u16string_view folded) const {
    NameUnits name;
    fold(entry.name.view(), volume_.upcase, name);
    return name.view() == folded;
}

Result<bool> Directory::find(std::u16string_view folded, Entry& out) {
    return find_entry(
        hash_folded(folded), out,
        [&](Reader& reader, uint32_t slot, Entry& entry) { return next(reader, slot, entry); },
        [&](const Entry& entry) { return matches(entry, folded); },
        [&](const Entry& entry, FunctionRef<void(uint32_t)> give) { give(hash_of(entry)); });
}

uint32_t Directory::hash_of(const Entry& entry) const {
    NameUnits name;
    fold(entry.name.view(), volume_.upcase, name);
    return hash_folded(name.view());
}

void Directory::index_entry(const Entry& entry, bool add) {
    change_index({hash_of(entry), entry.slot}, add);
}

void Directory::note_gone(const Entry& entry, const Buf& sector) {
    SlotDirectory::note_gone(hash_of(entry), sector);
}

} // namespace rump::exfatfs
