// The layout of a FAT volume as its boot sector gives it, after every check: what later code
// trusts. FAT specification, 3 and 4; Atari Compendium, chapter 3 (GEMDOS boot sectors); for
// floppies without a parameter block the media byte of the FAT (MS-DOS 1.x).
#pragma once

#include "kernel/fs/msdosfs/format.h"

#include "hostshim/block_device.h"
#include "hostshim/strong.h"

#include <array>
#include <optional>
#include <string>

namespace rump::msdosfs {

/// A cluster of the data area: 2 to cluster_count + 1.
struct ClusterTag;
using Cluster = Strong<ClusterTag, uint32_t>;
inline constexpr uint32_t first_cluster = 2;

enum class FatType : uint8_t { fat12 = 12, fat16 = 16, fat32 = 32 };

/// Makes a Geometry; only geometry.cc fills it in.
struct GeometryFields {
    FatType type = FatType::fat12;
    bool atari = false;
    bool has_parameter_block = true;
    uint32_t sector_size = 0;   // bytes
    uint32_t cluster_size = 0;  // bytes
    uint32_t cluster_shift = 0; // log2 of it
    uint32_t cluster_count = 0;
    uint64_t fat_offset = 0; // bytes on the device: the first FAT
    uint64_t fat_size = 0;   // bytes of one FAT
    uint32_t fat_count = 0;
    uint32_t active_fat = 0;  // the one to believe
    bool mirrored = true;     // all FATs are written, not only the active one
    uint64_t root_offset = 0; // bytes; FAT12 and FAT16
    uint32_t root_entries = 0;
    Cluster root_cluster{};   // FAT32
    uint64_t data_offset = 0; // bytes: cluster 2
    uint64_t volume_size = 0; // bytes
    std::optional<uint64_t> fsinfo_offset;
    std::optional<uint64_t> backup_offset; // of the boot sector
    std::optional<uint32_t> tail_offset;   // of disk::BootTail in the boot sector
    uint8_t media = 0;
    std::optional<uint32_t> serial;
    std::string boot_label; // code page bytes, without trailing blanks
};

class Geometry : public GeometryFields {
public:
    /// Reads the boot sector. Failures: EINVAL (no FAT file system; says what stands there instead,
    /// if that is known), EUCLEAN (a field that contradicts others or the device, by its name),
    /// EIO.
    static FailureOr<Geometry> read(host::BlockDevice& device);
    /// `sector`: the first 512 bytes; `fat`: the first 4 bytes behind them (for floppies without a
    /// parameter block).
    static FailureOr<Geometry> validate(std::span<const std::byte, 512> sector,
                                        std::span<const std::byte, 4> behind, uint64_t device_size);

    bool is_cluster(uint32_t raw) const {
        return raw >= first_cluster && raw - first_cluster < cluster_count;
    }
    /// EUCLEAN outside the data area.
    Result<Cluster> cluster(uint32_t raw) const {
        if (!is_cluster(raw)) return Errno::uclean;
        return Cluster(raw);
    }
    uint64_t offset_of(Cluster c) const {
        return data_offset + (static_cast<uint64_t>(c.value() - first_cluster) << cluster_shift);
    }
    /// The cluster that holds a byte of the data area.
    Cluster cluster_at(uint64_t offset) const {
        return Cluster(static_cast<uint32_t>((offset - data_offset) >> cluster_shift) +
                       first_cluster);
    }
    bool in_root_area(uint64_t offset) const {
        return offset >= root_offset &&
               offset < root_offset + uint64_t{root_entries} * disk::dirent_size;
    }
    bool in_data_area(uint64_t offset) const {
        return offset >= data_offset && (offset - data_offset) >> cluster_shift < cluster_count;
    }
    uint32_t clusters_for(uint64_t bytes) const {
        return static_cast<uint32_t>((bytes + cluster_size - 1) >> cluster_shift);
    }
    bool is_fat32() const { return type == FatType::fat32; }
    /// "FAT16"
    const char* type_name() const;
};

} // namespace rump::msdosfs
