// Vnode operations but lookup, rename and extended attributes.
#include "kernel/fs/exfatfs/vnops.h"

#include "kernel/kern/kernel.h"
#include "kernel/vfs/buffer_cache.h"
#include "kernel/vfs/epoch.h"
#include "kernel/vfs/generic_io.h"
#include "kernel/vfs/vnode_cache.h"

#include <fmt/format.h>

namespace rump::exfatfs {

namespace {
constexpr uint32_t write_bits = 0222;
} // namespace

ExfatVnode::ExfatVnode(ExfatMount& mount, std::shared_ptr<Node> node, uint32_t generation)
    : Vnode(mount, node->number(), generation,
            node->is_directory() ? FileType::dir : FileType::reg),
      node_(std::move(node)) {}

ExfatMount& ExfatVnode::exfat_mount() const { return static_cast<ExfatMount&>(mount()); }

Timespec ExfatVnode::now() const { return mount().kernel().now(); }

void ExfatVnode::touch_directory() {
    Timespec when = now();
    node_->change([&](disk::FileEntry& entry) {
        stamp_written(entry, when, volume().options.utc_offset_minutes);
    });
}

Result<void> find_own_entry(Directory& directory, Name name, Node& node, Entry& out) {
    NameUnits folded;
    if (!fold(name.view(), node.volume().upcase, folded)) return Errno::noent;
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
    auto made = TRY(Directory(*node_).insert(tx, units, head, {}, {}));
    uint64_t position = made.place[0].position;
    InodeNumber number = volume().numbers.created(position, made.never_used);
    tx.on_abort(
        [&numbers = volume().numbers, number, position] { numbers.removed(number, position); });
    touch_directory();
    return exfat_mount().insert_vnode(
        std::make_shared<Node>(volume(), number, std::move(made.place), head));
}

Result<VnodeRef> ExfatVnode::create(Name name, const NewNode& node) {
    ASSERT(lock.held_exclusive());
    if (node.type != FileType::reg) return Errno::perm;
    SetHead head;
    head.file.attributes = disk::attr_archive;
    if ((node.mode & write_bits) == 0) head.file.attributes |= disk::attr_read_only;
    stamp_new_entry(head.file, now(), volume().options.utc_offset_minutes);
    head.stream.flags = disk::flag_allocation;
    auto tx = TRY(mount().begin());
    VnodeRef made = TRY(make(name, head, tx));
    tx.done();
    return made;
}

/// A directory begins with one cluster of zeros, which are on the device before its entry is.
Result<VnodeRef> ExfatVnode::mkdir(Name name, const NewNode& node) {
    ASSERT(lock.held_exclusive());
    (void)node;
    const Geometry& geometry = volume().geometry;
    SetHead head;
    head.file.attributes = disk::attr_directory;
    stamp_new_entry(head.file, now(), volume().options.utc_offset_minutes);
    auto tx = TRY(mount().begin());
    ClusterRun run = TRY(volume().clusters.take(tx, {}, nullptr));
    mount().epoch().note_data_written();
    TRY(mount().device().write_zeros(geometry.offset_of(run.first), geometry.cluster_size));
    head.stream.flags = disk::flag_allocation | disk::flag_no_chain;
    head.stream.first_cluster = run.first.value();
    head.stream.length = head.stream.valid_length = geometry.cluster_size;
    VnodeRef made = TRY(make(name, head, tx));
    tx.done();
    return made;
}

Result<VnodeRef> ExfatVnode::symlink(Name, std::string_view, const NewNode&) { return Errno::perm; }
Result<void> ExfatVnode::link(Name, Vnode&) { return Errno::perm; }

/// Clusters of vendors' own entries go with the file that they are part of. Last in a transaction:
/// this is not undone.
void ExfatVnode::free_extras(std::span<const disk::Entry> extras) {
    for (const disk::Entry& extra : extras) {
        const auto& fields = reinterpret_cast<const disk::StreamEntry&>(extra);
        if (!(fields.flags & disk::flag_allocation) || fields.first_cluster == 0) continue;
        Cluster first(fields.first_cluster);
        uint32_t count = volume().geometry.clusters_for(fields.length);
        Chain chain(first);
        if (fields.flags & disk::flag_no_chain) chain = Chain(ClusterRun{first, count});
        const char* why = nullptr;
        if (!volume().geometry.is_run(first.value(), chain.contiguous() ? count : 1)) continue;
        // Of a damaged chain the part that can be walked.
        (void)chain.length(volume().fat, count, why);
        volume().frees.add({chain.runs_from(0), std::nullopt, false, volume().frees.epoch()});
    }
}

Result<void> ExfatVnode::remove_entry(Name name, Node& victim) {
    Directory directory(*node_);
    Entry entry;
    auto tx = TRY(mount().begin());
    TRY(find_own_entry(directory, name, victim, entry));
    auto extras = TRY(directory.extras(entry));
    TRY(directory.erase(tx, entry));
    victim.set_unlinked(tx);
    touch_directory();
    free_extras(extras);
    tx.done();
    return {};
}

Result<void> ExfatVnode::remove(Name name, Vnode& victim) {
    ASSERT(lock.held_exclusive() && victim.lock.held_exclusive());
    return remove_entry(name, node_of(victim));
}

Result<void> ExfatVnode::rmdir(Name name, Vnode& victim) {
    ASSERT(lock.held_exclusive() && victim.lock.held_exclusive());
    if (!TRY(Directory(node_of(victim)).empty())) return Errno::notempty;
    return remove_entry(name, node_of(victim));
}

Result<void> ExfatVnode::inactive() { return node_->release_clusters(); }

// --- attributes ---------------------------------------------------------------------------------

Result<Attr> ExfatVnode::getattr() {
    ASSERT(lock.held());
    Attr attr = node_->attr();
    attr.generation = generation();
    attr.uid = mount().options().uid.value_or(0);
    attr.gid = mount().options().gid.value_or(0);
    return attr;
}

/// Only "may be written" has a bit, and that of files only. As Linux's drivers do, other permission
/// bits are let go in silence, else no archive could be unpacked; set-id bits and owners are
/// refused, but for `quiet`.
Result<void> ExfatVnode::setattr(const AttrChange& change) {
    ASSERT(lock.held_exclusive());
    const VolumeOptions& options = volume().options;
    Attr attr = TRY(getattr());
    std::optional<bool> read_only;
    if (change.mode) {
        if ((*change.mode & ~0777u) && !options.quiet) return Errno::perm;
        uint32_t all = 0777 & ~options.file_mask;
        if (!is_dir() && (all & write_bits)) read_only = (*change.mode & all & write_bits) == 0;
    }
    bool owner = (change.uid && *change.uid != attr.uid) || (change.gid && *change.gid != attr.gid);
    if (owner && !options.quiet) return Errno::perm;
    if (change.flags && *change.flags != attr.flags) return Errno::perm;
    if (change.size && *change.size > file_size_max) return Errno::fbig;
    if (change.size && *change.size > attr.size) TRY(node_->extend(*change.size));

    auto tx = TRY(mount().begin());
    if (change.size && *change.size < attr.size) node_->shrink(*change.size);
    node_->change([&](disk::FileEntry& entry) {
        int utc = options.utc_offset_minutes;
        if (read_only && *read_only) entry.attributes |= disk::attr_read_only;
        if (read_only && !*read_only)
            entry.attributes &= static_cast<uint16_t>(~disk::attr_read_only);
        if (change.size) stamp_written(entry, now(), utc), entry.attributes |= disk::attr_archive;
        if (change.mtime) stamp_written(entry, *change.mtime, utc);
        if (change.atime) stamp_accessed(entry, *change.atime, utc);
        if (change.btime) stamp_created(entry, *change.btime, utc);
    });
    tx.done();
    return {};
}

Result<void> ExfatVnode::fsync(bool data_only) {
    (void)data_only; // size and first cluster stand in the directory entry
    return mount().epoch().commit();
}

// --- data ---------------------------------------------------------------------------------------

Result<void> ExfatVnode::map(uint64_t offset, uint64_t length, ExtentList& out) {
    ASSERT(lock.held());
    return node_->map(offset, length, out);
}

Result<void> ExfatVnode::prepare_write(Transaction& tx, uint64_t offset, uint64_t length,
                                       bool privileged, ExtentList& out) {
    ASSERT(lock.held_exclusive());
    (void)privileged;
    return node_->prepare_write(tx, offset, length, out);
}

Result<void> ExfatVnode::finish_write(Transaction& tx, uint64_t end) {
    ASSERT(lock.held_exclusive());
    (void)tx;
    node_->finish_write(end, now());
    return {};
}

/// Space behind what was written reads as zeros without being filled; there is none behind the end.
Result<void> ExfatVnode::allocate(uint64_t offset, uint64_t length, bool keep_size, bool zero,
                                  bool privileged) {
    ASSERT(lock.held_exclusive());
    (void)privileged;
    uint64_t size = node_->size();
    if (offset > file_size_max || length > file_size_max - offset) return Errno::fbig;
    uint64_t end = offset + length;
    if (keep_size && end > size) return Errno::opnotsupp;
    if (zero && offset < size)
        TRY(vfs::zero_allocated(*this, offset, std::min(end, size) - offset));
    if (end > size) TRY(node_->extend(end));
    auto tx = TRY(mount().begin());
    if (zero || end > size)
        node_->change([&](disk::FileEntry& entry) {
            stamp_written(entry, now(), volume().options.utc_offset_minutes);
            entry.attributes |= disk::attr_archive;
        });
    tx.done();
    return {};
}

} // namespace rump::exfatfs
