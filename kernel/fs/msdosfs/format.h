// FAT on disk: Microsoft Extensible Firmware Initiative FAT32 File System Specification 1.03 ("FAT
// specification" below), with what MS-DOS, Windows NT and Atari's GEMDOS do beside it.
#pragma once

#include "hostshim/byte_order.h"

#include <cstdint>

namespace rump::msdosfs::disk {

/// The BIOS parameter block that all variants share (FAT specification, 3.1), from byte 0 of the
/// boot sector. MS-DOS 2 and Atari end at `hidden_sectors`, which has 16 bits there.
struct BootSector {
    uint8_t jump[3]; // 0xeb ?? 0x90 or 0xe9 ?? ??; a 68000 branch (0x60) or anything on an Atari
    char system_id[8];
    le16 bytes_per_sector;       // a power of two, 512 to 32768
    uint8_t sectors_per_cluster; // a power of two, 1 to 128
    le16 reserved_sectors;       // before the first FAT, this one included; not 0
    uint8_t fat_count;           // not 0; 2 nearly always
    le16 root_entries;           // 0 on FAT32
    le16 sectors_16;             // 0: see sectors_32
    uint8_t media;               // 0xf0, or 0xf8 to 0xff
    le16 fat_sectors_16;         // of one FAT; 0 on FAT32
    le16 sectors_per_track;
    le16 heads;
    le32 hidden_sectors;
    le32 sectors_32;
};
static_assert(sizeof(BootSector) == 36 && alignof(BootSector) == 1);

/// What follows on FAT12 and FAT16 when `signature` says so (FAT specification, 3.2).
struct BootTail {
    uint8_t drive;
    uint8_t state;     // Windows NT: state_dirty, state_errors
    uint8_t signature; // 0x28: up to the serial number; 0x29: all
    le32 serial;
    char label[11];
    char type_name[8]; // says nothing (FAT specification, 3.2)
};
static_assert(sizeof(BootTail) == 26);

/// What follows on FAT32 (FAT specification, 3.3).
struct BootTail32 {
    le32 fat_sectors;
    le16 flags;   // low 4 bits: active FAT; flag_no_mirror
    le16 version; // 0
    le32 root_cluster;
    le16 fsinfo_sector; // 0 or 0xffff: none
    le16 backup_sector; // 0 or 0xffff: none
    uint8_t reserved[12];
    BootTail tail; // the same fields, further behind
};
static_assert(sizeof(BootTail32) == 54);

inline constexpr uint16_t active_fat_mask = 0x0f;
inline constexpr uint16_t flag_no_mirror = 0x80;
inline constexpr uint8_t state_dirty = 0x01;
inline constexpr uint8_t state_errors = 0x02;
inline constexpr uint8_t signature_serial = 0x28;
inline constexpr uint8_t signature_label = 0x29;
inline constexpr uint16_t backup_boot_sector = 6; // where it should be
inline constexpr uint32_t boot_signature_offset = 510;
inline constexpr uint16_t boot_signature = 0xaa55;

/// FSInfo sector (FAT specification, 5): hints that may be wrong.
struct FsInfo {
    le32 lead_signature;
    uint8_t reserved1[480];
    le32 signature;
    le32 free_clusters; // 0xffffffff: not known
    le32 next_free;     // where to look first; 0xffffffff: not known
    uint8_t reserved2[12];
    le32 trail_signature;
};
static_assert(sizeof(FsInfo) == 512 && alignof(FsInfo) == 1);
inline constexpr uint32_t fsinfo_lead = 0x41615252;
inline constexpr uint32_t fsinfo_signature = 0x61417272;
inline constexpr uint32_t fsinfo_trail = 0xaa550000;
inline constexpr uint32_t fsinfo_unknown = 0xffffffff;

/// The number in an entry of FAT32; the upper four bits belong to nobody and stay as they are.
inline constexpr uint32_t fat32_mask = 0x0fffffff;

/// Bits of the FAT's entry 1 on FAT16 and FAT32, set when all is well (FAT specification, 4.2).
inline constexpr uint32_t fat16_clean = 0x8000;
inline constexpr uint32_t fat16_no_errors = 0x4000;
inline constexpr uint32_t fat32_clean = 0x08000000;
inline constexpr uint32_t fat32_no_errors = 0x04000000;

/// Directory entry (FAT specification, 6).
struct DirEntry {
    uint8_t name[11]; // blank-padded; name[0]: see below
    uint8_t attributes;
    uint8_t case_bits;            // Windows NT: case_lower_base, case_lower_extension
    uint8_t created_centiseconds; // 0 to 199, beyond created_time
    le16 created_time;
    le16 created_date;
    le16 accessed_date;
    le16 first_cluster_high; // 0 on FAT12 and FAT16 (OS/2 keeps an index of its own there)
    le16 written_time;
    le16 written_date;
    le16 first_cluster_low;
    le32 size; // 0 of a directory
};
inline constexpr uint32_t dirent_size = 32;
static_assert(sizeof(DirEntry) == dirent_size && alignof(DirEntry) == 1);

inline constexpr uint8_t name_end = 0x00;     // this entry and all behind it were never used
inline constexpr uint8_t name_deleted = 0xe5; // free
inline constexpr uint8_t name_is_e5 = 0x05;   // stands for 0xe5, a letter in some code pages

inline constexpr uint8_t attr_read_only = 0x01;
inline constexpr uint8_t attr_hidden = 0x02;
inline constexpr uint8_t attr_system = 0x04;
inline constexpr uint8_t attr_label = 0x08;
inline constexpr uint8_t attr_directory = 0x10;
inline constexpr uint8_t attr_archive = 0x20;
inline constexpr uint8_t attr_long_name = 0x0f;
inline constexpr uint8_t attr_long_mask = 0x3f;
inline bool is_long(const DirEntry& entry) {
    return (entry.attributes & attr_long_mask) == attr_long_name;
}

inline constexpr uint8_t case_lower_base = 0x08;
inline constexpr uint8_t case_lower_extension = 0x10;

/// A piece of a long name (FAT specification, 7). Pieces stand in falling order before the entry
/// that they belong to.
struct LongEntry {
    uint8_t order;      // 1 to 20; long_last on the one that holds the name's end
    le16 name1[5];      // UTF-16; 0 ends the name, 0xffff fills up
    uint8_t attributes; // attr_long_name
    uint8_t type;       // 0
    uint8_t checksum;   // of the short name
    le16 name2[6];
    le16 first_cluster; // 0
    le16 name3[2];
};
static_assert(sizeof(LongEntry) == dirent_size && alignof(LongEntry) == 1);
inline constexpr uint8_t long_last = 0x40;
inline constexpr unsigned long_units_per_entry = 13;
inline constexpr unsigned long_entries_max = 20;

inline constexpr uint32_t directory_entries_max = 65536;

} // namespace rump::msdosfs::disk
