// Cluster chains: which clusters a file has, from the file allocation table, remembered as runs
// while the file is in core.
#pragma once

#include "kernel/fs/clusters/table.h"

#include <optional>
#include <vector>

namespace rump::clusters {

/// Guarded by its node's mutex. Numbers of clusters within the file start at 0.
class Chain {
public:
    Chain() = default;
    /// `first`: as the directory entry has it; none for an empty file.
    explicit Chain(std::optional<Cluster> first)
        : first_(first), complete_(!first), contiguous_(!first) {}
    /// A file without a chain in the table.
    explicit Chain(ClusterRun run) : first_(run.first), runs_{{0, run}}, known_(run.count) {}

    /// It ends after so many clusters, whatever the table says: of a file that was cut, what
    /// follows may be anything's.
    void end_after(uint32_t clusters) { limit_ = clusters; }

    /// No chain in the table says where the clusters are.
    bool contiguous() const { return contiguous_; }
    /// A chain in the table says it from now on.
    void set_chained() { contiguous_ = false; }
    void set_contiguous() { contiguous_ = true; }

    std::optional<Cluster> first() const { return first_; }

    struct Found {
        ClusterRun run; // from the cluster asked for to the end of what is known to be contiguous
        uint32_t at;    // the file's cluster that run.first is
    };
    /// Where cluster `index` of the file is; none: the chain ends before it. Walks the table as far
    /// as needed, and not past `index`'s run. EUCLEAN: the chain leads to a free, bad or impossible
    /// cluster, or round in a circle (`why` says so); EIO.
    Result<std::optional<Found>> find(ChainTable& fat, uint32_t index, const char*& why);
    /// Walks to the end; the number of clusters. Errors as find.
    Result<uint32_t> length(ChainTable& fat, uint32_t limit, const char*& why);

    /// How many clusters are known, and whether they are all.
    uint32_t known() const { return known_; }
    bool complete() const { return complete_; }
    /// The last cluster; the chain is complete.
    std::optional<Cluster> last() const;
    /// Clusters [from, known) as runs.
    std::vector<ClusterRun> runs_from(uint32_t from) const;

    /// The chain, which is complete, goes on with `run`.
    void append(ClusterRun run);
    /// Only the first `clusters` are left; they are known.
    void cut(uint32_t clusters);

private:
    struct Run {
        uint32_t at; // the file's cluster
        ClusterRun clusters;
    };
    Result<bool> step(ChainTable& fat, ChainTable::Cursor& cursor, const char*& why);
    void add(Cluster cluster);

    std::optional<Cluster> first_;
    std::vector<Run> runs_;
    uint32_t known_ = 0;
    uint32_t limit_ = UINT32_MAX;
    bool complete_ = true;
    bool contiguous_ = true;
    // Brent's search for a circle: the walk meets `marker_` again if it goes round.
    uint32_t marker_ = 0;
    uint32_t next_marker_at_ = 1;
};

} // namespace rump::clusters
