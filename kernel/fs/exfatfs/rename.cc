// rename. The entry that the file has afterwards reaches the device before the old one goes: a cut
// between the two leaves two names for one file, and not a file without a name. What becomes of
// them: clusters/twins.h.
#include "kernel/fs/exfatfs/vnops.h"

#include "kernel/vfs/buffer_cache.h"

#include <algorithm>

namespace rump::exfatfs {

namespace {

/// Whole sets only: of one that was cut nothing is known.
class Names final : public clusters::NameReader {
public:
    explicit Names(const Geometry& geometry) : geometry_(geometry) {}

    void each_name(std::span<const std::byte> directory,
                   FunctionRef<void(const Name&)> give) override {
        for (size_t at = 0; at + disk::entry_size <= directory.size(); at += disk::entry_size) {
            auto type = static_cast<uint8_t>(directory[at]);
            if (type == disk::type_end) return;
            Name name;
            if (type != disk::type_file || !read_set(directory.subspan(at), name)) continue;
            name.slot = static_cast<uint32_t>(at / disk::entry_size);
            give(name);
        }
    }
    std::optional<uint32_t> parent(std::span<const std::byte>) override { return std::nullopt; }

private:
    bool read_set(std::span<const std::byte> bytes, Name& name) const {
        const auto& file = *reinterpret_cast<const disk::FileEntry*>(bytes.data());
        size_t count = size_t{file.secondaries} + 1;
        if (count < 3 || bytes.size() < count * disk::entry_size) return false;
        SetChecksum sum;
        for (size_t i = 0; i < count; i++)
            sum.add(bytes.subspan(i * disk::entry_size, disk::entry_size));
        const auto& stream = *reinterpret_cast<const disk::StreamEntry*>(&bytes[disk::entry_size]);
        if (sum.value() != file.checksum || stream.type != disk::type_stream) return false;
        name.directory = (file.attributes & disk::attr_directory) != 0;
        name.first = stream.first_cluster;
        if (stream.flags & disk::flag_no_chain) {
            name.run = geometry_.clusters_for(stream.length);
            if (!geometry_.is_run(name.first, name.run)) return false;
        }
        return stream.length != 0;
    }

    const Geometry& geometry_;
};

} // namespace

void ExfatMount::find_twins() {
    Names names(volume_.geometry);
    volume_.space.find_twins({volume_.geometry.root_cluster.value()}, names);
}

Result<void> ExfatVnode::erase_slot(Transaction& tx, uint32_t slot) {
    Directory directory(node());
    Entry entry;
    if (!TRY(directory.read_at(slot, entry))) return Errno::noent;
    return directory.erase(tx, entry);
}

/// The target's entries become the source's: the two that matter stand in one sector, so a cut
/// shows the one file or the other.
Result<void> ExfatVnode::replace(Transaction& tx, const RenameArgs& args) {
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
    from.note_gone(old_entry, old_sector);
    target.set_unlinked(tx);
    source.move_to(tx, std::move(place));
    free_extras(gone);
    return {};
}

Result<void> ExfatVnode::move(Transaction& tx, const RenameArgs& args) {
    Node& source = node_of(args.source);
    Node& to_dir = node_of(args.to_dir);
    NameUnits name = TRY(parse_name(args.to_name.view()));

    Directory from(node()), to(to_dir);
    Entry old_entry;
    TRY(find_own_entry(from, args.from_name, source, old_entry));
    Buf old_sector = TRY(from.sector_of(old_entry));
    auto extras = TRY(from.extras(old_entry));
    Directory::Place place{std::nullopt, &old_sector};
    if (&args.to_dir == this) place.first = TRY(from.room_beside(old_entry, name, extras.size()));
    if (place.first) TRY(from.erase(tx, old_entry));
    auto made = TRY(to.insert(tx, name, source.head(), extras, place));
    if (!place.first) TRY(from.erase(tx, old_entry));
    from.note_gone(old_entry, old_sector);
    source.move_to(tx, std::move(made.place));
    return {};
}

} // namespace rump::exfatfs
