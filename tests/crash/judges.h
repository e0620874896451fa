// Who judges what a cut of power leaves of each type.
#pragma once

#include "tests/crash/explorer.h"

namespace rump::crash {

/// ext2: e2fsck makes it whole.
std::function<Complaint(host::BlockDevice&)> mended_by_e2fsck();

/// FFS: our own check; with a log mounting is enough. Sets subject.check and
/// subject.verify_after_mount.
void judge_as_ffs(Subject& subject, bool logged);

/// FAT and exFAT: our own check, and fsck.fat or fsck.exfat. Sets subject.check and
/// subject.look_at_cut. `longest_names`: with some that take more than a
/// sector, of which a cut can leave a part.
void judge_as_fat(Subject& subject, bool longest_names = false);

} // namespace rump::crash
