// Mounting exFAT: the mark of an unclean unmount, statvfs, trim, vnodes by number.
#include "kernel/fs/exfatfs/vfsops.h"

#include "kernel/fs/exfatfs/vnops.h"
#include "kernel/kern/kernel.h"
#include "kernel/vfs/buffer_cache.h"
#include "kernel/vfs/epoch.h"
#include "kernel/vfs/utf16.h"
#include "kernel/vfs/vnode_cache.h"

#include <fmt/format.h>

#include <algorithm>

namespace rump::exfatfs {

namespace {

constexpr uint8_t percent_unknown = 0xff; // specification, 3.1.18

/// A set for the root, which has none.
SetHead root_head(const Geometry& geometry) {
    SetHead head;
    head.file.attributes = disk::attr_directory;
    stamp_new_entry(head.file, {}, 0);
    head.stream.first_cluster = geometry.root_cluster.value();
    return head;
}

} // namespace

ExfatMount::ExfatMount(Kernel& kernel, const FileSystemType& type, MountArgs args,
                       const Geometry& geometry, const clusters::Options& options,
                       SystemFiles system)
    : Mount(kernel, type, std::move(args), clusters::traits(file_size_max, 10'000'000)),
      volume_(*this, geometry, options, std::move(system)) {
    if (this->options().read_only) report_upcase();
    if (geometry.was_dirty) find_twins();
}

ExfatMount::~ExfatMount() {
    // Vnodes belong to the base class and refer to the volume; after a commit that failed, so do
    // nodes that wait for the next one.
    vnodes().drop_inactive(true);
    (void)volume_.space.dirty.take();
}

// --- vnodes -------------------------------------------------------------------------------------

std::shared_ptr<Node> ExfatMount::root_node() {
    return std::make_shared<Node>(volume_, root_number(), SetPlace{}, root_head(volume_.geometry));
}

VnodeRef ExfatMount::insert_vnode(std::shared_ptr<Node> node) {
    uint32_t generation =
        vfs::DirentNumbers::only_this_mount(node->number()) ? 0 : generation_of(node->head().file);
    return vnodes().insert(std::make_unique<ExfatVnode>(*this, std::move(node), generation));
}

/// What was read of it may be old by the time that nobody has it in core: it is read again.
Result<VnodeRef> ExfatMount::vnode_of(Node& directory, const Entry& entry) {
    InodeNumber number = volume_.space.numbers.at(entry.position);
    return vnodes().get(number, [&] { return load_set(number, directory, entry.slot); });
}

Result<std::unique_ptr<Vnode>> ExfatMount::load_set(InodeNumber number, Node& directory,
                                                    uint32_t slot) {
    Entry entry;
    if (!TRY(Directory(directory).read_at(slot, entry))) return Errno::stale;
    SetPlace place = TRY(Directory(directory).place_of(entry));
    auto node = std::make_shared<Node>(volume_, number, std::move(place), entry.head);
    uint32_t generation =
        vfs::DirentNumbers::only_this_mount(number) ? 0 : generation_of(entry.head.file);
    return std::unique_ptr<Vnode>(std::make_unique<ExfatVnode>(*this, std::move(node), generation));
}

/// Damage ends one directory, not the search.
void ExfatMount::list_directories(Node& node, clusters::Space::Files& below) {
    Directory directory(node);
    Entry entry;
    for (uint32_t slot = 0;; slot = entry.slot + 1) {
        auto more = directory.next(slot, entry);
        if (!more || !*more) return;
        if (!entry.is_directory()) continue;
        auto place = directory.place_of(entry);
        if (!place) return;
        below.push_back(std::make_shared<Node>(volume_, volume_.space.numbers.at(entry.position),
                                               place.release_value(), entry.head));
    }
}

Result<InodeNumber> ExfatMount::directory_of(uint64_t position) {
    if (position == 0) return root_number();
    return volume_.space.directory_of(
        volume_.geometry.cluster_at(position).value(), [&] { return root_node(); },
        [&](clusters::ClusterFile& directory, clusters::Space::Files& below) {
            list_directories(static_cast<Node&>(directory), below);
        });
}

Result<std::unique_ptr<Vnode>> ExfatMount::load(InodeNumber number) {
    if (number == root_number())
        return std::unique_ptr<Vnode>(std::make_unique<ExfatVnode>(*this, root_node(), 0));
    uint64_t position = TRY(volume_.space.numbers.position_of(number));
    if (!volume_.geometry.in_heap(position) || volume_.space.twins.hides(position))
        return Errno::stale;
    InodeNumber parent_number = TRY(directory_of(position));
    // A directory that contains itself would be looked for in itself.
    if (parent_number == number) return Errno::stale;
    // Without its lock, which the caller may hold. Who changes a set has the vnode of it in the
    // cache, so nobody loads it meanwhile.
    VnodeRef parent = TRY(vget(parent_number));
    Node& directory = node_of(*parent);
    uint64_t offset = TRY(directory.directory_offset(position));
    return load_set(number, directory, static_cast<uint32_t>(offset / disk::entry_size));
}

// --- commits ------------------------------------------------------------------------------------

Result<void> ExfatMount::epoch_collect(Transaction& tx) {
    return volume_.space.epoch_collect(tx, [] { return Result<void>{}; });
}

void ExfatMount::epoch_committed(Transaction& tx) { volume_.space.frees.epoch_committed(tx); }

/// Flags and percentage stand in the boot sector, outside its checksum.
Result<void> ExfatMount::set_state(Transaction& tx, bool clean, uint8_t percent_in_use) {
    Buf sector = TRY(volume_.space.sector_at(0));
    auto& boot = tx.modify_as<disk::BootSector>(sector, 0, WritePhase::allocation);
    uint16_t flags = boot.flags;
    boot.flags =
        static_cast<uint16_t>(clean ? flags & ~disk::flag_dirty : flags | disk::flag_dirty);
    boot.percent_in_use = percent_in_use;
    return {};
}

/// Without the volume's own table names may be found that it calls different: by errors=, nobody
/// writes then.
void ExfatMount::report_upcase() {
    if (!volume_.upcase_damage.empty())
        (void)corrupt(volume_.upcase_damage + "; the standard table is used");
}

/// In use from now on, whether anything changes or not.
FailureOr<void> ExfatMount::begin_writing() {
    report_upcase();
    if (read_only()) return {};
    if (!volume_.geometry.was_dirty) {
        auto tx = TRY(begin());
        if (!set_state(tx, false, percent_unknown))
            return Failure(Errno::io, "the mark of a mounted file system cannot be written");
        tx.done();
    }
    TRY(ExfatVnode::drop_hidden(*this, volume_.space));
    TRY(epoch().commit());
    return {};
}

Result<void> ExfatMount::end_writing() {
    if (volume_.geometry.was_dirty) return {};
    uint64_t total = volume_.geometry.cluster_count,
             free = TRY(volume_.space.clusters.free_count());
    auto tx = TRY(begin());
    TRY(set_state(tx, true, static_cast<uint8_t>((total - free) * 100 / total)));
    tx.done();
    return {};
}

// --- questions ----------------------------------------------------------------------------------

Result<StatVfs> ExfatMount::statvfs() {
    StatVfs s = TRY(volume_.space.statvfs());
    s.fsid = volume_.geometry.serial;
    return s;
}

Result<uint64_t> ExfatMount::trim(uint64_t offset, uint64_t length, uint64_t minimum) {
    return volume_.space.trim(offset, length, minimum);
}

std::vector<std::pair<std::string, std::string>> ExfatMount::describe() {
    const Geometry& geometry = volume_.geometry;
    std::vector<std::pair<std::string, std::string>> facts;
    facts.emplace_back("format", "exFAT");
    if (!volume_.label.empty()) facts.emplace_back("label", vfs::utf16_to_utf8(volume_.label));
    facts.emplace_back(
        "uuid", fmt::format("{:04X}-{:04X}", geometry.serial >> 16, geometry.serial & 0xffff));
    facts.emplace_back("sector size", fmt::format("{}", geometry.sector_size));
    facts.emplace_back("cluster size", fmt::format("{}", geometry.cluster_size));
    facts.emplace_back("clusters", fmt::format("{}", geometry.cluster_count));
    facts.emplace_back("state",
                       std::string(geometry.was_dirty ? "not cleanly unmounted" : "clean") +
                           (geometry.media_failure ? ", device errors were met" : ""));
    return facts;
}

} // namespace rump::exfatfs
