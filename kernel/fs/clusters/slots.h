// Directories as arrays of slots of 32 bytes, numbered from 0, of which several make an entry. What
// an entry is, each format says; here is how slots are read and changed, how room is found, and the
// index of big directories: the hash of each name -> the slot of its entry, and the largest run of
// free slots of every 64.
#pragma once

#include "kernel/fs/clusters/file.h"

#include <array>
#include <span>
#include <string_view>
#include <vector>

namespace rump::clusters {

class SlotDirectory {
public:
    static constexpr uint32_t slot_size = 32;

    /// Where an entry goes that another one makes way for.
    struct Place {
        std::optional<uint32_t> first; // slot; none: wherever there is room
        Buf* then = nullptr;           // reaches the device behind the entry
    };

protected:
    struct SlotRange {
        uint32_t first = 0;
        uint32_t end = 0;
    };
    /// Reads slots one after the other, from a copy: a commit may bring an entry up to date
    /// meanwhile (Space::entries).
    struct Reader {
        std::array<std::byte, 512> bytes;
        std::array<std::byte, slot_size> before; // the slot just before them
        uint32_t before_slot = UINT32_MAX;       // its number, when it is there
        uint32_t first_slot = 0;                 // slots of `bytes`
        uint32_t end_slot = 0;
        uint64_t base = 0;     // position of first_slot on the device
        uint64_t position = 0; // of the slot of `bytes` that was read last
        uint32_t seen = 0;     // all slots before it were read
    };

    /// The directory's vnode is locked: shared for reading, exclusively for changes.
    SlotDirectory(ClusterFile& file, uint32_t slots_max) : file_(file), slots_max_(slots_max) {}
    ~SlotDirectory() = default;

    /// The next slots that are in use, at or behind `from`; first == end: none.
    virtual Result<SlotRange> next_used(Reader& reader, uint32_t from) = 0;
    /// Where an entry may begin: `slot` or the one behind it.
    virtual uint32_t aligned(uint32_t slot) const { return slot; }

    /// The bytes of a slot; null behind the directory's last cluster. EIO, EUCLEAN.
    Result<const std::byte*> slot(Reader& reader, uint32_t number);
    /// The next slot that is neither free nor behind the end, of any kind. Null: none.
    Result<const std::byte*> next_slot(Reader& reader, uint32_t& number,
                                       FunctionRef<bool(const std::byte*)> skip);
    Result<std::span<std::byte>> modify_slot(Transaction& tx, uint32_t number, Buf& sector);
    /// The first slot that was never used.
    Result<uint32_t> end_slot();
    /// Slots [first, end) are in use now: the directory's end may move. Nothing behind it counts.
    Result<void> move_end(Transaction& tx, uint32_t end);
    /// After an undo nothing that was remembered is sure.
    void forget_on_abort(Transaction& tx);

    /// The first of `count` slots for a new entry: ones that are free again, or never used ones; in
    /// one sector where they fit into one and there is room, so that no cut comes between them.
    /// ENOSPC.
    Result<uint32_t> free_slots(Transaction& tx, uint32_t count);
    /// `count` free slots in the one sector that holds all of `old`, which goes: so that a cut
    /// shows either entry. None: there is no room.
    Result<std::optional<uint32_t>> room_beside(SlotRange old, uint32_t count);
    /// Recounts the free runs of the rooms that the slots touch.
    Result<void> update_rooms(SlotRange touched);

    /// A name goes, for good. Should it come back in this epoch, its new entry must not be on the
    /// device beside the old one.
    void note_gone(uint32_t hash, const Buf& sector);
    /// The entry in `sector` gets a name. EAGAIN: commit first.
    Result<void> order_behind_gone(Transaction& tx, uint32_t hash, Buf& sector);

    /// The slots that the index names for a hash. False: there is no index, or too many to tell.
    bool indexed(uint32_t hash, std::array<uint32_t, 16>& slots, uint32_t& count);
    struct IndexItem {
        uint32_t hash;
        uint32_t slot;
    };
    Result<void> make_index(std::span<const IndexItem> items);
    void change_index(const IndexItem& item, bool add);

    /// Looks for an entry. `next(reader, slot, out)` reads the first one at or behind a slot;
    /// `matches(out)` says whether it is the one; `hashes(entry, give)` gives those of its names.
    template<class Entry, class Next, class Matches, class Hashes>
    Result<bool> find_entry(uint32_t hash, Entry& out, Next next, Matches matches, Hashes hashes);

    ClusterFile& file_;

private:
    enum class Across : uint8_t { one_sector, any };
    Result<std::optional<uint32_t>> free_run(uint32_t from, uint32_t to, uint32_t count,
                                             Across across);
    Result<uint32_t> longest_run(uint32_t from, uint32_t to);
    uint32_t placed(uint32_t from, uint32_t count, Across across) const;
    Result<uint32_t> append_slots(Transaction& tx, uint32_t end, uint32_t count, Across across);
    uint32_t per_sector() const { return file_.space().heap.sector_size / slot_size; }

    /// Directories of more slots than this get an index.
    static constexpr uint32_t index_worth_slots = 32;
    static constexpr uint32_t room_slots = 64;
    const uint32_t slots_max_;
};

template<class Entry, class Next, class Matches, class Hashes>
Result<bool> SlotDirectory::find_entry(uint32_t hash, Entry& out, Next next, Matches matches,
                                       Hashes hashes) {
    std::array<uint32_t, 16> slots;
    uint32_t count = 0;
    bool have_index = indexed(hash, slots, count);
    Reader reader;
    uint32_t number = 0;
    if (!have_index) {
        for (; number < index_worth_slots; number = out.slot + 1) {
            if (!TRY(next(reader, number, out))) return false;
            if (matches(out)) return true;
        }
        // One pass without the file's mutex: the vnode's lock keeps changes away. Readers may do it
        // twice.
        std::vector<IndexItem> items;
        Reader all;
        Entry entry;
        for (uint32_t at = 0; TRY(next(all, at, entry)); at = entry.slot + 1)
            hashes(entry, [&](uint32_t one) { items.push_back({one, entry.slot}); });
        TRY(make_index(items));
        have_index = indexed(hash, slots, count);
    }
    if (have_index) {
        for (uint32_t i = 0; i < count; i++)
            if (TRY(next(reader, slots[i], out)) && out.slot == slots[i] && matches(out))
                return true;
        return false;
    }
    // No memory for an index, or too many names of one hash.
    for (;; number = out.slot + 1) {
        if (!TRY(next(reader, number, out))) return false;
        if (matches(out)) return true;
    }
}

} // namespace rump::clusters
