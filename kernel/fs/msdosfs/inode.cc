// In-core nodes: attributes, and how they get back into directory entries.
#include "kernel/fs/msdosfs/inode.h"

#include "kernel/fs/msdosfs/volume.h"
#include "kernel/vfs/buffer_cache.h"
#include "kernel/vfs/dos_time.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

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

namespace {

/// A file's clusters are all written; a directory's size is that of its chain.
constexpr clusters::FileFormat file_format{
    .stores_lengths = false,
    .runs_without_chain = false,
    .file_size_max = file_size_max,
    .directory_bytes_max = uint64_t{disk::directory_entries_max} * disk::dirent_size,
    .reserve_bytes_max = 8u << 20,
    .extend_bytes = 8u << 20,
};

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

} // namespace

void stamp_new_entry(disk::DirEntry& entry, Timespec now, int utc_offset_minutes) {
    stamp_created(entry, now, utc_offset_minutes);
    stamp_written(entry, now, utc_offset_minutes);
    stamp_accessed(entry, now, utc_offset_minutes);
}

uint32_t generation_of(const disk::DirEntry& entry) {
    uint32_t stamp = uint32_t{entry.created_date} << 16 | entry.created_time;
    return (stamp ^ entry.created_centiseconds) * 0x9e3779b1u >> 1;
}

Node::Node(Volume& volume, InodeNumber number, uint64_t position, const disk::DirEntry& entry)
    : ClusterFile(volume.space, file_format, number, entry.attributes & disk::attr_directory,
                  position == 0),
      volume_(volume), fixed_root_(is_root() && !volume.geometry.is_fat32()), position_(position),
      entry_(entry) {
    if (!is_directory()) size_ = valid_ = entry.size;
    uint32_t first = first_cluster_of(entry, volume.geometry);
    // An impossible number is met when the chain is walked: listing the directory must still work.
    if (first != 0) chain_ = clusters::Chain(Cluster(first));
    if (is_directory()) return;
    if (space_.was_cut) {
        chain_.end_after(volume.geometry.clusters_for(size_));
        if (size_ == 0) chain_ = clusters::Chain();
    }
    cut_ = size_ == 0 && chain_.first();
}

/// What DOS would run, with `showexec`; else everything.
bool Node::executable() const {
    if (directory_ || !volume_.space.options.show_executables) return true;
    std::string_view extension(reinterpret_cast<const char*>(&entry_.name[8]), 3);
    return extension == "EXE" || extension == "COM" || extension == "BAT";
}

Attr Node::attr() {
    const clusters::Options& options = volume_.space.options;
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
    if (!executable()) attr.mode &= ~0111u;
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

uint16_t Node::attributes() {
    MutexGuard guard(mutex_);
    return entry_.attributes;
}

disk::DirEntry Node::entry() {
    MutexGuard guard(mutex_);
    return entry_;
}

void Node::edit(const clusters::EntryChange& change) {
    int utc = volume_.space.options.utc_offset_minutes;
    if (change.attributes) entry_.attributes = static_cast<uint8_t>(*change.attributes);
    if (change.read_only) {
        entry_.attributes &= static_cast<uint8_t>(~disk::attr_read_only);
        if (*change.read_only) entry_.attributes |= disk::attr_read_only;
    }
    if (change.archive) entry_.attributes |= disk::attr_archive;
    if (change.written) stamp_written(entry_, *change.written, utc);
    if (change.accessed) stamp_accessed(entry_, *change.accessed, utc);
    if (change.created) stamp_created(entry_, *change.created, utc);
}

void Node::set_name(const disk::DirEntry& from) {
    std::copy_n(from.name, sizeof from.name, entry_.name);
    entry_.case_bits = from.case_bits;
}

void Node::move_to(Transaction& tx, uint64_t position, const disk::DirEntry& made) {
    MutexGuard guard(mutex_);
    uint64_t before = std::exchange(position_, position);
    const disk::DirEntry entry_before = entry_;
    set_name(made);
    space_.numbers.moved(number_, before, position);
    tx.on_abort([this, before, position, entry_before] {
        MutexGuard undo_guard(mutex_);
        position_ = before;
        set_name(entry_before);
        space_.numbers.moved(number_, position, before);
    });
}

Result<void> Node::store(Transaction& tx) {
    if (!directory_) {
        entry_.size = static_cast<uint32_t>(size_);
        set_first_cluster(entry_, size_ == 0 ? std::nullopt : chain_.first(), volume_.geometry);
    }
    Buf sector = TRY(space_.sector_at(position_));
    host::ExclusiveGuard guard(space_.entries);
    tx.modify_as<disk::DirEntry>(sector, position_ % volume_.geometry.sector_size,
                                 WritePhase::directory) = entry_;
    return {};
}

// --- directories ---------------------------------------------------------------------------------

Result<std::optional<uint64_t>> Node::directory_position(uint64_t offset) {
    using Place = std::optional<uint64_t>;
    if (!fixed_root_) return ClusterFile::directory_position(offset);
    if (offset >= uint64_t{volume_.geometry.root_entries} * disk::dirent_size) return Place{};
    return Place{volume_.geometry.root_offset + offset};
}

Result<void> Node::grow_directory(Transaction& tx) {
    if (fixed_root_) return Errno::nospc;
    return ClusterFile::grow_directory(tx);
}

uint32_t Node::dotdot_cluster() {
    MutexGuard guard(mutex_);
    return is_root() || !chain_.first() ? 0 : chain_.first()->value();
}

} // namespace rump::msdosfs
