// rename. The entry that the file has afterwards reaches the device before the old one goes: a cut
// between the two leaves two names for one file, which a check mends, and not a file without a
// name.
#include "kernel/fs/exfatfs/vnops.h"

#include "kernel/vfs/buffer_cache.h"

namespace rump::exfatfs {

/// The target's entries become the source's: the two that matter stand in one sector, so a cut
/// shows the one file or the other.
Result<void> ExfatVnode::replace(const RenameArgs& args) {
    Node& source = node_of(args.source);
    Node& target = node_of(*args.target);
    Node& to_dir = node_of(args.to_dir);
    Directory from(node()), to(to_dir);
    Entry old_entry, new_entry;
    auto tx = TRY(mount().begin());
    TRY(find_own_entry(from, args.from_name, source, old_entry));
    TRY(find_own_entry(to, args.to_name, target, new_entry));
    Buf old_sector = TRY(from.sector_of(old_entry));
    Buf new_sector = TRY(to.sector_of(new_entry));
    TRY(tx.order(new_sector, old_sector));
    auto extras = TRY(from.extras(old_entry)), gone = TRY(to.extras(new_entry));
    SetPlace place;
    if (extras.empty() && gone.empty()) {
        place = TRY(to.place_of(new_entry));
    } else { // vendors' entries go with their file
        TRY(to.erase(tx, new_entry));
        auto made =
            TRY(to.insert(tx, new_entry.name, source.head(), extras, {std::nullopt, &old_sector}));
        place = std::move(made.place);
    }
    TRY(from.erase(tx, old_entry));
    target.set_unlinked(tx);
    source.move_to(tx, std::move(place));
    // The commit of this epoch writes the source's entries over the target's, with a new checksum.
    source.change({});
    touch();
    static_cast<ExfatVnode&>(args.to_dir).touch();
    free_extras(gone);
    tx.done();
    return {};
}

Result<void> ExfatVnode::move(const RenameArgs& args) {
    Node& source = node_of(args.source);
    Node& to_dir = node_of(args.to_dir);
    NameUnits name = TRY(parse_name(args.to_name.view()));

    Directory from(node()), to(to_dir);
    Entry old_entry;
    auto tx = TRY(mount().begin());
    TRY(find_own_entry(from, args.from_name, source, old_entry));
    Buf old_sector = TRY(from.sector_of(old_entry));
    auto extras = TRY(from.extras(old_entry));
    Directory::Place place{std::nullopt, &old_sector};
    if (&args.to_dir == this) place.first = TRY(from.room_beside(old_entry, name, extras.size()));
    if (place.first) TRY(from.erase(tx, old_entry));
    auto made = TRY(to.insert(tx, name, source.head(), extras, place));
    if (!place.first) TRY(from.erase(tx, old_entry));
    source.move_to(tx, std::move(made.place));
    source.change({});
    touch();
    static_cast<ExfatVnode&>(args.to_dir).touch();
    tx.done();
    return {};
}

} // namespace rump::exfatfs
