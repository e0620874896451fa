// The layout of an exFAT volume as its boot region gives it, after every check: what later code
// trusts. Specification, 3.
#pragma once

#include "kernel/fs/clusters/cluster.h"
#include "kernel/fs/exfatfs/format.h"

#include "hostshim/block_device.h"

#include <memory>
#include <span>
#include <string>
#include <vector>

namespace rump::exfatfs {

using clusters::Cluster;
using clusters::ClusterRun;
using clusters::first_cluster;

/// Makes a Geometry; only geometry.cc fills it in.
struct GeometryFields : clusters::Heap {
    uint64_t fat_offset = 0; // bytes on the device: the active FAT
    uint64_t fat_size = 0;   // bytes of one
    bool second_fat = false; // the active one is the second, and so is the bitmap
    Cluster root_cluster{};
    uint64_t volume_size = 0; // bytes
    uint32_t serial = 0;
    bool was_dirty = false;
    bool media_failure = false; // somebody met errors of the device
    std::string damage;         // why the boot region is not believed, but its backup; empty: it is
};

class Geometry : public GeometryFields {
public:
    /// Reads the boot region; the backup when the main one's checksum is wrong. Failures: EINVAL
    /// (no exFAT file system), EUCLEAN (the field's name), EIO.
    static FailureOr<Geometry> read(host::BlockDevice& device);
    static FailureOr<Geometry> validate(const disk::BootSector& boot, uint64_t device_size);
};

/// Of the first eleven sectors of a boot region; the volume flags and the percentage do not count
/// (specification, 3.4).
uint32_t boot_checksum(std::span<const std::byte> sectors);

} // namespace rump::exfatfs
