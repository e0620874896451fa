// Vnode operations but lookup, rename and extended attributes.
#include "kernel/fs/exfatfs/vnops.h"

#include "kernel/kern/kernel.h"
#include "kernel/vfs/buffer_cache.h"
#include "kernel/vfs/epoch.h"
#include "kernel/vfs/vnode_cache.h"

#include <fmt/format.h>

namespace rump::exfatfs {

ExfatVnode::ExfatVnode(ExfatMount& mount, std::shared_ptr<Node> node, uint32_t generation)
    : ClusterVnode(mount, std::move(node), generation) {}

ExfatMount& ExfatVnode::exfat_mount() const { return static_cast<ExfatMount&>(mount()); }

Result<void> find_own_entry(Directory& directory, Name name, Node& node, Entry& out) {
    NameUnits folded;
    TRY(fold(name.view(), node.volume().upcase, folded));
    if (!TRY(directory.find(folded.view(), out))) return Errno::noent;
    if (out.position != node.position())
        return node.volume().mount.corrupt(fmt::format(
            "{}: its entry is at byte {}, not {}", node.label(), out.position, node.position()));
    return {};
}

// --- making and removing -------------------------------------------------------------------------

/// Makes the set and its vnode.
Result<VnodeRef> ExfatVnode::make(Name name, const SetHead& head, Transaction& tx) {
    NameUnits units = TRY(parse_name(name.view()));
    auto made = TRY(Directory(node()).insert(tx, units, head, {}, {}));
    InodeNumber number = new_number(tx, made.place[0].position, made.never_used);
    return exfat_mount().insert_vnode(
        std::make_shared<Node>(volume(), number, std::move(made.place), head));
}

Result<VnodeRef> ExfatVnode::make_file(Transaction& tx, Name name, bool read_only) {
    SetHead head;
    head.file.attributes = disk::attr_archive;
    if (read_only) head.file.attributes |= disk::attr_read_only;
    stamp_new_entry(head.file, now(), space().options.utc_offset_minutes);
    head.stream.flags = disk::flag_allocation;
    return make(name, head, tx);
}

/// A directory begins with one cluster of zeros, which are on the device before its entry is.
Result<VnodeRef> ExfatVnode::make_directory(Transaction& tx, Name name) {
    const Geometry& geometry = volume().geometry;
    SetHead head;
    head.file.attributes = disk::attr_directory;
    stamp_new_entry(head.file, now(), space().options.utc_offset_minutes);
    ClusterRun run = TRY(volume().space.clusters.take(tx, {}, nullptr));
    mount().epoch().note_data_written();
    TRY(mount().device().write_zeros(geometry.offset_of(run.first), geometry.cluster_size));
    head.stream.flags = disk::flag_allocation | disk::flag_no_chain;
    head.stream.first_cluster = run.first.value();
    head.stream.length = head.stream.valid_length = geometry.cluster_size;
    return make(name, head, tx);
}

/// Clusters of vendors' own entries go with the file that they are part of. Last in a transaction:
/// this is not undone.
void ExfatVnode::free_extras(std::span<const disk::Entry> extras) {
    for (const disk::Entry& extra : extras) {
        const auto& fields = reinterpret_cast<const disk::StreamEntry&>(extra);
        if (!(fields.flags & disk::flag_allocation) || fields.first_cluster == 0) continue;
        Cluster first(fields.first_cluster);
        uint32_t count = volume().geometry.clusters_for(fields.length);
        clusters::Chain chain(first);
        if (fields.flags & disk::flag_no_chain) chain = clusters::Chain(ClusterRun{first, count});
        const char* why = nullptr;
        if (!volume().geometry.is_run(first.value(), chain.contiguous() ? count : 1)) continue;
        // Of a damaged chain the part that can be walked.
        (void)chain.length(volume().fat, count, why);
        volume().space.frees.add(
            {chain.runs_from(0), std::nullopt, false, volume().space.frees.epoch()});
    }
}

Result<void> ExfatVnode::erase_name(Transaction& tx, Name name, clusters::ClusterFile& victim) {
    Directory directory(node());
    Entry entry;
    TRY(find_own_entry(directory, name, static_cast<Node&>(victim), entry));
    auto extras = TRY(directory.extras(entry));
    Buf sector = TRY(directory.sector_of(entry));
    TRY(directory.erase(tx, entry));
    directory.note_gone(entry, sector);
    free_extras(extras);
    return {};
}

} // namespace rump::exfatfs
