// rename. The entry that the file has afterwards reaches the device before the old one goes: a cut
// between the two leaves two names for one chain, and not a file without a name. What becomes of
// them: clusters/twins.h.
#include "kernel/fs/msdosfs/vnops.h"

#include "kernel/vfs/buffer_cache.h"

#include <algorithm>

namespace rump::msdosfs {

namespace {

class Names final : public clusters::NameReader {
public:
    explicit Names(const Geometry& geometry) : geometry_(geometry) {}

    void each_name(std::span<const std::byte> directory,
                   FunctionRef<void(const Name&)> give) override {
        for (size_t at = 0; at + disk::dirent_size <= directory.size(); at += disk::dirent_size) {
            const auto& entry = *reinterpret_cast<const disk::DirEntry*>(&directory[at]);
            if (entry.name[0] == disk::name_end) return;
            if (entry.name[0] == disk::name_deleted || entry.name[0] == '.' ||
                entry.attributes & disk::attr_label)
                continue;
            give({static_cast<uint32_t>(at / disk::dirent_size), first_cluster_of(entry, geometry_),
                  0, (entry.attributes & disk::attr_directory) != 0});
        }
    }
    std::optional<uint32_t> parent(std::span<const std::byte> head) override {
        const auto& dotdot = *reinterpret_cast<const disk::DirEntry*>(&head[disk::dirent_size]);
        if (dotdot.name[0] != '.' || dotdot.name[1] != '.') return std::nullopt;
        return first_cluster_of(dotdot, geometry_);
    }

private:
    const Geometry& geometry_;
};
static_assert(clusters::NameReader::head_size == 2 * disk::dirent_size);

/// A directory that has a new parent says so in its second entry: while it has two names, so that
/// ".." is never wrong for the only one.
Result<void> set_parent(Transaction& tx, Node& child, Node& parent, Buf& new_name, Buf& old_name) {
    Volume& volume = child.volume();
    auto place = TRY(child.directory_position(disk::dirent_size));
    if (!place) return Errno::uclean;
    Buf sector = TRY(volume.space.sector_at(*place));
    if (child.made_in == volume.space.frees.epoch()) {
        // Nothing of it is on the device yet: its first entries must be, before any name.
        TRY(tx.order(sector, new_name));
    } else {
        TRY(tx.order(new_name, sector));
        TRY(tx.order(sector, old_name));
    }
    auto& dotdot = tx.modify_as<disk::DirEntry>(sector, *place % volume.geometry.sector_size,
                                                WritePhase::directory);
    if (dotdot.name[0] != '.' || dotdot.name[1] != '.') return {}; // a check may mend that
    uint32_t cluster = parent.dotdot_cluster();
    set_first_cluster(dotdot, cluster ? std::optional(Cluster(cluster)) : std::nullopt,
                      volume.geometry);
    return {};
}

} // namespace

void MsdosMount::find_twins() {
    const Geometry& geometry = volume_.geometry;
    Names names(geometry);
    volume_.space.find_twins({geometry.is_fat32() ? geometry.root_cluster.value() : 0,
                              geometry.root_offset,
                              uint64_t{geometry.root_entries} * disk::dirent_size},
                             names);
}

Result<void> MsdosVnode::erase_slot(Transaction& tx, uint32_t slot) {
    Directory directory(node());
    Entry entry;
    TRY(directory.at(slot, entry));
    return directory.erase(tx, entry);
}

/// The target's entry becomes the source's: one sector, so a cut shows the one file or the other.
Result<void> MsdosVnode::replace(Transaction& tx, const RenameArgs& args) {
    Node& source = node_of(args.source);
    Node& target = node_of(*args.target);
    Node& to_dir = node_of(args.to_dir);
    Directory from(node()), to(to_dir);
    Entry old_entry, new_entry;
    TRY(find_own_entry(from, args.from_name, source, old_entry));
    TRY(find_own_entry(to, args.to_name, target, new_entry));
    Buf old_sector = TRY(from.sector_of(old_entry));
    Buf new_sector = TRY(to.sector_of(new_entry));
    TRY(tx.order(new_sector, old_sector));

    auto& entry = tx.modify_as<disk::DirEntry>(
        new_sector, new_entry.position % volume().geometry.sector_size, WritePhase::directory);
    disk::DirEntry moved = source.entry();
    std::copy_n(new_entry.raw.name, sizeof moved.name, moved.name);
    moved.case_bits = new_entry.raw.case_bits;
    entry = moved;
    TRY(from.erase(tx, old_entry));
    from.note_gone(old_entry, old_sector);
    target.set_unlinked(tx);
    source.move_to(tx, new_entry.position, moved);
    if (source.is_directory() && &args.to_dir != this)
        TRY(set_parent(tx, source, to_dir, new_sector, old_sector));
    return {};
}

Result<void> MsdosVnode::move(Transaction& tx, const RenameArgs& args) {
    Node& source = node_of(args.source);
    Node& to_dir = node_of(args.to_dir);
    NameUnits name = TRY(parse_name(args.to_name.view()));
    NameUnits new_folded;
    fold(name.view(), volume().names.upcase, new_folded);

    Directory from(node()), to(to_dir);
    Entry old_entry, other;
    TRY(find_own_entry(from, args.from_name, source, old_entry));
    Buf old_sector = TRY(from.sector_of(old_entry));
    Directory::Place place{std::nullopt, &old_sector};
    // Another spelling of the same entry: its old names must not stand in the way of the new ones.
    bool erase_first = false;
    if (&args.to_dir == this) {
        place.first = TRY(from.room_beside(old_entry, name));
        erase_first = place.first || (TRY(to.find(new_folded.view(), other)) &&
                                      other.position == old_entry.position);
    }
    if (erase_first) TRY(from.erase(tx, old_entry));
    auto made = TRY(to.insert(tx, name, source.entry(), place));
    if (!erase_first) TRY(from.erase(tx, old_entry));
    from.note_gone(old_entry, old_sector);
    source.move_to(tx, made.position, made.entry);
    if (source.is_directory() && &args.to_dir != this)
        TRY(set_parent(tx, source, to_dir, made.sector, old_sector));
    return {};
}

} // namespace rump::msdosfs
