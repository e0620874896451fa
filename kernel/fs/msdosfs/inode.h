// Node: a file or directory in core, with its directory entry, which a node keeps a copy of and a
// commit brings up to date.
#pragma once

#include "kernel/fs/clusters/file.h"
#include "kernel/fs/msdosfs/geometry.h"

namespace rump::msdosfs {

struct Volume;

inline constexpr uint64_t file_size_max = UINT32_MAX;

/// First cluster as an entry has it; 0: none. The upper half counts on FAT32 only.
uint32_t first_cluster_of(const disk::DirEntry& entry, const Geometry& geometry);
void set_first_cluster(disk::DirEntry& entry, std::optional<Cluster> first,
                       const Geometry& geometry);
/// Time stamps of an entry, all three set to `now`.
void stamp_new_entry(disk::DirEntry& entry, Timespec now, int utc_offset_minutes);
/// Tells files apart that had one place one after the other, across mounts.
uint32_t generation_of(const disk::DirEntry& entry);

class Node final : public clusters::ClusterFile {
public:
    /// `position`: of the entry on the device; 0 for the root, whose `entry` is made up.
    Node(Volume& volume, InodeNumber number, uint64_t position, const disk::DirEntry& entry);

    Volume& volume() const { return volume_; }
    Attr attr() override;
    uint16_t attributes() override;
    disk::DirEntry entry();
    /// The entry moved to another place, and has the name that `made` has. Within a transaction,
    /// which undoes it when it fails.
    void move_to(Transaction& tx, uint64_t position, const disk::DirEntry& made);
    /// The first cluster of a directory as ".." of its children names it: 0 for a root.
    uint32_t dotdot_cluster();
    /// Also of the root of FAT12 and FAT16, which is no chain and cannot grow.
    Result<std::optional<uint64_t>> directory_position(uint64_t offset) override;
    Result<void> grow_directory(Transaction& tx) override;

    /// The epoch that it was made in; 0: before it came into core. Set before anybody sees it.
    uint64_t made_in = 0;

private:
    uint64_t position_locked() const override REQUIRES(mutex_) { return position_; }
    void edit(const clusters::EntryChange& change) override REQUIRES(mutex_);
    void set_name(const disk::DirEntry& from) REQUIRES(mutex_);
    bool executable() const REQUIRES(mutex_);
    Result<void> store(Transaction& tx) override REQUIRES(mutex_);

    Volume& volume_;
    const bool fixed_root_;
    uint64_t position_ GUARDED_BY(mutex_);
    disk::DirEntry entry_ GUARDED_BY(mutex_);
};

} // namespace rump::msdosfs
