// Dates and times as DOS packs them, in the directory entries of FAT (Microsoft FAT specification,
// 6.3) and exFAT (exFAT specification, 7.4.8): a date of 7 bits year since 1980, 4 month, 5 day; a
// time of 5 bits hour, 6 minute, 5 half seconds; a count of 10 ms units beside them. Local times:
// the caller says how far from UTC.
#pragma once

#include "hostshim/clock.h"

namespace rump::vfs {

struct DosTime {
    uint16_t date = 0;
    uint16_t time = 0;
    uint8_t centiseconds = 0; // 0 to 199, added to `time`
    bool operator==(const DosTime&) const = default;
};

/// 1980-01-01 00:00:00 and 2107-12-31 23:59:59, in seconds since 1970, as local times.
inline constexpr int64_t dos_time_first = 315532800;
inline constexpr int64_t dos_time_last = 4354819199;

/// Fields that no calendar has (month 0 or 13, 30 February, second 62) are moved to the nearest
/// that one has. `utc_offset_minutes`: local time less UTC.
Timespec from_dos(DosTime stamp, int utc_offset_minutes);
/// Rounded down to 10 ms; clamped to the years 1980 to 2107.
DosTime to_dos(Timespec when, int utc_offset_minutes);

} // namespace rump::vfs
