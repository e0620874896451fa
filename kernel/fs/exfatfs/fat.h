// The file allocation table (specification, 4.1), and the allocation bitmap (7.1) that says which
// clusters are in use. A file whose clusters are consecutive has no chain in the table.
//
// Blocks in the buffer cache are sectors: what a power cut does not tear. Of a TexFAT volume the
// active table and bitmap are used, as its boot sector says.
#pragma once

#include "kernel/fs/exfatfs/geometry.h"
#include "kernel/sys/buf.h"
#include "kernel/sys/mount.h"
#include "kernel/sys/transaction.h"

#include "hostshim/lock.h"

namespace rump::exfatfs {

/// What an entry of the table says.
struct FatEntry {
    enum class Kind : uint8_t {
        next,    // the file goes on in `next`, which is in the heap
        end,     // the file's last cluster
        bad,     // not to be used
        outside, // a number that is no cluster
    };
    Kind kind = Kind::end;
    Cluster next{};
};

class FatTable {
public:
    FatTable(Mount& mount, const Geometry& geometry) : mount_(mount), geometry_(geometry) {}

    /// A place in the table that a walk is at.
    struct Cursor {
        Buf buf;
    };
    /// EIO.
    Result<FatEntry> get(Cluster cluster, Cursor& cursor);
    Result<FatEntry> get(Cluster cluster) {
        Cursor cursor;
        return get(cluster, cursor);
    }
    /// Marks a run as a chain of its own. EIO.
    Result<void> make_chain(Transaction& tx, ClusterRun run);
    /// Lets the chain that ends in `last` go on in `next`, whose own mark reaches the device first.
    /// EIO.
    Result<void> link(Transaction& tx, Cluster last, Cluster next);
    Result<void> end_chain(Transaction& tx, Cluster last);

private:
    Result<Buf> sector(uint32_t number);
    Result<void> set(Transaction& tx, uint32_t number, uint32_t value, WritePhase phase);

    Mount& mount_;
    const Geometry& geometry_;
    host::Mutex mutex_{host::Rank::fs_group};
};

class Bitmap {
public:
    /// `runs`: where the bitmap is, enough of them for every cluster.
    Bitmap(Mount& mount, const Geometry& geometry, std::vector<ClusterRun> runs)
        : mount_(mount), geometry_(geometry), runs_(std::move(runs)) {}

    /// Marks clusters as used or free. Phase: allocation. EIO.
    Result<void> mark(Transaction& tx, ClusterRun run, bool used);
    /// Copies the bytes for clusters [first + 2, …), first a multiple of 8. EIO.
    Result<void> read(uint32_t first, std::span<std::byte> out);

private:
    uint64_t offset_of(uint64_t byte) const;
    Result<void> mark_byte(Transaction& tx, Buf& buf, size_t at, uint8_t mask, bool used)
        REQUIRES(mutex_);

    Mount& mount_;
    const Geometry& geometry_;
    const std::vector<ClusterRun> runs_;
    /// Held while bits change, not while a transaction lasts: clusters of different files share
    /// bytes.
    host::Mutex mutex_{host::Rank::fs_group};
};

} // namespace rump::exfatfs
