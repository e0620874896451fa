// The file allocation table: entries of 12, 16 or 32 bits, in one to sixteen copies. FAT
// specification, 4.
//
// Blocks of the table in the buffer cache are sectors: what a power cut does not tear.
#pragma once

#include "kernel/fs/msdosfs/geometry.h"
#include "kernel/sys/buf.h"
#include "kernel/sys/mount.h"
#include "kernel/sys/transaction.h"

#include "hostshim/lock.h"

namespace rump::msdosfs {

/// What an entry says of its cluster.
struct FatEntry {
    enum class Kind : uint8_t {
        free,
        next,    // the file goes on in `next`, which is in the data area
        end,     // the file's last cluster
        bad,     // not to be used
        outside, // a number that is no cluster: 1, or behind the data area
    };
    Kind kind = Kind::free;
    Cluster next{};
    uint32_t raw = 0;
};

/// Consecutive clusters.
struct ClusterRun {
    Cluster first{};
    uint32_t count = 0;
    uint32_t end() const { return first.value() + count; }
};

class FatTable {
public:
    FatTable(Mount& mount, const Geometry& geometry) : mount_(mount), geometry_(geometry) {}

    /// A place in the table that a walk is at; spares it the search for the same sector again.
    struct Cursor {
        Buf buf;
    };
    /// EIO (no copy can be read).
    Result<FatEntry> get(Cluster cluster, Cursor& cursor);
    Result<FatEntry> get(Cluster cluster) {
        Cursor cursor;
        return get(cluster, cursor);
    }

    /// Marks a newly allocated run as a chain of its own. Phase: allocation. EIO.
    Result<void> make_chain(Transaction& tx, ClusterRun run);
    /// Lets the chain that ends in `last` go on in `next`, whose own mark reaches the device first.
    /// EIO.
    Result<void> link(Transaction& tx, Cluster last, Cluster next);
    /// `last` ends its chain. EIO.
    Result<void> end_chain(Transaction& tx, Cluster last);
    /// Marks a run as free. EIO.
    Result<void> clear(Transaction& tx, ClusterRun run);
    /// Calls `visit` for the entries of a run, in order. EIO.
    Result<void> scan(ClusterRun run, FunctionRef<void(Cluster, const FatEntry&)> visit);

    /// The table's entry 1, where Windows keeps its marks; 0xffffffff for FAT12, which has none.
    /// EIO.
    Result<uint32_t> state();
    Result<void> set_state(Transaction& tx, uint32_t state);
    /// After a crash: copies the active table over others that differ; the number of sectors that
    /// did.
    Result<uint32_t> repair_mirrors(Transaction& tx);

private:
    using Values = FunctionRef<uint32_t(uint32_t number)>;

    FatEntry classify(uint32_t raw) const;
    uint32_t end_mark() const;
    uint64_t byte_of(uint32_t number) const;
    Result<Buf> sector(uint32_t copy, uint64_t byte);
    Result<Buf> readable_sector(uint64_t byte);
    Result<uint32_t> raw(uint32_t number, Cursor& cursor) REQUIRES(mutex_);
    Result<void> fill(Transaction& tx, uint32_t first, uint32_t count, WritePhase phase,
                      Values value);
    Result<void> fill_copy(Transaction& tx, uint32_t copy, uint32_t first, uint32_t count,
                           WritePhase phase, Values value) REQUIRES(mutex_);
    Result<void> set12(Transaction& tx, uint32_t copy, uint32_t number, uint32_t value,
                       WritePhase phase) REQUIRES(mutex_);

    // constant after construction
    Mount& mount_;
    const Geometry& geometry_;

    /// Held while entries are read or written, not while a transaction lasts: entries of different
    /// clusters share sectors, on FAT12 even bytes.
    host::Mutex mutex_{host::Rank::fs_group};
};

} // namespace rump::msdosfs
