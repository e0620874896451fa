// The layout of a FAT volume as its boot sector gives it, after every check: what later code
// trusts. FAT specification, 3 and 4; Atari Compendium, chapter 3 (GEMDOS boot sectors); for
// floppies without a parameter block the media byte of the FAT (MS-DOS 1.x).
#pragma once

#include "kernel/fs/clusters/cluster.h"
#include "kernel/fs/msdosfs/format.h"

#include "hostshim/block_device.h"

#include <array>
#include <optional>
#include <string>

namespace rump::msdosfs {

using clusters::Cluster;
using clusters::ClusterRun;
using clusters::first_cluster;

enum class FatType : uint8_t { fat12 = 12, fat16 = 16, fat32 = 32 };

/// What the last one to write left behind (FAT specification, 4.2).
struct Marks {
    bool dirty = false;  // it did not finish
    bool errors = false; // it met errors of the device
};

/// Makes a Geometry; only geometry.cc fills it in.
struct GeometryFields : clusters::Heap {
    FatType type = FatType::fat12;
    bool atari = false;
    bool has_parameter_block = true;
    uint64_t fat_offset = 0; // bytes on the device: the first FAT
    uint64_t fat_size = 0;   // bytes of one FAT
    uint32_t fat_count = 0;
    uint32_t active_fat = 0;  // the one to believe
    bool mirrored = true;     // all FATs are written, not only the active one
    uint64_t root_offset = 0; // bytes; FAT12 and FAT16
    uint32_t root_entries = 0;
    Cluster root_cluster{};   // FAT32
    uint64_t volume_size = 0; // bytes
    std::optional<uint64_t> fsinfo_offset;
    std::optional<uint64_t> backup_offset; // of the boot sector
    std::string damage; // why the boot sector is not believed, but its backup; empty: it is
    std::optional<uint32_t> tail_offset; // of disk::BootTail in the boot sector
    uint8_t media = 0;
    std::optional<uint32_t> serial;
    std::string boot_label; // code page bytes, without trailing blanks
};

class Geometry : public GeometryFields {
public:
    /// Reads the boot sector; FAT32's backup when it is damaged. Failures: EINVAL (no FAT file
    /// system; says what stands there instead, if that is known), EUCLEAN (a field that contradicts
    /// others or the device, by its name), EIO.
    static FailureOr<Geometry> read(host::BlockDevice& device);
    /// `sector`: the first 512 bytes; `fat`: the first 4 bytes behind them (for floppies without a
    /// parameter block).
    static FailureOr<Geometry> validate(std::span<const std::byte, 512> sector,
                                        std::span<const std::byte, 4> behind, uint64_t device_size);

    bool in_root_area(uint64_t offset) const {
        return offset >= root_offset &&
               offset < root_offset + uint64_t{root_entries} * disk::dirent_size;
    }
    /// False: there is no room for them, so nothing says how it was unmounted.
    bool has_marks() const {
        return tail_offset || is_fat32() || (type == FatType::fat16 && !atari);
    }
    /// The marks in the boot sector and in the table. EIO.
    Result<Marks> marks(host::BlockDevice& device) const;
    bool is_fat32() const { return type == FatType::fat32; }
    /// "FAT16"
    const char* type_name() const;
};

} // namespace rump::msdosfs
