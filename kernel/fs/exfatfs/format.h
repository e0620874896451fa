// exFAT on disk: Microsoft's exFAT file system specification, revision 1.00 ("specification"
// below).
#pragma once

#include "hostshim/byte_order.h"

#include <cstdint>

namespace rump::exfatfs::disk {

/// Boot sector (specification, 3.1).
struct BootSector {
    uint8_t jump[3]; // 0xeb 0x76 0x90
    char name[8];    // "EXFAT   "
    uint8_t zero[53];
    le64 partition_offset; // sectors
    le64 volume_length;    // sectors
    le32 fat_offset;       // sectors; at least 24
    le32 fat_length;       // sectors, of one FAT
    le32 heap_offset;      // sectors: cluster 2
    le32 cluster_count;
    le32 root_cluster;
    le32 serial;
    le16 revision;         // high byte 1
    le16 flags;            // VolumeFlags
    uint8_t sector_shift;  // 9 to 12
    uint8_t cluster_shift; // beyond it; both together at most 25
    uint8_t fat_count;     // 1; 2 on TexFAT volumes
    uint8_t drive;
    uint8_t percent_in_use; // 0xff: not known
    uint8_t reserved[7];
    uint8_t code[390];
    le16 signature; // 0xaa55
};
static_assert(sizeof(BootSector) == 512 && alignof(BootSector) == 1);

inline constexpr uint16_t boot_signature = 0xaa55;
inline constexpr uint32_t extended_signature = 0xaa550000;
inline constexpr uint16_t flag_second_fat = 0x0001;
inline constexpr uint16_t flag_dirty = 0x0002;
inline constexpr uint16_t flag_media_failure = 0x0004;
inline constexpr uint32_t boot_region_sectors = 12; // then as many again: the backup
inline constexpr uint32_t checksum_sector = 11;

/// FAT entries (specification, 4.1).
inline constexpr uint32_t fat_bad = 0xfffffff7;
inline constexpr uint32_t fat_end = 0xffffffff;
inline constexpr uint32_t cluster_count_max = 0xfffffff5;

/// Directory entries: 32 bytes, of which the first is the type (specification, 6.2).
inline constexpr uint32_t entry_size = 32;
inline constexpr uint8_t type_end = 0x00;
inline constexpr uint8_t type_in_use = 0x80;
inline constexpr uint8_t type_secondary = 0x40;
inline constexpr uint8_t type_benign = 0x20;
inline constexpr uint8_t type_bitmap = 0x81;
inline constexpr uint8_t type_upcase = 0x82;
inline constexpr uint8_t type_label = 0x83;
inline constexpr uint8_t type_file = 0x85;
inline constexpr uint8_t type_stream = 0xc0;
inline constexpr uint8_t type_name = 0xc1;

/// Any entry.
struct Entry {
    uint8_t type;
    uint8_t bytes[31];
};
static_assert(sizeof(Entry) == entry_size);

/// What all primary entries with secondaries have in common (specification, 6.3).
struct PrimaryEntry {
    uint8_t type;
    uint8_t secondaries;
    le16 checksum;
    le16 flags; // flag_allocation, flag_no_chain
    uint8_t custom[14];
    le32 first_cluster;
    le64 length;
};
static_assert(sizeof(PrimaryEntry) == entry_size);

/// Allocation bitmap (specification, 7.1).
struct BitmapEntry {
    uint8_t type;
    uint8_t flags; // bit 0: of the second FAT
    uint8_t reserved[18];
    le32 first_cluster;
    le64 length; // bytes
};
static_assert(sizeof(BitmapEntry) == entry_size);

/// Up-case table (specification, 7.2).
struct UpcaseEntry {
    uint8_t type;
    uint8_t reserved1[3];
    le32 checksum;
    uint8_t reserved2[12];
    le32 first_cluster;
    le64 length;
};
static_assert(sizeof(UpcaseEntry) == entry_size);

/// Volume label (specification, 7.3).
struct LabelEntry {
    uint8_t type;
    uint8_t length; // code units, 0 to 11
    le16 label[11];
    uint8_t reserved[8];
};
static_assert(sizeof(LabelEntry) == entry_size);

/// File: the primary entry of a set (specification, 7.4).
struct FileEntry {
    uint8_t type;
    uint8_t secondaries; // 2 to 18, and vendors' entries
    le16 checksum;       // of the set
    le16 attributes;
    le16 reserved1;
    le16 created_time; // the two halves of a time stamp
    le16 created_date;
    le16 written_time;
    le16 written_date;
    le16 accessed_time;
    le16 accessed_date;
    uint8_t created_centiseconds; // 0 to 199
    uint8_t written_centiseconds;
    uint8_t created_zone; // offset_valid and quarters of an hour, 7 bits with a sign
    uint8_t written_zone;
    uint8_t accessed_zone;
    uint8_t reserved2[7];
};
static_assert(sizeof(FileEntry) == entry_size);
inline constexpr uint8_t zone_valid = 0x80;
inline constexpr uint16_t attr_read_only = 0x01;
inline constexpr uint16_t attr_hidden = 0x02;
inline constexpr uint16_t attr_system = 0x04;
inline constexpr uint16_t attr_directory = 0x10;
inline constexpr uint16_t attr_archive = 0x20;

/// Stream extension: the second entry of a set (specification, 7.6).
struct StreamEntry {
    uint8_t type;
    uint8_t flags; // flag_allocation, flag_no_chain
    uint8_t reserved1;
    uint8_t name_length; // code units, 1 to 255
    le16 name_hash;
    le16 reserved2;
    le64 valid_length;
    le32 reserved3;
    le32 first_cluster; // 0: none
    le64 length;        // a multiple of the cluster size for directories
};
static_assert(sizeof(StreamEntry) == entry_size);
/// General secondary flags (specification, 6.4.2); they stand in the same place of all secondaries.
inline constexpr uint8_t flag_allocation = 0x01;
inline constexpr uint8_t flag_no_chain = 0x02;

/// File name: 15 code units (specification, 7.7).
struct NameEntry {
    uint8_t type;
    uint8_t flags;
    le16 units[15];
};
static_assert(sizeof(NameEntry) == entry_size);
inline constexpr unsigned units_per_entry = 15;

inline constexpr uint64_t directory_bytes_max = 256u << 20;

} // namespace rump::exfatfs::disk
