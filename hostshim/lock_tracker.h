// What the calling thread holds, to check the lock order and to answer held() exactly. Only in
// builds that track locks (lock_tracking in lock.h). Private to hostshim.
#pragma once

#include "hostshim/lock.h"

namespace rump::host::lock_tracker {

#ifndef RUMP_TRACK_LOCKS

inline void check_order(const void*, Rank) {}
inline void acquired(const void*, Rank, bool) {}
inline void released(const void*) {}
inline bool holds(const void*, bool) { return true; }

#else

/// Before waiting for a lock: asserts that its rank is above all that are held.
void check_order(const void* lock, Rank rank);
void acquired(const void* lock, Rank rank, bool exclusive);
void released(const void* lock);
bool holds(const void* lock, bool exclusive_only);

#endif

} // namespace rump::host::lock_tracker
