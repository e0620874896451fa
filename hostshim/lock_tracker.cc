// Lock order checks of debug builds. The list of a thread is short (a handful of locks), so it is
// searched from its end without further structure.
#include "hostshim/lock_tracker.h"

#ifdef RUMP_TRACK_LOCKS

#include "hostshim/assertion.h"

#include <array>
#include <cstdio>

namespace rump::host::lock_tracker {
namespace {

struct Held {
    const void* lock;
    Rank rank;
    bool exclusive;
};

struct HeldList {
    std::array<Held, 64> entries;
    size_t count = 0;
};

thread_local constinit HeldList held_list{};

/// Ranks of which a thread may hold several (lock.h names the order among them).
bool several_allowed(Rank rank) {
    return rank == Rank::vnode || rank == Rank::fs_mount || rank == Rank::device;
}

} // namespace

void check_order(const void* lock, Rank rank) {
    const HeldList& list = held_list;
    for (size_t i = list.count; i-- > 0;) {
        const Held& held = list.entries[i];
        bool in_order = held.rank < rank || (held.rank == rank && several_allowed(rank));
        if (held.lock != lock && in_order) continue;
        std::fprintf(stderr, "lock of rank %d taken while one of rank %d is held%s\n",
                     static_cast<int>(rank), static_cast<int>(held.rank),
                     held.lock == lock ? ", the same one" : "");
        ASSERT(!"lock order");
    }
}

void acquired(const void* lock, Rank rank, bool exclusive) {
    HeldList& list = held_list;
    ASSERT(list.count < list.entries.size());
    list.entries[list.count++] = {lock, rank, exclusive};
}

void released(const void* lock) {
    HeldList& list = held_list;
    for (size_t i = list.count; i-- > 0;) {
        if (list.entries[i].lock != lock) continue;
        for (size_t j = i + 1; j < list.count; ++j) list.entries[j - 1] = list.entries[j];
        --list.count;
        return;
    }
    ASSERT(!"a lock is released by a thread that does not hold it");
}

bool holds(const void* lock, bool exclusive_only) {
    const HeldList& list = held_list;
    for (size_t i = list.count; i-- > 0;)
        if (list.entries[i].lock == lock) return list.entries[i].exclusive || !exclusive_only;
    return false;
}

} // namespace rump::host::lock_tracker

#endif
