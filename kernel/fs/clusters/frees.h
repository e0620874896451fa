// Clusters that are to be freed once nothing on the device points to them any more.
//
// The map of used clusters is written before directory entries, so that a new file's clusters are
// marked before its entry names them. Freeing wants the opposite order: first the entry goes, in
// one epoch, then the marks, in the next.
//
//     cut ──add──> waiting ──its epoch on the device──> the chain ends before them ──┐
//     removed ──add──> waiting <──────────────────────────────────────────────────────┘
//                         └──its epoch on the device──> cleared in the map ──> free
//                                                          └─discard: 1 epoch later─┘
#pragma once

#include "kernel/fs/clusters/alloc.h"
#include "kernel/sys/mount.h"

#include <vector>

namespace rump::clusters {

class PendingFrees {
public:
    PendingFrees(Mount& mount, const Heap& heap, ChainTable& table, Allocator& clusters,
                 bool discard)
        : mount_(mount), heap_(heap), table_(table), clusters_(clusters), discard_(discard) {}

    struct Clusters {
        std::vector<ClusterRun> runs;
        std::optional<Cluster>
            kept;       // the cluster whose chain ended in them, if the file keeps that
        bool metadata;  // a directory's: leaves the buffer cache
        uint64_t epoch; // whose commit takes the last pointer to them away
    };
    void add(Clusters clusters);
    /// The number of the open epoch.
    uint64_t epoch();
    /// Clusters that wait: as good as free to whoever asks for the volume's free space.
    uint32_t waiting();

    /// The open epoch closes.
    void epoch_collected();
    /// The epoch that was closed last is on the device. What fails is logged and stays lost until a
    /// check.
    void epoch_committed(Transaction& tx);

private:
    Result<void> clear(Transaction& tx, const Clusters& clusters);
    void discard_ready(uint64_t committed);

    struct Discard {
        ClusterRun run;
        uint64_t epoch;
    };

    // constant after construction
    Mount& mount_;
    const Heap& heap_;
    ChainTable& table_;
    Allocator& clusters_;
    const bool discard_;

    host::Mutex mutex_{host::Rank::fs_mount};
    uint64_t open_epoch_ GUARDED_BY(mutex_) = 1;
    std::vector<Clusters> pending_ GUARDED_BY(mutex_);
    std::vector<Discard> discards_ GUARDED_BY(mutex_);
    uint64_t waiting_ GUARDED_BY(mutex_) = 0;
};

} // namespace rump::clusters
