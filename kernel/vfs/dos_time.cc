// DOS dates and times to seconds since 1970 and back, by the proleptic Gregorian calendar.
#include "kernel/vfs/dos_time.h"

#include <algorithm>

namespace rump::vfs {

namespace {

constexpr int64_t seconds_per_day = 86400;

constexpr bool is_leap(unsigned year) {
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

constexpr unsigned days_in_month(unsigned year, unsigned month) {
    constexpr unsigned days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    return month == 2 && is_leap(year) ? 29 : days[month - 1];
}

/// Days from 1970-01-01 to the first of January of `year`, 1970 or later.
constexpr int64_t days_before_year(unsigned year) {
    int64_t y = year - 1;
    return (y * 365 + y / 4 - y / 100 + y / 400) -
           (1969 * 365 + 1969 / 4 - 1969 / 100 + 1969 / 400);
}

} // namespace

Timespec from_dos(DosTime stamp, int utc_offset_minutes) {
    unsigned year = 1980 + (stamp.date >> 9);
    unsigned month = std::clamp<unsigned>(stamp.date >> 5 & 15, 1, 12);
    unsigned day = std::clamp<unsigned>(stamp.date & 31, 1, days_in_month(year, month));
    int64_t days = days_before_year(year) + day - 1;
    for (unsigned m = 1; m < month; m++) days += days_in_month(year, m);

    unsigned hour = std::min<unsigned>(stamp.time >> 11, 23);
    unsigned minute = std::min<unsigned>(stamp.time >> 5 & 63, 59);
    unsigned second = std::min<unsigned>(stamp.time & 31, 29) * 2;
    unsigned centiseconds = std::min<unsigned>(stamp.centiseconds, 199);
    int64_t sec = days * seconds_per_day + hour * 3600 + minute * 60 + second + centiseconds / 100;
    return {sec - utc_offset_minutes * 60LL, centiseconds % 100 * 10'000'000};
}

DosTime to_dos(Timespec when, int utc_offset_minutes) {
    int64_t sec = when.sec + utc_offset_minutes * 60LL;
    uint32_t nsec = when.nsec;
    if (sec < dos_time_first) sec = dos_time_first, nsec = 0;
    if (sec > dos_time_last) sec = dos_time_last, nsec = 990'000'000;

    int64_t days = sec / seconds_per_day;
    auto of_day = static_cast<unsigned>(sec % seconds_per_day);
    auto year = static_cast<unsigned>(1970 + days / 366); // never too late; corrected below
    while (days_before_year(year + 1) <= days) year++;
    auto day = static_cast<unsigned>(days - days_before_year(year));
    unsigned month = 1;
    for (; day >= days_in_month(year, month); month++) day -= days_in_month(year, month);

    DosTime stamp;
    stamp.date = static_cast<uint16_t>((year - 1980) << 9 | month << 5 | (day + 1));
    stamp.time =
        static_cast<uint16_t>(of_day / 3600 << 11 | of_day / 60 % 60 << 5 | of_day % 60 / 2);
    stamp.centiseconds = static_cast<uint8_t>(of_day % 2 * 100 + nsec / 10'000'000);
    return stamp;
}

} // namespace rump::vfs
