// The layout of an exFAT volume as its boot region gives it, after every check: what later code
// trusts. Specification, 3.
#pragma once

#include "kernel/fs/exfatfs/format.h"

#include "hostshim/block_device.h"
#include "hostshim/strong.h"

#include <memory>
#include <span>
#include <vector>

namespace rump::exfatfs {

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

/// Makes a Geometry; only geometry.cc fills it in.
struct GeometryFields {
    uint32_t sector_size = 0;   // bytes
    uint32_t cluster_size = 0;  // bytes
    uint32_t cluster_shift = 0; // log2 of it
    uint32_t cluster_count = 0;
    uint64_t fat_offset = 0;  // bytes on the device: the active FAT
    uint64_t fat_size = 0;    // bytes of one
    bool second_fat = false;  // the active one is the second, and so is the bitmap
    uint64_t heap_offset = 0; // bytes: cluster 2
    Cluster root_cluster{};
    uint64_t volume_size = 0; // bytes
    uint32_t serial = 0;
    bool was_dirty = false;
};

class Geometry : public GeometryFields {
public:
    /// Reads the boot region; the backup when the main one's checksum is wrong. Failures: EINVAL
    /// (no exFAT file system), EUCLEAN (the field's name), EIO.
    static FailureOr<Geometry> read(host::BlockDevice& device);
    static FailureOr<Geometry> validate(const disk::BootSector& boot, uint64_t device_size);

    bool is_cluster(uint32_t raw) const {
        return raw >= first_cluster && raw - first_cluster < cluster_count;
    }
    uint64_t offset_of(Cluster c) const {
        return heap_offset + (static_cast<uint64_t>(c.value() - first_cluster) << cluster_shift);
    }
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
    bool is_run(uint32_t first, uint32_t count) const {
        return is_cluster(first) && count <= cluster_count - (first - first_cluster);
    }
};

/// Of the first eleven sectors of a boot region; the volume flags and the percentage do not count
/// (specification, 3.4).
uint32_t boot_checksum(std::span<const std::byte> sectors);

} // namespace rump::exfatfs
