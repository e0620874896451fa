// Writing NetBSD's log (wapbl(4)): one transaction of the log for each epoch.
//
//     records beside the ones in the log ──flush──> header names the new ones
//     ──flush──> home
//
// The flush before a header also makes the blocks durable that the commit
// before wrote home, so a header names one transaction only, the latest, and
// the ring never fills up. The list of inodes in use without a name goes with
// each. Of a block only the sectors that changed are logged: blocks of 64 KiB in a log of 1 MiB
// would leave room for few operations.
#pragma once

#include "kernel/fs/ffs/volume.h"
#include "kernel/fs/ffs/wapbl.h"

#include "kernel/vfs/journal.h"

#include <memory>

namespace rump::ffs {

class WapblJournal final : public Journal {
public:
    /// Starts an empty log in the place; `unlinked` go into its first
    /// transaction. EIO; EUCLEAN: the place is too small.
    static FailureOr<std::unique_ptr<WapblJournal>> create(Volume& volume, const LogPlace& place,
                                                           std::span<const LogInode> unlinked);

    Result<void> commit(std::span<const StagedBlock> blocks, bool data_pending) override;
    Result<void> checkpoint() override;
    /// Counts whole blocks: at most half full of those, as what is under way needs room, too.
    bool has_room(uint64_t dirty_bytes) const override;

private:
    WapblJournal(Volume& volume, const LogPlace& place, const LogHeader& header)
        : volume_(volume), place_(place), header_(header),
          fallback_(make_ordered_journal(volume.mount.device())) {}

    using InodeList = std::vector<std::pair<uint64_t, uint16_t>>;
    uint64_t records_size(std::span<const StagedBlock> blocks, const InodeList& inodes) const;
    std::vector<std::byte> build(std::span<const StagedBlock> blocks,
                                 const InodeList& inodes) const;
    Result<void> write_ring(uint64_t at, std::span<const std::byte> bytes);
    Result<void> write_header(uint64_t head, uint64_t tail);
    Result<void> clear();
    Result<std::vector<StagedBlock>> changed_parts(std::span<const StagedBlock> blocks) const;
    Result<void> commit_without_log(std::span<const StagedBlock> blocks, bool data_pending);
    Result<void> write_home(std::span<const StagedBlock> blocks);
    uint64_t advance(uint64_t at, uint64_t length) const;
    uint64_t log_block() const { return uint64_t{1} << header_.log_shift; }

    Volume& volume_;
    const LogPlace place_;
    LogHeader header_;                        // as on the device
    const std::unique_ptr<Journal> fallback_; // for an epoch that is larger than the log
};

} // namespace rump::ffs
