// The file allocation table (specification, 4.1), and the allocation bitmap (7.1) that says which
// clusters are in use. A file whose clusters are consecutive has no chain in the table.
//
// Blocks in the buffer cache are sectors: what a power cut does not tear. Of a TexFAT volume the
// active table and bitmap are used, as its boot sector says.
#pragma once

#include "kernel/fs/clusters/table.h"
#include "kernel/fs/exfatfs/geometry.h"
#include "kernel/sys/mount.h"
#include "kernel/sys/transaction.h"

#include "hostshim/lock.h"

namespace rump::exfatfs {

using clusters::FatEntry;

class FatTable final : public clusters::ChainTable {
public:
    FatTable(Mount& mount, const Geometry& geometry) : mount_(mount), geometry_(geometry) {}

    using ChainTable::get;
    Result<FatEntry> get(Cluster cluster, Cursor& cursor) override;
    Result<void> make_chain(Transaction& tx, Runs runs) override;
    Result<void> link(Transaction& tx, Cluster last, Runs next, bool ordered) override;
    Result<void> end_chain(Transaction& tx, Cluster last) override;

private:
    Result<Buf> sector(uint32_t number);
    Result<void> set(Transaction& tx, uint32_t number, uint32_t value, WritePhase phase);

    Mount& mount_;
    const Geometry& geometry_;
    host::Mutex mutex_{host::Rank::fs_group};
};

class Bitmap final : public clusters::UsageMap {
public:
    /// `runs`: where the bitmap is, enough of them for every cluster.
    Bitmap(Mount& mount, const Geometry& geometry, std::vector<ClusterRun> runs)
        : mount_(mount), geometry_(geometry), runs_(std::move(runs)) {}

    Result<void> read_used(ClusterRun run, std::span<uint64_t> used) override;
    Result<void> set_used(Transaction& tx, ClusterRun run) override { return mark(tx, run, true); }
    Result<void> set_free(Transaction& tx, ClusterRun run) override { return mark(tx, run, false); }

private:
    uint64_t offset_of(uint64_t byte) const;
    Result<void> mark(Transaction& tx, ClusterRun run, bool used);
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
