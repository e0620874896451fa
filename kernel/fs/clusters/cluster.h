// Clusters, what FAT and exFAT divide a volume into: FAT specification, 3.5; exFAT specification,
// 5.1.
#pragma once

#include "hostshim/result.h"
#include "hostshim/strong.h"

#include <cstdint>

namespace rump::clusters {

/// A cluster of the heap: 2 to cluster_count + 1.
struct ClusterTag;
using Cluster = Strong<ClusterTag, uint32_t>;
inline constexpr uint32_t first_cluster = 2;

/// Consecutive clusters.
struct ClusterRun {
    Cluster first{};
    uint32_t count = 0;
    uint32_t end() const { return first.value() + count; }
};

/// Where a volume's clusters are. Part of each format's geometry, which validates it.
struct Heap {
    uint32_t sector_size = 0;   // bytes
    uint32_t cluster_size = 0;  // bytes
    uint32_t cluster_shift = 0; // log2 of it
    uint32_t cluster_count = 0;
    uint64_t heap_offset = 0; // bytes on the device: cluster 2

    bool is_cluster(uint32_t raw) const {
        return raw >= first_cluster && raw - first_cluster < cluster_count;
    }
    bool is_run(uint32_t first, uint32_t count) const {
        return is_cluster(first) && count <= cluster_count - (first - first_cluster);
    }
    /// EUCLEAN outside the heap.
    Result<Cluster> cluster(uint32_t raw) const {
        if (!is_cluster(raw)) return Errno::uclean;
        return Cluster(raw);
    }
    uint64_t offset_of(Cluster c) const {
        return heap_offset + (static_cast<uint64_t>(c.value() - first_cluster) << cluster_shift);
    }
    uint64_t bytes_of(uint32_t clusters) const { return uint64_t{clusters} << cluster_shift; }
    /// The cluster that holds a byte of the heap.
    Cluster cluster_at(uint64_t offset) const {
        return Cluster(static_cast<uint32_t>((offset - heap_offset) >> cluster_shift) +
                       first_cluster);
    }
    bool in_heap(uint64_t offset) const {
        return offset >= heap_offset && (offset - heap_offset) >> cluster_shift < cluster_count;
    }
    /// The number saturates: a damaged length is more clusters than there are.
    uint32_t clusters_for(uint64_t bytes) const {
        uint64_t clusters = (bytes >> cluster_shift) + ((bytes & (cluster_size - 1)) != 0);
        return clusters > UINT32_MAX ? UINT32_MAX : static_cast<uint32_t>(clusters);
    }
};

} // namespace rump::clusters
