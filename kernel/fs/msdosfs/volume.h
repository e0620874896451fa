// Volume: what a mounted FAT file system consists of beside its vnodes.
#pragma once

#include "kernel/fs/msdosfs/alloc.h"
#include "kernel/fs/msdosfs/fat.h"
#include "kernel/fs/msdosfs/frees.h"
#include "kernel/fs/msdosfs/geometry.h"
#include "kernel/fs/msdosfs/names.h"
#include "kernel/vfs/dirent_numbers.h"

#include <memory>
#include <vector>

namespace rump::msdosfs {

class Node;

/// Mount options of this file system (vfsops.cc says what each is for).
struct VolumeOptions {
    NameRules names;
    int utc_offset_minutes = 0;
    uint32_t file_mask = 022;
    uint32_t directory_mask = 022;
    bool quiet = false;
    bool discard = false;
    bool list_attributes = false;
    bool system_immutable = false;
};

/// Nodes whose directory entries a commit has yet to bring up to date. They live until it has.
class DirtyNodes {
public:
    void add(std::shared_ptr<Node> node);
    std::vector<std::shared_ptr<Node>> take();

private:
    host::Mutex mutex_{host::Rank::fs_mount};
    std::vector<std::shared_ptr<Node>> nodes_ GUARDED_BY(mutex_);
};

struct Volume {
    Volume(Mount& mount, Geometry geometry, VolumeOptions options,
           std::optional<uint32_t> free_hint, std::optional<uint32_t> next_hint)
        : mount(mount), geometry(std::move(geometry)), options(std::move(options)),
          fat(mount, this->geometry), clusters(fat, this->geometry, free_hint, next_hint),
          frees(mount, this->geometry, fat, clusters, this->options.discard) {}

    Mount& mount;
    const Geometry geometry;
    const VolumeOptions options;
    FatTable fat;
    Allocator clusters;
    PendingFrees frees;
    vfs::DirentNumbers numbers;
    DirtyNodes dirty;

    /// The sector that holds a byte of a directory. EIO.
    Result<Buf> sector_at(uint64_t position);
    /// What DirentNumbers counts directories' places in: clusters; 0 for the root area of FAT12 and
    /// FAT16.
    uint64_t unit_of(uint64_t position) const {
        return geometry.in_data_area(position) ? geometry.cluster_at(position).value() : 0;
    }
};

} // namespace rump::msdosfs
