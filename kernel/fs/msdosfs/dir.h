// Directories: entries with their long names, found, listed, made and removed. FAT specification, 6
// and 7.
//
// A slot is 32 bytes of a directory; slots are numbered from 0. A long name stands in the slots
// before its short entry. Long pieces that belong to no entry count as free.
// The index has the hash of each long and of each short name.
#pragma once

#include "kernel/fs/clusters/slots.h"
#include "kernel/fs/msdosfs/inode.h"
#include "kernel/fs/msdosfs/names.h"
#include "kernel/fs/msdosfs/volume.h"

namespace rump::msdosfs {

/// An entry as it was found.
struct Entry {
    uint32_t slot = 0;       // of the short entry
    uint32_t first_slot = 0; // of its first long piece; `slot` when it has none
    uint64_t position = 0;   // of the short entry on the device
    disk::DirEntry raw{};
    NameUnits long_name; // size 0: none

    bool is_directory() const { return raw.attributes & disk::attr_directory; }
    bool is_label() const { return raw.attributes & disk::attr_label; }
    bool is_dot() const { return raw.name[0] == '.'; }
    ShortName short_name() const;
};

class Directory final : public clusters::SlotDirectory {
public:
    /// The directory's vnode is locked: shared for reading, exclusively for changes.
    explicit Directory(Node& node)
        : SlotDirectory(node, disk::directory_entries_max), node_(node), volume_(node.volume()) {}

    /// The first entry whose short slot is `slot` or behind it, without labels, dot entries and
    /// names that do not count (Twins). False: there is none. EIO, EUCLEAN.
    Result<bool> next(uint32_t slot, Entry& out);
    /// The entry whose short slot is `slot`, a hidden one too. ENOENT, EIO, EUCLEAN.
    Result<void> at(uint32_t slot, Entry& out);
    /// The entry whose long or short name folds to `folded`. False: there is none. EIO, EUCLEAN.
    Result<bool> find(std::u16string_view folded, Entry& out);

    struct Made {
        disk::DirEntry entry; // the short one
        uint64_t position;
        bool never_used; // no file was there since mounting
        Buf sector;      // that holds it
    };
    /// Makes an entry of this name, which is not there, with the rest of `entry` as it is. ENOSPC,
    /// EIO, EUCLEAN; EAGAIN: the epoch wants another order, commit it.
    Result<Made> insert(Transaction& tx, const NameUnits& name, disk::DirEntry entry,
                        const Place& place);
    /// Slots for `name` in the one sector that holds all of `old`, which goes: so that a cut shows
    /// either name. None: there is no room.
    Result<std::optional<uint32_t>> room_beside(const Entry& old, const NameUnits& name);
    Result<void> erase(Transaction& tx, const Entry& entry);
    /// Says that an entry which was erased may come back elsewhere from now on.
    void note_gone(const Entry& entry, const Buf& sector);
    /// The sector of a short entry, for Transaction::order. EIO.
    Result<Buf> sector_of(const Entry& entry) { return volume_.space.sector_at(entry.position); }
    /// The volume's label entry of a root directory. False: none. EIO, EUCLEAN.
    Result<bool> label(Entry& out);

private:
    Result<SlotRange> next_used(Reader& reader, uint32_t from) override;
    Result<bool> next_any(Reader& reader, uint32_t slot, Entry& out);
    Result<bool> next_file(Reader& reader, uint32_t slot, Entry& out);
    Result<void> assemble(Reader& reader, Entry& out);

    void fold_names(const Entry& entry, NameUnits& long_name, NameUnits& short_name) const;
    bool matches(const Entry& entry, std::u16string_view folded) const;
    void each_hash(const Entry& entry, FunctionRef<void(uint32_t)> give) const;
    void index_entry(const Entry& entry, bool add);
    Result<ShortName> free_short_name(const Shortened& basis, std::u16string_view name);

    Node& node_;
    Volume& volume_;
};

/// What users see: the long name, or the short one where there is none, or where it is longer than
/// a path component may be. EUCLEAN: neither can be a name.
Result<void> show_name(const Entry& entry, const NameRules& rules, std::string& out);

} // namespace rump::msdosfs
