// Which clusters are free: the map of used ones in memory, piece by piece as it is asked for, so
// that mounting reads none of it. What the volume says of itself (FSInfo) is a hint until all was
// seen.
#pragma once

#include "kernel/fs/clusters/table.h"

#include "kernel/sys/mount.h"

#include "hostshim/lock.h"

#include <array>
#include <memory>
#include <optional>
#include <unordered_set>
#include <vector>

namespace rump::clusters {

class Allocator;

/// Clusters kept for a file that grows, so that files written side by side stay contiguous. Known
/// to this process only: nothing on the device says so. Given back when it goes.
class Reservation {
public:
    explicit Reservation(Allocator& owner) : owner_(owner) {}
    ~Reservation();
    Reservation(const Reservation&) = delete;
    Reservation& operator=(const Reservation&) = delete;
    /// Gives the clusters back.
    void drop();

private:
    friend class Allocator;
    Allocator& owner_;
    ClusterRun run_; // guarded by the allocator's mutex
};

class Allocator {
public:
    /// `free_hint`, `next_hint`: what the volume says, if it can be true.
    Allocator(UsageMap& map, const Heap& heap, std::optional<uint32_t> free_hint,
              std::optional<uint32_t> next_hint);

    struct Want {
        std::optional<Cluster> goal; // none: a place for something new
        uint32_t count = 1;          // clusters, at the most
        uint32_t reserve = 0;        // so many more are kept for later, if they follow
    };
    /// A run of 1 to `want.count` free clusters, taken from `reservation` (may be null) where that
    /// fits. Free again when `tx` is undone. Marked in the map. ENOSPC, EIO.
    Result<ClusterRun> take(Transaction& tx, const Want& want, Reservation* reservation);
    /// Frees a run, in the map and here. With `keep`, it cannot be taken before release(). EIO.
    Result<void> free(Transaction& tx, ClusterRun run, bool keep);
    void release(ClusterRun run);

    /// Free clusters. Reads the map when nobody has counted yet; what the volume says is believed
    /// only where counting would take long. EIO.
    Result<uint32_t> free_count();
    /// Whether so many are free. "No" is never said by the volume's word alone. EIO.
    Result<bool> has_free(uint64_t count);
    /// What is known without reading anything, for the volume to say of itself.
    struct Hints {
        std::optional<uint32_t> free;
        uint32_t next;
        bool operator==(const Hints&) const = default;
    };
    Hints hints();

    /// Calls `visit` for runs of free clusters within [first, end) while nobody can take them. EIO
    /// and what `visit` returns.
    Result<void> each_free(uint32_t first, uint32_t end,
                           FunctionRef<Result<void>(ClusterRun)> visit);

private:
    friend class Reservation;

    static constexpr uint32_t segment_clusters = 32768;
    struct Segment {
        std::array<uint64_t, segment_clusters / 64> used{}; // a bit a cluster
        uint32_t free = 0;
    };

    Result<Segment*> segment(uint32_t index) REQUIRES(mutex_);
    Result<ClusterRun> find(uint32_t goal, uint32_t count) REQUIRES(mutex_);
    Result<ClusterRun> find_anywhere(uint32_t goal, uint32_t count) REQUIRES(mutex_);
    ClusterRun run_in(const Segment& segment, uint32_t index, uint32_t from) const;
    void mark(ClusterRun run, bool used) REQUIRES(mutex_);
    void release_locked(ClusterRun run) REQUIRES(mutex_);
    void drop_locked(Reservation& reservation) REQUIRES(mutex_);
    bool drop_all_reservations() REQUIRES(mutex_);
    Result<void> count_all() REQUIRES(mutex_);

    // constant after construction
    UsageMap& map_;
    const Heap& heap_;

    host::Mutex mutex_{host::Rank::fs_mount};
    std::vector<std::unique_ptr<Segment>> segments_ GUARDED_BY(mutex_); // null: not looked at yet
    std::unordered_set<Reservation*> reservations_ GUARDED_BY(mutex_);
    std::optional<uint32_t> free_ GUARDED_BY(mutex_); // by the map; reserved clusters are free
    uint32_t segments_known_ GUARDED_BY(mutex_) = 0;
    uint32_t next_ GUARDED_BY(mutex_); // where the next new thing is looked for
};

} // namespace rump::clusters
