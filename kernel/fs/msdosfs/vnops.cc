// Vnode operations but lookup, rename and extended attributes.
#include "kernel/fs/msdosfs/vnops.h"

#include "kernel/kern/kernel.h"
#include "kernel/vfs/buffer_cache.h"
#include "kernel/vfs/epoch.h"
#include "kernel/vfs/generic_io.h"
#include "kernel/vfs/vnode_cache.h"

#include <fmt/format.h>

namespace rump::msdosfs {

namespace {
constexpr uint32_t write_bits = 0222;
/// A gap behind a file's end that is larger than this is filled in transactions of its own.
constexpr uint64_t gap_in_one = 8u << 20;
} // namespace

MsdosVnode::MsdosVnode(MsdosMount& mount, std::shared_ptr<Node> node, uint32_t generation)
    : Vnode(mount, node->number(), generation,
            node->is_directory() ? FileType::dir : FileType::reg),
      node_(std::move(node)) {}

MsdosMount& MsdosVnode::msdos_mount() const { return static_cast<MsdosMount&>(mount()); }

Timespec MsdosVnode::now() const { return mount().kernel().now(); }

void MsdosVnode::touch_directory() {
    Timespec when = now();
    node_->change([&](disk::DirEntry& entry) {
        stamp_written(entry, when, volume().options.utc_offset_minutes);
    });
}

Result<void> find_own_entry(Directory& directory, Name name, Node& node, Entry& out) {
    NameUnits folded;
    if (!fold(name.view(), node.volume().options.names.upcase, folded)) return Errno::noent;
    if (!TRY(directory.find(folded.view(), out))) return Errno::noent;
    if (out.position != node.position())
        return node.volume().mount.corrupt(fmt::format(
            "{}: its entry is at byte {}, not {}", node.label(), out.position, node.position()));
    return {};
}

// --- making and removing -------------------------------------------------------------------------

/// Makes the entry and its vnode. `child`: a sector that must be on the device before the entry.
Result<VnodeRef> MsdosVnode::make(Name name, disk::DirEntry entry, Transaction& tx, Buf* child) {
    LongName long_name = TRY(parse_name(name.view()));
    auto made = TRY(Directory(*node_).insert(tx, long_name, entry, {}));
    if (child) TRY(tx.order(*child, made.sector));
    InodeNumber number = volume().numbers.created(made.position, made.never_used);
    tx.on_abort([&numbers = volume().numbers, number, position = made.position] {
        numbers.removed(number, position);
    });
    touch_directory();
    return msdos_mount().insert_vnode(
        std::make_shared<Node>(volume(), number, made.position, entry));
}

Result<VnodeRef> MsdosVnode::create(Name name, const NewNode& node) {
    ASSERT(lock.held_exclusive());
    if (node.type != FileType::reg) return Errno::perm;
    disk::DirEntry entry{};
    entry.attributes = disk::attr_archive;
    if ((node.mode & write_bits) == 0) entry.attributes |= disk::attr_read_only;
    stamp_new_entry(entry, now(), volume().options.utc_offset_minutes);
    auto tx = TRY(mount().begin());
    VnodeRef made = TRY(make(name, entry, tx, nullptr));
    tx.done();
    return made;
}

Result<VnodeRef> MsdosVnode::try_mkdir(Name name) {
    const Geometry& geometry = volume().geometry;
    disk::DirEntry entry{};
    entry.attributes = disk::attr_directory;
    stamp_new_entry(entry, now(), volume().options.utc_offset_minutes);
    auto tx = TRY(mount().begin());
    ClusterRun run = TRY(volume().clusters.take(tx, {}, nullptr));
    TRY(volume().fat.make_chain(tx, run));
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
    uint32_t parent = node_->dotdot_cluster();
    set_first_cluster(dots[1], parent ? std::optional(Cluster(parent)) : std::nullopt, geometry);

    VnodeRef made = TRY(make(name, entry, tx, &sector));
    tx.done();
    return made;
}

Result<VnodeRef> MsdosVnode::mkdir(Name name, const NewNode& node) {
    ASSERT(lock.held_exclusive());
    (void)node;
    auto made = try_mkdir(name);
    if (made || made.error() != Errno::again) return made;
    // The epoch wants the opposite order of these two sectors.
    TRY(mount().epoch().commit());
    return try_mkdir(name);
}

Result<VnodeRef> MsdosVnode::symlink(Name, std::string_view, const NewNode&) { return Errno::perm; }
Result<void> MsdosVnode::link(Name, Vnode&) { return Errno::perm; }

Result<void> MsdosVnode::remove_entry(Name name, Node& victim) {
    Directory directory(*node_);
    Entry entry;
    auto tx = TRY(mount().begin());
    TRY(find_own_entry(directory, name, victim, entry));
    TRY(directory.erase(tx, entry));
    victim.set_unlinked(tx);
    touch_directory();
    tx.done();
    return {};
}

Result<void> MsdosVnode::remove(Name name, Vnode& victim) {
    ASSERT(lock.held_exclusive() && victim.lock.held_exclusive());
    return remove_entry(name, node_of(victim));
}

Result<void> MsdosVnode::rmdir(Name name, Vnode& victim) {
    ASSERT(lock.held_exclusive() && victim.lock.held_exclusive());
    if (!TRY(Directory(node_of(victim)).empty())) return Errno::notempty;
    return remove_entry(name, node_of(victim));
}

Result<void> MsdosVnode::inactive() {
    node_->release_clusters();
    return {};
}

// --- attributes ---------------------------------------------------------------------------------

Result<Attr> MsdosVnode::getattr() {
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
Result<void> MsdosVnode::setattr(const AttrChange& change) {
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
    node_->change([&](disk::DirEntry& entry) {
        int utc = options.utc_offset_minutes;
        if (read_only && *read_only) entry.attributes |= disk::attr_read_only;
        if (read_only && !*read_only)
            entry.attributes &= static_cast<uint8_t>(~disk::attr_read_only);
        if (change.size) stamp_written(entry, now(), utc), entry.attributes |= disk::attr_archive;
        if (change.mtime) stamp_written(entry, *change.mtime, utc);
        if (change.atime) stamp_accessed(entry, *change.atime, utc);
        if (change.btime) stamp_created(entry, *change.btime, utc);
    });
    tx.done();
    return {};
}

Result<void> MsdosVnode::fsync(bool data_only) {
    (void)data_only; // the size and the first cluster stand in the directory entry
    return mount().epoch().commit();
}

// --- data ---------------------------------------------------------------------------------------

Result<void> MsdosVnode::map(uint64_t offset, uint64_t length, ExtentList& out) {
    ASSERT(lock.held());
    return node_->map(offset, length, out);
}

Result<void> MsdosVnode::prepare_write(Transaction& tx, uint64_t offset, uint64_t length,
                                       bool privileged, ExtentList& out) {
    ASSERT(lock.held_exclusive());
    (void)privileged;
    return node_->prepare_write(tx, offset, length, out);
}

Result<void> MsdosVnode::finish_write(Transaction& tx, uint64_t end) {
    ASSERT(lock.held_exclusive());
    (void)tx;
    node_->finish_write(end, now());
    return {};
}

Result<size_t> MsdosVnode::write(uint64_t offset, std::span<const std::byte> data,
                                 bool privileged) {
    ASSERT(lock.held_exclusive());
    if (offset > file_size_max || data.size() > file_size_max - offset) return Errno::fbig;
    uint64_t size = node_->size();
    if (data.empty() || offset < size || offset - size <= gap_in_one)
        return Vnode::write(offset, data, privileged);
    TRY(vfs::zero_past_end(*this, size, offset));
    TRY(node_->extend(offset));
    auto written = Vnode::write(offset, data, privileged);
    if (!written) node_->shrink(size);
    return written;
}

/// There is no space without zeros in it, and none behind the end of a file.
Result<void> MsdosVnode::allocate(uint64_t offset, uint64_t length, bool keep_size, bool zero,
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
    if (zero || end > size) node_->finish_write(node_->size(), now());
    tx.done();
    return {};
}

} // namespace rump::msdosfs
