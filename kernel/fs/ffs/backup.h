// Copies of the superblock, for when the first one is lost.
#pragma once

#include "kernel/fs/ffs/geometry.h"

namespace rump::ffs {

/// Where the first group's copy can be, for any place of the superblock and size of blocks; bytes.
std::vector<uint64_t> first_backup_places();

/// `found.offset` is where the first superblock belongs.
struct BackupSuperblock {
    FoundSuperblock found;
    uint64_t place = 0; // bytes
    uint32_t group = 0;
};

/// The copy in the first group, for any size of blocks. None: it is not there. EIO.
Result<std::optional<BackupSuperblock>> first_backup(host::BlockDevice& device);
/// The first copy that there is, looked for in all places that can be one of the first two groups'.
/// None: there is none. EIO.
Result<std::optional<BackupSuperblock>> search_backup(host::BlockDevice& device);

} // namespace rump::ffs
