// Mounting FAT: options, FSInfo, the marks of an unclean unmount, statvfs, trim.
#include "kernel/fs/msdosfs/vfsops.h"

#include "kernel/fs/msdosfs/vnops.h"
#include "kernel/kern/kernel.h"
#include "kernel/vfs/buffer_cache.h"
#include "kernel/vfs/epoch.h"
#include "kernel/vfs/vnode_cache.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

namespace rump::msdosfs {

namespace {

/// A directory entry for the root, which has none.
disk::DirEntry root_entry(const Geometry& geometry) {
    disk::DirEntry entry{};
    entry.attributes = disk::attr_directory;
    stamp_new_entry(entry, {}, 0);
    if (geometry.is_fat32()) set_first_cluster(entry, geometry.root_cluster, geometry);
    return entry;
}

} // namespace

MsdosMount::MsdosMount(Kernel& kernel, const FileSystemType& type, MountArgs args,
                       Geometry geometry, NameRules names, const clusters::Options& options,
                       std::optional<uint32_t> free_hint, std::optional<uint32_t> next_hint,
                       Marks found)
    : Mount(kernel, type, std::move(args), clusters::traits(file_size_max, 2'000'000'000)),
      volume_(*this, std::move(geometry), std::move(names), options, free_hint, next_hint),
      found_(found) {
    // As long as nothing changes, FSInfo stays as it is.
    if (!found.dirty) written_hints_ = volume_.space.clusters.hints();
    if (!volume_.geometry.is_fat32())
        (void)volume_.space.numbers.add_directory(root_number(), 0, 1);
    if (found.dirty || !volume_.geometry.has_marks()) find_twins();
}

MsdosMount::~MsdosMount() {
    // Vnodes belong to the base class and refer to the volume; after a commit that failed, so do
    // nodes that wait for the next one.
    vnodes().drop_inactive(true);
    (void)volume_.space.dirty.take();
}

// --- vnodes -------------------------------------------------------------------------------------

std::shared_ptr<Node> MsdosMount::make_node(InodeNumber number, uint64_t position,
                                            const disk::DirEntry& entry) {
    return std::make_shared<Node>(volume_, number, position, entry);
}

std::shared_ptr<Node> MsdosMount::root_node() {
    return make_node(root_number(), 0, root_entry(volume_.geometry));
}

VnodeRef MsdosMount::insert_vnode(std::shared_ptr<Node> node) {
    uint32_t generation =
        vfs::DirentNumbers::only_this_mount(node->number()) ? 0 : generation_of(node->entry());
    return vnodes().insert(std::make_unique<MsdosVnode>(*this, std::move(node), generation));
}

/// What was read of it may be old by the time that nobody has it in core: load() reads it again.
Result<VnodeRef> MsdosMount::vnode_of(const Entry& entry) {
    return vget(volume_.space.numbers.at(entry.position));
}

/// Damage ends one directory, not the search.
void MsdosMount::list_directories(Node& node, clusters::Space::Files& below) {
    Directory directory(node);
    Entry entry;
    for (uint32_t slot = 0;; slot = entry.slot + 1) {
        auto more = directory.next(slot, entry);
        if (!more || !*more) return;
        if (entry.is_directory())
            below.push_back(
                make_node(volume_.space.numbers.at(entry.position), entry.position, entry.raw));
    }
}

Result<InodeNumber> MsdosMount::directory_of(uint64_t position) {
    return volume_.space.directory_of(
        volume_.unit_of(position), [&] { return root_node(); },
        [&](clusters::ClusterFile& directory, clusters::Space::Files& below) {
            list_directories(static_cast<Node&>(directory), below);
        });
}

Result<std::unique_ptr<Vnode>> MsdosMount::load(InodeNumber number) {
    const Geometry& geometry = volume_.geometry;
    if (number == root_number())
        return std::unique_ptr<Vnode>(std::make_unique<MsdosVnode>(*this, root_node(), 0));
    uint64_t position = TRY(volume_.space.numbers.position_of(number));
    if (!geometry.in_heap(position) && !geometry.in_root_area(position)) return Errno::stale;
    if (volume_.space.twins.hides(position)) return Errno::stale;
    TRY(directory_of(position));
    Buf sector = TRY(volume_.space.sector_at(position));
    const auto& entry = sector.as<disk::DirEntry>(position % geometry.sector_size);
    if (entry.name[0] == disk::name_end || entry.name[0] == disk::name_deleted ||
        entry.name[0] == '.' || entry.attributes & disk::attr_label)
        return Errno::stale;
    auto node = make_node(number, position, entry);
    uint32_t generation = vfs::DirentNumbers::only_this_mount(number) ? 0 : generation_of(entry);
    return std::unique_ptr<Vnode>(std::make_unique<MsdosVnode>(*this, std::move(node), generation));
}

// --- commits ------------------------------------------------------------------------------------

Result<void> MsdosMount::epoch_collect(Transaction& tx) {
    return volume_.space.epoch_collect(tx, [&]() -> Result<void> {
        tx.on_abort([this, hints = written_hints_] { written_hints_ = hints; });
        return write_fsinfo(tx);
    });
}

void MsdosMount::epoch_committed(Transaction& tx) { volume_.space.frees.epoch_committed(tx); }

/// The mark of Windows in the table, and the one of Linux and Windows NT in the boot sector.
Result<void> MsdosMount::set_state(Transaction& tx, bool clean) {
    const Geometry& geometry = volume_.geometry;
    uint32_t state = TRY(volume_.fat.state());
    uint32_t bit = geometry.is_fat32() ? disk::fat32_clean : disk::fat16_clean;
    TRY(volume_.fat.set_state(tx, clean ? state | bit : state & ~bit));
    if (!geometry.tail_offset) return {};
    Buf boot = TRY(volume_.space.sector_at(0));
    auto& tail = tx.modify_as<disk::BootTail>(boot, *geometry.tail_offset, WritePhase::allocation);
    tail.state = static_cast<uint8_t>(clean ? tail.state & ~disk::state_dirty
                                            : tail.state | disk::state_dirty);
    return {};
}

Result<void> MsdosMount::write_fsinfo(Transaction& tx) {
    const Geometry& geometry = volume_.geometry;
    clusters::Allocator::Hints hints = volume_.space.clusters.hints();
    if (!geometry.fsinfo_offset || hints == written_hints_) return {};
    Buf sector = TRY(volume_.space.sector_at(*geometry.fsinfo_offset));
    const auto& info = sector.as<disk::FsInfo>();
    if (info.lead_signature != disk::fsinfo_lead || info.signature != disk::fsinfo_signature)
        return {};
    auto& changed = tx.modify_as<disk::FsInfo>(sector, 0, WritePhase::allocation);
    changed.free_clusters = hints.free.value_or(disk::fsinfo_unknown);
    changed.next_free = hints.next;
    written_hints_ = hints;
    return {};
}

/// In use from now on, whether anything changes or not.
FailureOr<void> MsdosMount::mark_in_use() {
    auto tx = TRY(begin());
    if (found_.dirty) {
        auto repaired = volume_.fat.repair_mirrors(tx);
        if (!repaired) return Failure(repaired.error(), "file allocation table: cannot be read");
        if (*repaired > 0)
            kernel().log().warning(
                "{}: {} sectors of the FAT's copies differed, the first is believed", type().name(),
                *repaired);
    } else if (!set_state(tx, false)) {
        return Failure(Errno::io, "the mark of a mounted file system cannot be written");
    }
    tx.done();
    return {};
}

FailureOr<void> MsdosMount::begin_writing() {
    TRY(mark_in_use());
    TRY(MsdosVnode::drop_hidden(*this, volume_.space));
    TRY(epoch().commit());
    return {};
}

Result<void> MsdosMount::end_writing() {
    if (found_.dirty) return {};
    auto tx = TRY(begin());
    TRY(set_state(tx, true));
    tx.done();
    return {};
}

// --- questions ----------------------------------------------------------------------------------

Result<StatVfs> MsdosMount::statvfs() {
    StatVfs s = TRY(volume_.space.statvfs());
    s.fsid = volume_.geometry.serial.value_or(0);
    return s;
}

Result<uint64_t> MsdosMount::trim(uint64_t offset, uint64_t length, uint64_t minimum) {
    return volume_.space.trim(offset, length, minimum);
}

std::vector<std::pair<std::string, std::string>> MsdosMount::describe() {
    const Geometry& geometry = volume_.geometry;
    std::vector<std::pair<std::string, std::string>> facts;
    facts.emplace_back("format", geometry.type_name());
    std::string label = read_label(device(), geometry, volume_.names.code_page);
    if (!label.empty()) facts.emplace_back("label", label);
    if (geometry.serial)
        facts.emplace_back("uuid", fmt::format("{:04X}-{:04X}", *geometry.serial >> 16,
                                               *geometry.serial & 0xffff));
    facts.emplace_back("sector size", fmt::format("{}", geometry.sector_size));
    facts.emplace_back("cluster size", fmt::format("{}", geometry.cluster_size));
    facts.emplace_back("clusters", fmt::format("{}", geometry.cluster_count));
    facts.emplace_back("fats", fmt::format("{}", geometry.fat_count));
    if (!geometry.mirrored)
        facts.emplace_back("fat in use", fmt::format("{}", geometry.active_fat));
    facts.emplace_back("state", std::string(found_.dirty ? "not cleanly unmounted" : "clean") +
                                    (found_.errors ? ", device errors were met" : ""));
    facts.emplace_back("code page", std::string(volume_.names.code_page.name()));
    return facts;
}

} // namespace rump::msdosfs
