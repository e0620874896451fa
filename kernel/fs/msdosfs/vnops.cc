// Vnode operations but lookup, rename and extended attributes.
#include "kernel/fs/msdosfs/vnops.h"

#include "kernel/kern/kernel.h"
#include "kernel/vfs/buffer_cache.h"
#include "kernel/vfs/epoch.h"
#include "kernel/vfs/vnode_cache.h"

#include <fmt/format.h>

namespace rump::msdosfs {

MsdosVnode::MsdosVnode(MsdosMount& mount, std::shared_ptr<Node> node, uint32_t generation)
    : ClusterVnode(mount, std::move(node), generation) {}

MsdosMount& MsdosVnode::msdos_mount() const { return static_cast<MsdosMount&>(mount()); }

Result<void> find_own_entry(Directory& directory, Name name, Node& node, Entry& out) {
    NameUnits folded;
    TRY(fold(name.view(), node.volume().names.upcase, folded));
    if (!TRY(directory.find(folded.view(), out))) return Errno::noent;
    if (out.position != node.position())
        return node.volume().mount.corrupt(fmt::format(
            "{}: its entry is at byte {}, not {}", node.label(), out.position, node.position()));
    return {};
}

// --- making and removing -------------------------------------------------------------------------

/// Makes the entry and its vnode. `child`: a sector that must be on the device before the entry.
Result<VnodeRef> MsdosVnode::make(Name name, disk::DirEntry entry, Transaction& tx, Buf* child) {
    NameUnits units = TRY(parse_name(name.view()));
    auto made = TRY(Directory(node()).insert(tx, units, entry, {}));
    if (child) TRY(tx.order(*child, made.sector));
    InodeNumber number = new_number(tx, made.position, made.never_used);
    auto made_node = std::make_shared<Node>(volume(), number, made.position, made.entry);
    made_node->made_in = volume().space.frees.epoch();
    return msdos_mount().insert_vnode(std::move(made_node));
}

Result<VnodeRef> MsdosVnode::make_file(Transaction& tx, Name name, bool read_only) {
    disk::DirEntry entry{};
    entry.attributes = disk::attr_archive;
    if (read_only) entry.attributes |= disk::attr_read_only;
    stamp_new_entry(entry, now(), space().options.utc_offset_minutes);
    return make(name, entry, tx, nullptr);
}

Result<VnodeRef> MsdosVnode::make_directory(Transaction& tx, Name name) {
    const Geometry& geometry = volume().geometry;
    disk::DirEntry entry{};
    entry.attributes = disk::attr_directory;
    stamp_new_entry(entry, now(), space().options.utc_offset_minutes);
    ClusterRun run = TRY(volume().space.clusters.take(tx, {}, nullptr));
    TRY(volume().fat.make_chain(tx, {&run, 1}));
    uint64_t offset = geometry.offset_of(run.first);
    mount().epoch().note_data_written();
    TRY(mount().device().write_zeros(offset, geometry.cluster_size));
    set_first_cluster(entry, run.first, geometry);

    Buf sector = TRY(mount().buffers().read(offset, geometry.sector_size));
    auto bytes = tx.modify(sector, 0, 2 * disk::dirent_size, WritePhase::inode);
    auto* dots = reinterpret_cast<disk::DirEntry*>(bytes.data());
    dots[0] = dots[1] = entry;
    for (auto* dot : {&dots[0], &dots[1]}) std::fill_n(dot->name, sizeof dot->name, ' ');
    dots[0].name[0] = dots[1].name[0] = dots[1].name[1] = '.';
    uint32_t parent = node().dotdot_cluster();
    set_first_cluster(dots[1], parent ? std::optional(Cluster(parent)) : std::nullopt, geometry);

    return make(name, entry, tx, &sector);
}

Result<void> MsdosVnode::erase_name(Transaction& tx, Name name, clusters::ClusterFile& victim) {
    Directory directory(node());
    Entry entry;
    TRY(find_own_entry(directory, name, static_cast<Node&>(victim), entry));
    Buf sector = TRY(directory.sector_of(entry));
    TRY(directory.erase(tx, entry));
    directory.note_gone(entry, sector);
    return {};
}

} // namespace rump::msdosfs
