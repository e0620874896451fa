// File numbers for formats without inodes (FAT, exFAT): a file is where its directory entry is.
//
//     number = byte offset of the entry on the device / 32          as long as nothing moves
//
// A file that is renamed keeps its number, and a file that is made where another one was gets a
// number that was never used before: both are remembered here while they exist. So a number means
// one file from mount to unmount, and files that were not touched have the same one at the next
// mount.
//
// Also here: which directory an entry lies in, by the clusters of the directories that were met, so
// that a number leads back to its directory; and that no cluster belongs to two directories, which
// is what keeps a damaged tree from going round in circles.
#pragma once

#include "kernel/sys/types.h"

#include "hostshim/lock.h"

#include <map>
#include <unordered_map>
#include <unordered_set>

namespace rump::vfs {

/// Thread-safe. Positions are byte offsets of directory entries on the device, multiples of 32.
class DirentNumbers {
public:
    static constexpr uint64_t entry_size = 32;
    /// The number of a root directory, which has no entry.
    static constexpr InodeNumber root{1};

    /// The number of the file whose entry is at `position`.
    InodeNumber at(uint64_t position) const;
    /// Where the entry of `number` is. ESTALE: there is no such file (any more).
    Result<uint64_t> position_of(InodeNumber number) const;
    /// True for numbers that only this mount knows: not of use after it.
    static bool only_this_mount(InodeNumber number) { return number.value() >= first_fresh; }

    /// A file is made at `position`. `never_used`: no file was there since mounting.
    InodeNumber created(uint64_t position, bool never_used);
    /// Its entry is elsewhere now. `from`: where it was.
    void moved(InodeNumber number, uint64_t from, uint64_t to);
    /// Its entry is gone (the file may still be open); the number is not used again.
    void removed(InodeNumber number, uint64_t position);
    /// The opposite, for a transaction that is undone.
    void restored(InodeNumber number, uint64_t position);

    // --- directories; units are what the format allocates (clusters) ----------------------------

    /// `units` of them from `first` belong to directory `number`. EUCLEAN: one belongs to another.
    Result<void> add_directory(InodeNumber number, uint64_t first, uint64_t units);
    /// The opposite for units that were added by one call, for a transaction that is undone.
    void remove_units(uint64_t first);
    /// The directory is gone. Its units count as used from now on: see recycled().
    void remove_directory(InodeNumber number);
    /// The directory that `unit` belongs to; number 0: none that was met.
    InodeNumber directory_of(uint64_t unit) const;
    /// `unit` was part of a directory that is gone: entries in it may have had numbers before.
    bool recycled(uint64_t unit) const;

private:
    static constexpr uint64_t first_fresh = uint64_t{1} << 56;

    struct Run {
        uint64_t units;
        InodeNumber directory;
    };

    mutable host::Mutex mutex_{host::Rank::fs_mount};
    uint64_t next_fresh_ GUARDED_BY(mutex_) = first_fresh;
    std::unordered_map<uint64_t, uint64_t> number_at_ GUARDED_BY(mutex_);   // position -> number
    std::unordered_map<uint64_t, uint64_t> position_of_ GUARDED_BY(mutex_); // number -> position
    std::map<uint64_t, Run> runs_ GUARDED_BY(mutex_);                       // by first unit
    std::unordered_multimap<uint64_t, uint64_t>
        runs_of_ GUARDED_BY(mutex_); // directory -> first unit
    std::unordered_set<uint64_t> recycled_ GUARDED_BY(mutex_);
};

} // namespace rump::vfs
