// The allocator: which cylinder group, which blocks, fragments and inodes
// (McKusick et al., section 3.3; directory placement after Orlov). All changes
// go to the groups' blocks at once and are taken back one by one when the
// transaction is undone: groups are shared by transactions.
#pragma once

#include "kernel/fs/ffs/group.h"

#include "kernel/sys/buf.h"
#include "kernel/sys/transaction.h"

#include "hostshim/function_ref.h"
#include "hostshim/lock.h"

#include <atomic>
#include <memory>
#include <optional>
#include <vector>

namespace rump::ffs {

class Volume;

/// Counts over the file system (struct csum_total).
struct Totals {
    int64_t ndir = 0, nbfree = 0, nifree = 0, nffree = 0;
};

/// Consecutive fragments.
struct FragRun {
    FragNumber start;
    uint32_t frags = 0;
};

class Allocator {
public:
    explicit Allocator(Volume& volume);
    ~Allocator();

    /// Reads the summary area. Before anything else; EIO, EUCLEAN.
    Result<void> load_summary();
    Totals totals() const;
    /// Unclean file systems: counts come from the groups themselves. EIO,
    /// EUCLEAN.
    Result<void> recount();

    /// 1 to `want` whole blocks in one run, at `pref` (an address; 0: none) if
    /// that is free, else in group `cg` or, when that is full, in others. ENOSPC.
    Result<FragRun> alloc_blocks(Transaction& tx, uint64_t pref, uint32_t cg, uint32_t want,
                                 bool privileged);
    /// `frags` < frag consecutive fragments of one block; `roomy`: at the start
    /// of a free block if there is one, so that they can grow. ENOSPC.
    Result<FragNumber> alloc_frags(Transaction& tx, uint64_t pref, uint32_t cg, uint32_t frags,
                                   bool roomy, bool privileged);
    /// Grows [f, f + old_frags) to new_frags in place; false when the neighbours
    /// are taken.
    Result<bool> extend(Transaction& tx, FragNumber f, uint32_t old_frags, uint32_t new_frags,
                        bool privileged);
    /// Whether fragments that outgrow their place should get room to grow further
    /// (while time counts) or fill gaps (while space does); switches between the
    /// two as fs(5) has it.
    bool growth_is_roomy();
    /// A free inode near `parent` (a new directory: by placement). Its disk inode
    /// is initialised. ENOSPC.
    Result<uint64_t> alloc_inode(Transaction& tx, uint64_t parent, bool dir);
    /// Contiguous with what `inode_number` has, or where its next blocks should
    /// go: {pref, group}.
    std::pair<uint64_t, uint32_t> preference(uint64_t inode_number, uint64_t lbn,
                                             uint64_t previous);

    /// Into the maps, now; a run within one group. `embargo`: not to be used
    /// again before lift_embargo().
    Result<void> release_frags(Transaction& tx, FragNumber f, uint32_t frags, bool embargo);
    Result<void> release_inode(Transaction& tx, uint64_t number, bool was_dir);
    void lift_embargo();

    /// Space for `frags` more fragments above the reserve.
    bool may_use(uint32_t frags, bool privileged) const;
    uint32_t optimisation() const { return optim_.load(std::memory_order_relaxed); }
    /// Time stamps, hashes and the summary area of what changed. At the end of an
    /// epoch.
    Result<void> collect(Transaction& tx);
    /// True when counts have changed since the last call.
    bool take_counts_changed() { return counts_changed_.exchange(false); }
    /// True when [f, f + frags) is wholly taken in the map.
    Result<bool> is_taken(FragNumber f, uint32_t frags);

private:
    struct GroupState {
        host::Mutex mutex{host::Rank::fs_group};
        // Changed under mutex, read without it as hints.
        std::atomic<uint32_t> ndir{0}, nbfree{0}, nifree{0}, nffree{0};
        std::atomic<uint8_t> contigdirs{0}; // directories in a row without files
        std::atomic<bool> changed{false};   // since the last collect
        bool hash_checked = false;          // guarded by mutex
        std::vector<bool> embargo; // freed by the epoch that is being written; guarded by mutex
    };
    Result<Buf> read_group(uint32_t cg, GroupMaps& maps);
    using Change = FunctionRef<Result<void>(Group&, Buf&, const GroupMaps&)>;
    Result<void> with_group(Transaction& tx, uint32_t cg, Change change);
    void account(uint32_t cg, const Group& group);

    std::optional<uint32_t> find_run(const Group& g, uint32_t cg, uint32_t from, uint32_t want,
                                     uint32_t& got) const;
    bool usable(const Group& g, uint32_t cg, uint32_t b) const;
    bool embargoed(uint32_t cg, uint32_t f, uint32_t frags) const;
    Result<FragRun> blocks_in(Transaction& tx, uint32_t cg, uint64_t pref, uint32_t want);
    Result<FragNumber> frags_in(Transaction& tx, uint32_t cg, uint64_t pref, uint32_t frags,
                                bool roomy);
    std::optional<uint32_t> find_frags(const Group& g, uint32_t cg, uint32_t frags) const;
    Result<uint64_t> inode_in(Transaction& tx, uint32_t cg, uint32_t wanted, bool dir);
    Result<void> init_inodes(const Group& group, uint32_t cg, uint32_t index);
    /// `first`, then near ones by doubling steps, then all, until one does not
    /// answer ENOSPC.
    template<class T, class F>
    Result<T> try_groups(uint32_t first, F attempt) {
        const uint32_t ncg = group_count_;
        if (auto found = attempt(first); found.ok() || found.error() != Errno::nospc) return found;
        uint32_t cg = first;
        for (uint64_t step = 1; step < ncg; step *= 2) {
            cg = static_cast<uint32_t>((cg + step) % ncg);
            if (auto found = attempt(cg); found.ok() || found.error() != Errno::nospc) return found;
        }
        for (uint32_t i = 1; i < ncg; ++i)
            if (auto found = attempt((first + i) % ncg);
                found.ok() || found.error() != Errno::nospc)
                return found;
        return Errno::nospc;
    }
    uint32_t directory_group(uint64_t parent);
    void undo_take(Transaction& tx, uint32_t cg, Buf buf, const GroupMaps& maps, uint32_t f,
                   uint32_t frags);

    Volume& volume_;
    const uint32_t group_count_;
    const FragTable table_;
    std::unique_ptr<GroupState[]> groups_;
    std::atomic<uint32_t> optim_;
    std::atomic<bool> counts_changed_{false};
    std::vector<Buf> summary_; // the summary area's blocks

    mutable host::Mutex mutex_{host::Rank::leaf};
    Totals totals_ GUARDED_BY(mutex_);
};

} // namespace rump::ffs
