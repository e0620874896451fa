// Directories: sets of entries, found, listed, made and removed. Specification, 6 and 7.4 to 7.9.
//
// A slot is 32 bytes of a directory; slots are numbered from 0. A file is a set: a file entry, a
// stream extension, its name in pieces of 15 code units, and whatever vendors added behind.
#pragma once

#include "kernel/fs/clusters/slots.h"
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

class Directory final : public clusters::SlotDirectory {
public:
    /// The directory's vnode is locked: shared for reading, exclusively for changes.
    explicit Directory(Node& node)
        : SlotDirectory(node, disk::directory_bytes_max / disk::entry_size), node_(node),
          volume_(node.volume()) {}

    /// The first set that begins at `slot` or behind it. Damaged ones are reported and left out,
    /// those whose names do not count (Twins) only left out. False: there is none. EIO, EUCLEAN,
    /// EOPNOTSUPP (an entry that must be understood and is not).
    Result<bool> next(uint32_t slot, Entry& out);
    /// The set that begins at `slot`, a hidden one too. False: none, or a damaged one.
    Result<bool> read_at(uint32_t slot, Entry& out);
    /// The set whose name folds to `folded`. False: there is none.
    Result<bool> find(std::u16string_view folded, Entry& out);
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
    /// Makes a set of this name, which is not there. ENOSPC, EIO, EUCLEAN; EAGAIN: the epoch wants
    /// another order, commit it.
    Result<Made> insert(Transaction& tx, const NameUnits& name, SetHead head,
                        std::span<const disk::Entry> extras, const Place& place);
    /// Slots for `name` and `extras` in the one sector that holds all of `old`, which goes: so that
    /// a cut shows either name. None: there is no room.
    Result<std::optional<uint32_t>> room_beside(const Entry& old, const NameUnits& name,
                                                size_t extras);
    Result<void> erase(Transaction& tx, const Entry& entry);
    /// Says that a set which was erased may come back elsewhere from now on.
    void note_gone(const Entry& entry, const Buf& sector);
    /// The sector of its file entry, for Transaction::order. EIO.
    Result<Buf> sector_of(const Entry& entry) { return volume_.space.sector_at(entry.position); }

private:
    Result<SlotRange> next_used(Reader& reader, uint32_t from) override;
    uint32_t aligned(uint32_t slot) const override;
    Result<bool> next(Reader& reader, uint32_t slot, Entry& out);
    Result<const char*> assemble(Reader& reader, Entry& out);

    bool matches(const Entry& entry, std::u16string_view folded) const;
    uint32_t hash_of(const Entry& entry) const;
    void index_entry(const Entry& entry, bool add);

    Node& node_;
    Volume& volume_;
};

} // namespace rump::exfatfs
