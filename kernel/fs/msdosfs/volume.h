// Volume: what a mounted FAT file system consists of beside its vnodes.
#pragma once

#include "kernel/fs/clusters/space.h"
#include "kernel/fs/msdosfs/fat.h"
#include "kernel/fs/msdosfs/names.h"

namespace rump::msdosfs {

struct Volume {
    Volume(Mount& mount, Geometry layout, NameRules names, const clusters::Options& options,
           std::optional<uint32_t> free_hint, std::optional<uint32_t> next_hint)
        : mount(mount), geometry(std::move(layout)), names(std::move(names)), fat(mount, geometry),
          space(mount, geometry, fat, fat, options, free_hint, next_hint) {}

    Mount& mount;
    const Geometry geometry;
    const NameRules names;
    FatTable fat;
    clusters::Space space;

    /// What DirentNumbers counts directories' places in: clusters; 0 for the root area of FAT12 and
    /// FAT16.
    uint64_t unit_of(uint64_t position) const {
        return geometry.in_heap(position) ? geometry.cluster_at(position).value() : 0;
    }
};

} // namespace rump::msdosfs
