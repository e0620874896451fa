// Volume: what a mounted exFAT file system consists of beside its vnodes.
#pragma once

#include "kernel/fs/clusters/space.h"
#include "kernel/fs/exfatfs/fat.h"
#include "kernel/fs/exfatfs/names.h"

#include <string>
#include <vector>

namespace rump::exfatfs {

/// What the root directory says of the volume (system.cc).
struct SystemFiles {
    std::vector<ClusterRun> bitmap;
    vfs::UpcaseTable upcase;
    std::string upcase_damage; // why it is the standard one and not the volume's; empty: it is
    std::u16string label;
};

struct Volume {
    Volume(Mount& mount, const Geometry& layout, const clusters::Options& options,
           SystemFiles system)
        : mount(mount), geometry(layout), upcase(std::move(system.upcase)),
          upcase_damage(std::move(system.upcase_damage)), label(std::move(system.label)),
          fat(mount, geometry), bitmap(mount, geometry, std::move(system.bitmap)),
          space(mount, geometry, fat, bitmap, options, std::nullopt, std::nullopt) {}

    Mount& mount;
    const Geometry geometry;
    const vfs::UpcaseTable upcase;
    const std::string upcase_damage;
    const std::u16string label;
    FatTable fat;
    Bitmap bitmap;
    clusters::Space space;
};

/// Reads the root directory of an unmounted volume: bitmap, up-case table, label. A table that is
/// missing or damaged is replaced by the standard one, which nearly all volumes have. Failures:
/// EUCLEAN (what is missing or wrong), EOPNOTSUPP (an entry that must be understood and is not),
/// EIO.
FailureOr<SystemFiles> read_system_files(host::BlockDevice& device, const Geometry& geometry);

} // namespace rump::exfatfs
