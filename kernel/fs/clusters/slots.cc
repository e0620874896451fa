// Slots of directories: reading, changing, finding room.
#include "kernel/fs/clusters/slots.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>

namespace rump::clusters {

using host::MutexGuard;

Result<const std::byte*> SlotDirectory::slot(Reader& reader, uint32_t number) {
    // An entry's pieces may stand before it: looking back must not read twice.
    if (number == reader.before_slot) return reader.before.data();
    if (number < reader.first_slot || number >= reader.end_slot) {
        Space& space = file_.space();
        reader.before_slot = UINT32_MAX;
        if (number != 0 && number == reader.end_slot) {
            std::memcpy(reader.before.data(), &reader.bytes[reader.bytes.size() - slot_size],
                        slot_size);
            reader.before_slot = number - 1;
        }
        reader.end_slot = 0;
        auto position = TRY(file_.directory_position(uint64_t{number} * slot_size));
        if (!position) return static_cast<const std::byte*>(nullptr);
        auto sector = space.sector_at(*position);
        if (!sector)
            return space.mount.io_error(fmt::format("{}, slot {}", file_.label(), number),
                                        sector.error());
        uint64_t inside = *position % reader.bytes.size();
        reader.base = *position - inside;
        reader.first_slot = number - static_cast<uint32_t>(inside / slot_size);
        reader.end_slot = reader.first_slot + reader.bytes.size() / slot_size;
        host::SharedGuard guard(space.entries);
        std::memcpy(reader.bytes.data(), sector->bytes().data() + (reader.base - sector->offset()),
                    reader.bytes.size());
    }
    uint64_t inside = uint64_t{number - reader.first_slot} * slot_size;
    reader.position = reader.base + inside;
    return reader.bytes.data() + inside;
}

Result<const std::byte*> SlotDirectory::next_slot(Reader& reader, uint32_t& number,
                                                  FunctionRef<bool(const std::byte*)> skip) {
    bool from_start = number <= reader.seen;
    uint32_t end = file_.end_slot.load(std::memory_order_relaxed);
    for (; number < end; number++) {
        const std::byte* bytes = TRY(slot(reader, number));
        if (!bytes || bytes[0] == std::byte{0}) {
            if (from_start) file_.end_slot.store(number, std::memory_order_relaxed);
            break;
        }
        if (from_start) reader.seen = number + 1;
        if (!skip(bytes)) return bytes;
    }
    return static_cast<const std::byte*>(nullptr);
}

Result<std::span<std::byte>> SlotDirectory::modify_slot(Transaction& tx, uint32_t number,
                                                        Buf& sector) {
    auto position = TRY(file_.directory_position(uint64_t{number} * slot_size));
    ASSERT(position);
    sector = TRY(file_.space().sector_at(*position));
    return tx.modify(sector, *position % file_.space().heap.sector_size, slot_size,
                     WritePhase::directory);
}

Result<uint32_t> SlotDirectory::end_slot() {
    uint32_t known = file_.end_slot.load(std::memory_order_relaxed);
    if (known != UINT32_MAX) return known;
    Reader reader;
    uint32_t number = 0;
    TRY(next_slot(reader, number, [](const std::byte*) { return true; }));
    return number;
}

Result<void> SlotDirectory::move_end(Transaction& tx, uint32_t end) {
    if (end <= TRY(end_slot())) return {};
    // What is behind the old end may be anything: the formats ask for one end mark only.
    file_.end_slot.store(end, std::memory_order_relaxed);
    Reader reader;
    const std::byte* behind = TRY(slot(reader, end));
    if (!behind || *behind == std::byte{0}) return {};
    Buf sector;
    TRY(modify_slot(tx, end, sector))[0] = std::byte{0};
    return {};
}

void SlotDirectory::forget_on_abort(Transaction& tx) {
    tx.on_abort([&file = file_] {
        MutexGuard guard(file.mutex());
        file.end_slot.store(UINT32_MAX, std::memory_order_relaxed);
        file.names().drop();
    });
}

void SlotDirectory::note_gone(uint32_t hash, const Buf& sector) {
    uint64_t epoch = file_.space().frees.epoch();
    if (std::exchange(file_.gone_in, epoch) != epoch) file_.gone.clear();
    file_.gone.emplace(hash, sector.offset());
}

Result<void> SlotDirectory::order_behind_gone(Transaction& tx, uint32_t hash, Buf& sector) {
    if (file_.gone.empty() || file_.gone_in != file_.space().frees.epoch()) return {};
    auto [begin, end] = file_.gone.equal_range(hash);
    for (auto at = begin; at != end; ++at) {
        if (at->second == sector.offset()) continue;
        Buf old = TRY(file_.space().sector_at(at->second));
        TRY(tx.order(old, sector));
    }
    return {};
}

// --- room ---------------------------------------------------------------------------------------

/// Where `count` slots may begin, at or behind `from`.
uint32_t SlotDirectory::placed(uint32_t from, uint32_t count, Across across) const {
    uint32_t inside = from % per_sector();
    if (across == Across::one_sector && count <= per_sector() && inside + count > per_sector())
        return from - inside + per_sector();
    return aligned(from);
}

/// `count` free slots in a row within [from, to); none: there are none.
Result<std::optional<uint32_t>> SlotDirectory::free_run(uint32_t from, uint32_t to, uint32_t count,
                                                        Across across) {
    Reader reader;
    for (uint32_t at = from; at < to;) {
        SlotRange used = TRY(next_used(reader, at));
        uint32_t stop = used.first < used.end ? std::min(used.first, to) : to;
        uint32_t first = placed(at, count, across);
        if (first + count <= stop) return std::optional<uint32_t>{first};
        if (used.first == used.end) break;
        at = used.end;
    }
    return std::optional<uint32_t>{};
}

/// The most slots that an entry may have to find a place there.
Result<uint32_t> SlotDirectory::longest_run(uint32_t from, uint32_t to) {
    Reader reader;
    uint32_t best = 0;
    for (uint32_t at = from; at < to;) {
        SlotRange used = TRY(next_used(reader, at));
        uint32_t stop = used.first < used.end ? std::min(used.first, to) : to;
        if (stop > at + per_sector()) best = std::max(best, stop - at);
        for (; at < stop; at += per_sector() - at % per_sector())
            best = std::max(best, std::min(stop - at, per_sector() - at % per_sector()));
        if (used.first == used.end) break;
        at = used.end;
    }
    return best;
}

Result<uint32_t> SlotDirectory::append_slots(Transaction& tx, uint32_t end, uint32_t count,
                                             Across across) {
    uint32_t first = placed(end, count, across);
    if (first + count > slots_max_) return Errno::nospc;
    while (!TRY(file_.directory_position((uint64_t{first} + count - 1) * slot_size)))
        TRY(file_.grow_directory(tx));
    return first;
}

Result<uint32_t> SlotDirectory::free_slots(Transaction& tx, uint32_t count) {
    uint32_t end = TRY(end_slot());
    std::optional<uint32_t> room, found;
    bool have_index;
    {
        MutexGuard guard(file_.mutex());
        auto use = file_.names().get();
        have_index = static_cast<bool>(use);
        // One more than needed where the first may not be one to begin in.
        if (have_index)
            room = use->find_room(
                count + (count > per_sector() && aligned(room_slots - 1) != room_slots - 1));
    }
    if (have_index && room) {
        uint32_t from = *room * room_slots, to = std::min(end, from + room_slots);
        found = TRY(free_run(from, to, count, Across::one_sector));
        if (!found) found = TRY(free_run(from, to, count, Across::any));
    } else if (!have_index) {
        found = TRY(free_run(0, end, count, Across::one_sector));
    }
    if (found) return *found;
    auto appended = append_slots(tx, end, count, Across::one_sector);
    if (appended || appended.error() != Errno::nospc) return appended;
    found = TRY(free_run(0, end, count, Across::any));
    if (found) return *found;
    return append_slots(tx, end, count, Across::any);
}

Result<std::optional<uint32_t>> SlotDirectory::room_beside(SlotRange old, uint32_t count) {
    using Room = std::optional<uint32_t>;
    uint32_t begin = old.first - old.first % per_sector();
    if (old.end > begin + per_sector()) return Room{};
    uint32_t end = std::min(begin + per_sector(), TRY(end_slot()));
    Reader reader;
    uint32_t run = 0, counted = begin;
    // Between the slots in use, of which the old entry's are as good as free.
    while (counted < end) {
        SlotRange used = TRY(next_used(reader, counted));
        if (used.first == used.end) used = {end, end};
        used.first = std::max(used.first, counted);
        run += std::min(used.first, end) - counted;
        if (run >= count) return Room{std::min(used.first, end) - run};
        if (used.first >= old.first && used.end <= old.end) {
            run += used.end - used.first;
            if (run >= count) return Room{used.end - run};
        } else {
            run = 0;
        }
        counted = std::max(used.end, counted + 1);
    }
    return Room{};
}

Result<void> SlotDirectory::update_rooms(SlotRange touched) {
    {
        MutexGuard guard(file_.mutex());
        if (!file_.names().get()) return {};
    }
    uint32_t used_end = file_.end_slot.load(std::memory_order_relaxed);
    for (uint32_t room = touched.first / room_slots; room * room_slots < touched.end; room++) {
        uint32_t best =
            TRY(longest_run(room * room_slots, std::min((room + 1) * room_slots, used_end)));
        MutexGuard guard(file_.mutex());
        if (auto use = file_.names().get()) use->set_room(room, best);
    }
    return {};
}

// --- index --------------------------------------------------------------------------------------

bool SlotDirectory::indexed(uint32_t hash, std::array<uint32_t, 16>& slots, uint32_t& count) {
    MutexGuard guard(file_.mutex());
    auto use = file_.names().get();
    if (!use) return false;
    count = 0;
    bool overflow = use->find(hash, [&](uint32_t slot) {
        if (count == slots.size()) return true;
        slots[count++] = slot;
        return false;
    });
    return !overflow;
}

Result<void> SlotDirectory::make_index(std::span<const IndexItem> items) {
    std::vector<uint32_t> rooms;
    uint32_t end = TRY(end_slot());
    for (uint32_t at = 0; at < end; at += room_slots)
        rooms.push_back(TRY(longest_run(at, std::min(end, at + room_slots))));

    MutexGuard guard(file_.mutex());
    if (file_.names().get()) return {};
    file_.names().drop();
    auto use = file_.space().mount.dirhashes().make(file_.names());
    if (!use) return {};
    for (const IndexItem& item : items) use->add(item.hash, item.slot);
    for (uint32_t room = 0; room < rooms.size(); room++) use->set_room(room, rooms[room]);
    return {};
}

void SlotDirectory::change_index(const IndexItem& item, bool add) {
    MutexGuard guard(file_.mutex());
    auto use = file_.names().get();
    if (!use) return;
    if (add)
        use->add(item.hash, item.slot);
    else
        use->remove(item.hash, item.slot);
}

} // namespace rump::clusters
