// What the shared code asks of a format: its chains, and its map of used clusters.
#pragma once

#include "kernel/fs/clusters/cluster.h"
#include "kernel/sys/buf.h"
#include "kernel/sys/transaction.h"

#include <span>

namespace rump::clusters {

/// What an entry of the file allocation table says of its cluster.
struct FatEntry {
    enum class Kind : uint8_t {
        free,    // FAT only
        next,    // the file goes on in `next`, which is in the heap
        end,     // the file's last cluster
        bad,     // not to be used
        outside, // a number that is no cluster
    };
    Kind kind = Kind::end;
    Cluster next{};
};

/// The file allocation table as chains. Thread-safe.
class ChainTable {
public:
    /// A place in the table that a walk is at; spares it the search for the same sector again.
    struct Cursor {
        Buf buf;
    };
    /// EIO.
    virtual Result<FatEntry> get(Cluster cluster, Cursor& cursor) = 0;
    Result<FatEntry> get(Cluster cluster) {
        Cursor cursor;
        return get(cluster, cursor);
    }
    using Runs = std::span<const ClusterRun>;
    /// Marks runs as one chain, to which nothing leads yet. Phase: allocation. EIO.
    virtual Result<void> make_chain(Transaction& tx, Runs runs) = 0;
    /// Lets the chain that ends in `last` go on in that of `next`, whose marks reach the device
    /// first, if `ordered`. EIO; EAGAIN: the epoch wants the opposite order.
    virtual Result<void> link(Transaction& tx, Cluster last, Runs next, bool ordered) = 0;
    /// `last` ends its chain. EIO.
    virtual Result<void> end_chain(Transaction& tx, Cluster last) = 0;

protected:
    ~ChainTable() = default;
};

/// Which clusters are in use: FAT's table itself, exFAT's bitmap. Thread-safe.
class UsageMap {
public:
    /// Sets the bits of the clusters of `run` that are in use, from bit 0 of `used` on, and clears
    /// the others'. `run.first` is 2 and some multiple of 64. EIO.
    virtual Result<void> read_used(ClusterRun run, std::span<uint64_t> used) = 0;
    /// Marks a run as used, where that is not the chain's mark. Phase: allocation. EIO.
    virtual Result<void> set_used(Transaction& tx, ClusterRun run) = 0;
    /// Marks a run as free. Phase: allocation. EIO.
    virtual Result<void> set_free(Transaction& tx, ClusterRun run) = 0;

protected:
    ~UsageMap() = default;
};

} // namespace rump::clusters
