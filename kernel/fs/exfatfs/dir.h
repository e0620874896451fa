// Directories: sets of entries, found, listed, made and removed. Specification, 6 and 7.4 to 7.9.
//
// A slot is 32 bytes of a directory; slots are numbered from 0. A file is a set: a file entry, a
// stream extension, its name in pieces of 15 code units, and whatever vendors added behind.
//
// Big directories have an index in memory: the hash of each name -> the slot of its file entry, and
// the largest run of free slots of every 64.
#pragma once

#include "kernel/fs/exfatfs/inode.h"
#include "kernel/fs/exfatfs/names.h"
#include "kernel/fs/exfatfs/volume.h"

namespace rump::exfatfs {

/// A set as it was found.
struct Entry {
    uint32_t slot = 0;     // of the file entry
    uint32_t count = 0;    // slots
    uint64_t position = 0; // of the file entry on the device
    SetHead head;
    NameUnits name;

    bool is_directory() const { return head.file.attributes & disk::attr_directory; }
};

/// Slots whose free runs the index knows together.
inline constexpr uint32_t room_slots = 64;

class Directory {
public:
    /// The directory's vnode is locked: shared for reading, exclusively for changes.
    explicit Directory(Node& node) : node_(node), volume_(node.volume()) {}

    /// The first set that begins at `slot` or behind it. Damaged ones are reported and left out.
    /// False: there is none. EIO, EUCLEAN, EOPNOTSUPP (an entry that must be understood and is
    /// not).
    Result<bool> next(uint32_t slot, Entry& out);
    /// The set that begins at `slot`. False: none, or a damaged one.
    Result<bool> read_at(uint32_t slot, Entry& out);
    /// The set whose name folds to `folded`. False: there is none.
    Result<bool> find(std::u16string_view folded, Entry& out);
    Result<bool> empty();
    /// Where its entries are. EIO, EUCLEAN.
    Result<SetPlace> place_of(uint32_t slot, uint32_t count);
    Result<SetPlace> place_of(const Entry& entry) { return place_of(entry.slot, entry.count); }
    /// The entries behind its name: vendors' own, kept as they are.
    Result<std::vector<disk::Entry>> extras(const Entry& entry);

    struct Made {
        SetPlace place;
        bool never_used; // no file was there since mounting
        Buf sector;      // that holds the file entry
    };
    /// Where a set goes that another one makes way for.
    struct Place {
        std::optional<uint32_t> first; // slot; none: wherever there is room
        Buf* then = nullptr;           // reaches the device behind the file entry
    };
    /// Makes a set of this name, which is not there. ENOSPC, EIO, EUCLEAN; EAGAIN: the epoch wants
    /// another order, commit it.
    Result<Made> insert(Transaction& tx, const NameUnits& name, SetHead head,
                        std::span<const disk::Entry> extras, const Place& place);
    /// Slots for `name` and `extras` in the one sector that holds all of `old`, which goes: so that
    /// a cut shows either name. None: there is no room.
    Result<std::optional<uint32_t>> room_beside(const Entry& old, const NameUnits& name,
                                                size_t extras);
    Result<void> erase(Transaction& tx, const Entry& entry);
    /// The sector of its file entry, for Transaction::order. EIO.
    Result<Buf> sector_of(const Entry& entry) { return volume_.sector_at(entry.position); }

private:
    /// Reads slots one after the other.
    struct Reader {
        Buf buf;
        uint64_t position = 0;   // of the slot that was read last
        uint32_t first_slot = 0; // slots of `buf`
        uint32_t end_slot = 0;
        uint64_t base = 0; // position of first_slot
        uint32_t seen = 0; // all slots before it were read
    };
    Result<const std::byte*> slot(Reader& reader, uint32_t number);
    Result<bool> next(Reader& reader, uint32_t slot, Entry& out);
    Result<const char*> assemble(Reader& reader, Entry& out);

    void fold_entry(const Entry& entry, NameUnits& out) const;
    bool matches(const Entry& entry, std::u16string_view folded) const;
    bool indexed(uint32_t hash, std::array<uint32_t, 16>& slots, uint32_t& count);
    Result<void> build_index();
    void index_entry(const Entry& entry, bool add);
    Result<void> update_rooms(uint32_t first, uint32_t end);

    Result<uint32_t> free_slots(Transaction& tx, uint32_t count);
    Result<std::optional<uint32_t>> free_run(uint32_t from, uint32_t to, uint32_t count);
    Result<uint32_t> longest_run(uint32_t from, uint32_t to);
    Result<uint32_t> end_slot();
    uint32_t aligned(uint32_t slot) const;
    Result<std::span<std::byte>> modify_slot(Transaction& tx, uint32_t number, Buf& sector);
    void forget_on_abort(Transaction& tx);

    Node& node_;
    Volume& volume_;
};

} // namespace rump::exfatfs
