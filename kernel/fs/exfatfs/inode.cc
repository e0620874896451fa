// In-core nodes: attributes, and how they get back into directory entry sets.
#include "kernel/fs/exfatfs/inode.h"

#include "kernel/fs/exfatfs/volume.h"
#include "kernel/vfs/buffer_cache.h"
#include "kernel/vfs/dos_time.h"

#include <fmt/format.h>

#include <algorithm>

namespace rump::exfatfs {

using host::MutexGuard;

namespace {

/// Quarters of an hour, as entries have them.
uint8_t zone_of(int utc_offset_minutes) {
    return static_cast<uint8_t>(disk::zone_valid | ((utc_offset_minutes / 15) & 0x7f));
}

int minutes_of(uint8_t zone, int otherwise) {
    if (!(zone & disk::zone_valid)) return otherwise;
    int quarters = zone & 0x7f;
    return (quarters >= 64 ? quarters - 128 : quarters) * 15;
}

constexpr clusters::FileFormat file_format{
    .stores_lengths = true,
    .runs_without_chain = true,
    .file_size_max = file_size_max,
    .directory_bytes_max = disk::directory_bytes_max,
    .reserve_bytes_max = 16u << 20,
    .extend_bytes = 1u << 30,
};

void stamp_written(disk::FileEntry& entry, Timespec when, int utc_offset_minutes) {
    vfs::DosTime stamp = vfs::to_dos(when, utc_offset_minutes);
    entry.written_date = stamp.date;
    entry.written_time = stamp.time;
    entry.written_centiseconds = stamp.centiseconds;
    entry.written_zone = zone_of(utc_offset_minutes);
}

void stamp_accessed(disk::FileEntry& entry, Timespec when, int utc_offset_minutes) {
    vfs::DosTime stamp = vfs::to_dos(when, utc_offset_minutes);
    entry.accessed_date = stamp.date;
    entry.accessed_time = stamp.time;
    entry.accessed_zone = zone_of(utc_offset_minutes);
}

void stamp_created(disk::FileEntry& entry, Timespec when, int utc_offset_minutes) {
    vfs::DosTime stamp = vfs::to_dos(when, utc_offset_minutes);
    entry.created_date = stamp.date;
    entry.created_time = stamp.time;
    entry.created_centiseconds = stamp.centiseconds;
    entry.created_zone = zone_of(utc_offset_minutes);
}

} // namespace

void stamp_new_entry(disk::FileEntry& entry, Timespec now, int utc_offset_minutes) {
    stamp_created(entry, now, utc_offset_minutes);
    stamp_written(entry, now, utc_offset_minutes);
    stamp_accessed(entry, now, utc_offset_minutes);
}

uint32_t generation_of(const disk::FileEntry& entry) {
    uint32_t stamp = uint32_t{entry.created_date} << 16 | entry.created_time;
    return (stamp ^ entry.created_centiseconds) * 0x9e3779b1u >> 1;
}

void SetChecksum::add(std::span<const std::byte> entry) {
    for (size_t at = 0; at < entry.size(); at++) {
        if (primary_ && (at == 2 || at == 3)) continue;
        sum_ = (((sum_ & 1) << 15 | sum_ >> 1) + static_cast<uint8_t>(entry[at])) & 0xffff;
    }
    primary_ = false;
}

Node::Node(Volume& volume, InodeNumber number, SetPlace place, const SetHead& head)
    : ClusterFile(volume.space, file_format, number,
                  (head.file.attributes & disk::attr_directory) != 0, place.empty()),
      volume_(volume), place_(std::move(place)), head_(head) {
    size_ = head.stream.length;
    valid_ = is_directory() ? size_ : std::min<uint64_t>(head.stream.valid_length, size_);
    head_.file.type = disk::type_file;
    head_.stream.type = disk::type_stream;
    uint32_t first = head.stream.first_cluster;
    if (first == 0 || (size_ == 0 && !root_)) return;
    // What is impossible is met when the clusters are looked for: listing must still work.
    uint32_t clusters = volume.geometry.clusters_for(size_);
    if (head.stream.flags & disk::flag_no_chain)
        chain_ = clusters::Chain(ClusterRun{Cluster(first), clusters});
    else
        chain_ = clusters::Chain(Cluster(first));
    if (space_.was_cut && !is_directory()) chain_.end_after(clusters);
}

Attr Node::attr() {
    const clusters::Options& options = space_.options;
    MutexGuard guard(mutex_);
    const disk::FileEntry& file = head_.file;
    auto time = [&](uint16_t date, uint16_t of_day, uint8_t centiseconds, uint8_t zone) {
        return vfs::from_dos({date, of_day, centiseconds},
                             minutes_of(zone, options.utc_offset_minutes));
    };
    Attr attr;
    attr.number = number_;
    attr.type = directory_ ? FileType::dir : FileType::reg;
    bool read_only = (file.attributes & disk::attr_read_only) && !directory_;
    attr.mode =
        (read_only ? 0555 : 0777) & ~(directory_ ? options.directory_mask : options.file_mask);
    attr.nlink = unlinked() ? 0 : 1;
    uint64_t clusters = root_ ? chain_.known() : volume_.geometry.clusters_for(size_);
    attr.size = root_ ? clusters << volume_.geometry.cluster_shift : size_;
    attr.blocks = (clusters << volume_.geometry.cluster_shift) / 512;
    attr.block_size = std::min(volume_.geometry.cluster_size, 1u << 20);
    attr.mtime =
        time(file.written_date, file.written_time, file.written_centiseconds, file.written_zone);
    attr.ctime = attr.mtime;
    attr.atime = time(file.accessed_date, file.accessed_time, 0, file.accessed_zone);
    attr.btime =
        time(file.created_date, file.created_time, file.created_centiseconds, file.created_zone);
    if (options.system_immutable && (file.attributes & disk::attr_system))
        attr.flags |= file_flag::immutable;
    return attr;
}

uint16_t Node::attributes() {
    MutexGuard guard(mutex_);
    return head_.file.attributes;
}

void Node::update_head() {
    disk::StreamEntry& stream = head_.stream;
    stream.length = size_;
    stream.valid_length = directory_ ? size_ : valid_;
    auto first = chain_.first();
    stream.first_cluster = size_ == 0 || !first ? 0 : first->value();
    stream.flags = disk::flag_allocation;
    if (size_ != 0 && chain_.contiguous()) stream.flags |= disk::flag_no_chain;
}

SetHead Node::head() {
    MutexGuard guard(mutex_);
    update_head();
    return head_;
}

void Node::edit(const clusters::EntryChange& change) {
    int utc = space_.options.utc_offset_minutes;
    disk::FileEntry& file = head_.file;
    if (change.attributes) file.attributes = *change.attributes;
    if (change.read_only) {
        file.attributes &= static_cast<uint16_t>(~disk::attr_read_only);
        if (*change.read_only) file.attributes |= disk::attr_read_only;
    }
    if (change.archive) file.attributes |= disk::attr_archive;
    if (change.written) stamp_written(file, *change.written, utc);
    if (change.accessed) stamp_accessed(file, *change.accessed, utc);
    if (change.created) stamp_created(file, *change.created, utc);
}

void Node::move_to(Transaction& tx, SetPlace place) {
    MutexGuard guard(mutex_);
    SetPlace before = std::exchange(place_, std::move(place));
    uint64_t from = before[0].position, to = place_[0].position;
    space_.numbers.moved(number_, from, to);
    tx.on_abort([this, before, from, to] {
        MutexGuard undo_guard(mutex_);
        place_ = before;
        space_.numbers.moved(number_, to, from);
    });
}

/// The names in the set are the directory's business; only the first two entries are written, and
/// the checksum made anew over all as they stand.
Result<void> Node::store(Transaction& tx) {
    update_head();
    uint32_t sector_size = volume_.geometry.sector_size;
    SetChecksum sum;
    Buf first, second;
    uint64_t second_at = 0;
    uint32_t index = 0;
    for (const SetPart& part : place_)
        for (uint32_t i = 0; i < part.entries; i++, index++) {
            uint64_t at = part.position + uint64_t{i} * disk::entry_size;
            Buf sector = TRY(space_.sector_at(at));
            auto bytes = sector.bytes().subspan(at % sector_size, disk::entry_size);
            if (index == 0) {
                const auto& now = sector.as<disk::FileEntry>(at % sector_size);
                head_.file.secondaries = now.secondaries;
                sum.add(std::as_bytes(std::span(&head_.file, 1)));
                first = sector;
            } else if (index == 1) {
                const auto& now = sector.as<disk::StreamEntry>(at % sector_size);
                head_.stream.name_length = now.name_length;
                head_.stream.name_hash = now.name_hash;
                sum.add(std::as_bytes(std::span(&head_.stream, 1)));
                second = sector;
                second_at = at;
            } else {
                sum.add(bytes);
            }
        }
    host::ExclusiveGuard guard(space_.entries);
    head_.file.checksum = sum.value();
    tx.modify_as<disk::FileEntry>(first, place_[0].position % sector_size, WritePhase::directory) =
        head_.file;
    tx.modify_as<disk::StreamEntry>(second, second_at % sector_size, WritePhase::directory) =
        head_.stream;
    return {};
}

Result<uint64_t> Node::directory_offset(uint64_t position) {
    const clusters::Heap& heap = space_.heap;
    MutexGuard guard(mutex_);
    TRY(chain_length());
    uint32_t cluster = heap.cluster_at(position).value();
    uint64_t before = 0;
    for (ClusterRun run : chain_.runs_from(0)) {
        if (cluster >= run.first.value() && cluster < run.end())
            return heap.bytes_of(static_cast<uint32_t>(before) + cluster - run.first.value()) +
                   ((position - heap.heap_offset) & (heap.cluster_size - 1));
        before += run.count;
    }
    return Errno::stale;
}

} // namespace rump::exfatfs
