// Who judges what a cut of power leaves of a FAT or an exFAT: our own check, and fsck.fat or
// fsck.exfat.
#pragma once

#include "tests/crash/explorer.h"

namespace rump::crash {

/// Sets subject.check and subject.look_at_cut. `longest_names`: with some that take more than a
/// sector, of which a cut can leave a part.
void judge_as_fat(Subject& subject, bool longest_names = false);

} // namespace rump::crash
