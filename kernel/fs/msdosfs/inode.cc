// In-core nodes: attributes, and how they get back into directory entries.
#include "kernel/fs/msdosfs/inode.h"

#include "kernel/fs/msdosfs/volume.h"
#include "kernel/vfs/buffer_cache.h"
#include "kernel/vfs/dos_time.h"

#include <fmt/format.h>

#include <algorithm>

namespace rump::msdosfs {

using host::MutexGuard;

uint32_t first_cluster_of(const disk::DirEntry& entry, const Geometry& geometry) {
    uint32_t low = entry.first_cluster_low;
    return geometry.is_fat32() ? uint32_t{entry.first_cluster_high} << 16 | low : low;
}

void set_first_cluster(disk::DirEntry& entry, std::optional<Cluster> first,
                       const Geometry& geometry) {
    uint32_t number = first ? first->value() : 0;
    entry.first_cluster_low = static_cast<uint16_t>(number);
    if (geometry.is_fat32()) entry.first_cluster_high = static_cast<uint16_t>(number >> 16);
}

void stamp_written(disk::DirEntry& entry, Timespec when, int utc_offset_minutes) {
    vfs::DosTime stamp = vfs::to_dos(when, utc_offset_minutes);
    entry.written_date = stamp.date;
    entry.written_time = stamp.time;
}

void stamp_accessed(disk::DirEntry& entry, Timespec when, int utc_offset_minutes) {
    entry.accessed_date = vfs::to_dos(when, utc_offset_minutes).date;
}

void stamp_created(disk::DirEntry& entry, Timespec when, int utc_offset_minutes) {
    vfs::DosTime stamp = vfs::to_dos(when, utc_offset_minutes);
    entry.created_date = stamp.date;
    entry.created_time = stamp.time;
    entry.created_centiseconds = stamp.centiseconds;
}

void stamp_new_entry(disk::DirEntry& entry, Timespec now, int utc_offset_minutes) {
    stamp_created(entry, now, utc_offset_minutes);
    stamp_written(entry, now, utc_offset_minutes);
    stamp_accessed(entry, now, utc_offset_minutes);
}

uint32_t generation_of(const disk::DirEntry& entry) {
    uint32_t stamp = uint32_t{entry.created_date} << 16 | entry.created_time;
    return (stamp ^ entry.created_centiseconds) * 0x9e3779b1u >> 1;
}

Result<Buf> Volume::sector_at(uint64_t position) {
    return mount.buffers().read(position - position % geometry.sector_size, geometry.sector_size);
}

void DirtyNodes::add(std::shared_ptr<Node> node) {
    MutexGuard guard(mutex_);
    nodes_.push_back(std::move(node));
}

std::vector<std::shared_ptr<Node>> DirtyNodes::take() {
    MutexGuard guard(mutex_);
    return std::exchange(nodes_, {});
}

Node::Node(Volume& volume, InodeNumber number, uint64_t position, const disk::DirEntry& entry)
    : volume_(volume), number_(number), directory_(entry.attributes & disk::attr_directory),
      position_of_root_(position == 0), fixed_root_(is_root() && !volume.geometry.is_fat32()),
      position_(position), entry_(entry), size_(directory_ ? 0 : entry.size.get()),
      reservation_(volume.clusters) {
    uint32_t first = first_cluster_of(entry, volume.geometry);
    // An impossible number is met when the chain is walked: listing the directory must still work.
    if (first != 0) chain_ = Chain(Cluster(first));
    cut_ = !directory_ && size_ == 0 && first != 0;
}

std::string Node::label() const {
    return fmt::format("{} inode {}", directory_ ? "directory" : "file", number_.value());
}

void Node::set_dirty() {
    if (!dirty_.exchange(true, std::memory_order_acq_rel)) volume_.dirty.add(shared_from_this());
}

Attr Node::attr() {
    const VolumeOptions& options = volume_.options;
    MutexGuard guard(mutex_);
    auto time = [&](uint16_t date, uint16_t of_day, uint8_t centiseconds) {
        return vfs::from_dos({date, of_day, centiseconds}, options.utc_offset_minutes);
    };
    Attr attr;
    attr.number = number_;
    attr.type = directory_ ? FileType::dir : FileType::reg;
    bool read_only = (entry_.attributes & disk::attr_read_only) && !directory_;
    attr.mode =
        (read_only ? 0555 : 0777) & ~(directory_ ? options.directory_mask : options.file_mask);
    attr.nlink = unlinked() ? 0 : 1;
    uint32_t clusters = volume_.geometry.clusters_for(size_);
    if (directory_) clusters = chain_.known();
    attr.size =
        directory_ ? uint64_t{std::max(clusters, 1u)} << volume_.geometry.cluster_shift : size_;
    if (fixed_root_) attr.size = uint64_t{volume_.geometry.root_entries} * disk::dirent_size;
    attr.blocks = (uint64_t{clusters} << volume_.geometry.cluster_shift) / 512;
    attr.block_size = volume_.geometry.cluster_size;
    attr.mtime = time(entry_.written_date, entry_.written_time, 0);
    attr.ctime = attr.mtime;
    attr.atime = entry_.accessed_date == 0 ? attr.mtime : time(entry_.accessed_date, 0, 0);
    if (entry_.created_date != 0)
        attr.btime = time(entry_.created_date, entry_.created_time, entry_.created_centiseconds);
    if (options.system_immutable && entry_.attributes & disk::attr_system)
        attr.flags |= file_flag::immutable;
    return attr;
}

uint64_t Node::size() {
    MutexGuard guard(mutex_);
    return size_;
}

disk::DirEntry Node::entry() {
    MutexGuard guard(mutex_);
    return entry_;
}

uint64_t Node::position() {
    MutexGuard guard(mutex_);
    return position_;
}

void Node::change(FunctionRef<void(disk::DirEntry&)> edit) {
    MutexGuard guard(mutex_);
    edit(entry_);
    set_dirty();
}

void Node::move_to(Transaction& tx, uint64_t position) {
    MutexGuard guard(mutex_);
    uint64_t before = std::exchange(position_, position);
    volume_.numbers.moved(number_, before, position);
    tx.on_abort([this, before, position] {
        MutexGuard undo_guard(mutex_);
        position_ = before;
        volume_.numbers.moved(number_, position, before);
    });
}

void Node::set_unlinked(Transaction& tx) {
    MutexGuard guard(mutex_);
    unlinked_.store(true, std::memory_order_release);
    unlinked_in_ = volume_.frees.epoch();
    volume_.numbers.removed(number_, position_);
    tx.on_abort([this] {
        MutexGuard undo_guard(mutex_);
        unlinked_.store(false, std::memory_order_release);
        volume_.numbers.restored(number_, position_);
    });
}

Result<void> Node::collect(Transaction& tx) {
    MutexGuard guard(mutex_);
    dirty_.store(false, std::memory_order_release);
    if (unlinked() || is_root()) return {};
    if (cut_) TRY(cut_tail());
    if (!directory_) {
        entry_.size = static_cast<uint32_t>(size_);
        set_first_cluster(entry_, size_ == 0 ? std::nullopt : chain_.first(), volume_.geometry);
    }
    Buf sector = TRY(volume_.sector_at(position_));
    // The name is the directory's business: it may have changed since this copy was made.
    auto& target = tx.modify_as<disk::DirEntry>(sector, position_ % volume_.geometry.sector_size,
                                                WritePhase::directory);
    std::copy_n(target.name, sizeof target.name, entry_.name);
    entry_.case_bits = target.case_bits;
    target = entry_;
    return {};
}

/// Parts with the clusters that the size has no use for. Nobody has used them since: what is
/// written behind the end takes them up again.
Result<void> Node::cut_tail() {
    cut_ = false;
    uint32_t keep = volume_.geometry.clusters_for(size_);
    if (keep > 0 && !TRY(find(keep - 1))) return {};
    std::optional<Cluster> kept, tail;
    if (keep == 0) {
        tail = chain_.first();
    } else {
        kept = TRY(find(keep - 1))->run.first;
        FatEntry next = TRY(volume_.fat.get(*kept));
        if (next.kind == FatEntry::Kind::next) tail = next.next;
    }
    uint32_t count = std::max(chain_.known(), keep) - keep;
    if (keep == 0)
        chain_ = Chain();
    else
        chain_.cut(keep);
    if (!tail || !volume_.geometry.is_cluster(tail->value())) return {};
    volume_.frees.add({*tail, kept, count, false, volume_.frees.epoch()});
    return {};
}

void Node::release_clusters() {
    MutexGuard guard(mutex_);
    reservation_.drop();
    auto first = chain_.first();
    if (!first || !volume_.geometry.is_cluster(first->value())) return;
    uint32_t count = directory_ ? chain_.known()
                                : std::max(chain_.known(), volume_.geometry.clusters_for(size_));
    volume_.frees.add({*first, std::nullopt, count, directory_, unlinked_in_});
    chain_ = Chain();
    if (directory_) volume_.numbers.remove_directory(number_);
}

} // namespace rump::msdosfs
