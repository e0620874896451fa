// The file allocation table: entries of 12, 16 or 32 bits, in one to sixteen copies. FAT
// specification, 4.
//
// Blocks of the table in the buffer cache are sectors: what a power cut does not tear.
#pragma once

#include "kernel/fs/clusters/table.h"
#include "kernel/fs/msdosfs/geometry.h"
#include "kernel/sys/mount.h"
#include "kernel/sys/transaction.h"

#include "hostshim/lock.h"

#include <utility>

namespace rump::msdosfs {

using clusters::FatEntry;

/// Chains, and which clusters are used, in one.
class FatTable final : public clusters::ChainTable, public clusters::UsageMap {
public:
    FatTable(Mount& mount, const Geometry& geometry) : mount_(mount), geometry_(geometry) {}

    using ChainTable::get;
    /// EIO (no copy can be read).
    Result<FatEntry> get(Cluster cluster, Cursor& cursor) override;
    Result<void> make_chain(Transaction& tx, Runs runs) override;
    Result<void> link(Transaction& tx, Cluster last, Runs next, bool ordered) override;
    Result<void> end_chain(Transaction& tx, Cluster last) override;
    Result<void> read_used(ClusterRun run, std::span<uint64_t> used) override;
    Result<void> set_used(Transaction&, ClusterRun) override { return {}; } // by its chain
    Result<void> set_free(Transaction& tx, ClusterRun run) override;

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
    struct Entries {
        uint32_t first = 0;
        uint32_t count = 0;
        uint32_t end() const { return first + count; }
    };
    Result<void> fill(Transaction& tx, Entries entries, WritePhase phase, Values value);
    /// `at`: the sector of the table that was changed last.
    Result<void> fill_copy(Transaction& tx, uint32_t copy, Entries entries, WritePhase phase,
                           Values value, Buf& at) REQUIRES(mutex_);
    Result<std::pair<Buf, Buf>> sectors_of(uint32_t copy, Cluster cluster);
    Result<void> order_before(Transaction& tx, uint32_t copy, Runs runs, Buf& then);
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
