// Volume: what a mounted exFAT file system consists of beside its vnodes.
#pragma once

#include "kernel/fs/exfatfs/alloc.h"
#include "kernel/fs/exfatfs/fat.h"
#include "kernel/fs/exfatfs/frees.h"
#include "kernel/fs/exfatfs/geometry.h"
#include "kernel/fs/exfatfs/names.h"
#include "kernel/vfs/dirent_numbers.h"

#include <memory>
#include <string>
#include <vector>

namespace rump::exfatfs {

class Node;

/// Mount options of this file system (type.cc says what each is for).
struct VolumeOptions {
    int utc_offset_minutes = 0; // of stamps that say none, and of those that are written
    uint32_t file_mask = 022;
    uint32_t directory_mask = 022;
    bool quiet = false;
    bool discard = false;
    bool list_attributes = false;
    bool system_immutable = false;
};

/// What the root directory says of the volume (system.cc).
struct SystemFiles {
    std::vector<ClusterRun> bitmap;
    vfs::UpcaseTable upcase;
    std::u16string label;
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
    Volume(Mount& mount, const Geometry& geometry, VolumeOptions options, SystemFiles system)
        : mount(mount), geometry(geometry), options(options), upcase(std::move(system.upcase)),
          label(std::move(system.label)), fat(mount, this->geometry),
          bitmap(mount, this->geometry, std::move(system.bitmap)), clusters(bitmap, this->geometry),
          frees(mount, this->geometry, fat, clusters, this->options.discard) {}

    Mount& mount;
    const Geometry geometry;
    const VolumeOptions options;
    const vfs::UpcaseTable upcase;
    const std::u16string label;
    FatTable fat;
    Bitmap bitmap;
    Allocator clusters;
    PendingFrees frees;
    vfs::DirentNumbers numbers;
    DirtyNodes dirty;

    /// The sector that holds a byte of a directory. EIO.
    Result<Buf> sector_at(uint64_t position);
};

/// Reads the root directory of an unmounted volume: bitmap, up-case table, label. Failures: EUCLEAN
/// (what is missing or wrong), EOPNOTSUPP (an entry that must be understood and is not), EIO.
FailureOr<SystemFiles> read_system_files(host::BlockDevice& device, const Geometry& geometry);

} // namespace rump::exfatfs
