// On-disk structures of ext2. After "The Second Extended File System" (D. Poirier, 2001-2019) and,
// for what came later (large inodes, time stamps beyond 2038), the ext4 disk layout as the Linux
// kernel documents it (Documentation/filesystems/ext4). Section names below are Poirier's.
//
// All numbers are little-endian. The file system is cut into blocks of 1 to 64 KiB, the blocks into
// groups of blocks_per_group; a group holds (a copy of the superblock and the descriptors,) a block
// bitmap, an inode bitmap, a part of the inode table, data.
#pragma once

#include "hostshim/byte_order.h"

#include <cstddef>
#include <cstdint>

namespace rump::ext2::disk {

inline constexpr uint64_t superblock_offset = 1024; // bytes, whatever the block size
inline constexpr uint16_t superblock_magic = 0xEF53;
inline constexpr uint32_t revision_0 = 0;
inline constexpr uint32_t revision_dynamic = 1;
inline constexpr uint32_t min_block_size = 1024;
inline constexpr uint32_t max_block_size = 65536;
inline constexpr uint32_t revision_0_inode_size = 128;
inline constexpr uint32_t revision_0_first_inode = 11;

// "Superblock: s_state", "s_errors", "s_creator_os", flags.
inline constexpr uint16_t state_valid = 0x1;
inline constexpr uint16_t state_error = 0x2;
inline constexpr uint16_t state_orphans = 0x4; // ext3: orphans are being recovered
inline constexpr uint32_t os_linux = 0;
inline constexpr uint32_t flag_signed_hash = 0x1;
inline constexpr uint32_t flag_unsigned_hash = 0x2;

// "s_feature_compat": a driver that does not know them may read and write.
namespace compat {
inline constexpr uint32_t dir_prealloc = 0x1;
inline constexpr uint32_t imagic_inodes = 0x2;
inline constexpr uint32_t has_journal = 0x4;
inline constexpr uint32_t ext_attr = 0x8;
inline constexpr uint32_t resize_inode = 0x10;
inline constexpr uint32_t dir_index = 0x20;
inline constexpr uint32_t sparse_super2 = 0x200;
} // namespace compat

// "s_feature_incompat": a driver that does not know them must not touch the file system.
namespace incompat {
inline constexpr uint32_t compression = 0x1;
inline constexpr uint32_t filetype = 0x2;
inline constexpr uint32_t recover = 0x4;
inline constexpr uint32_t journal_dev = 0x8;
inline constexpr uint32_t meta_bg = 0x10;
inline constexpr uint32_t extents = 0x40;
inline constexpr uint32_t bits64 = 0x80;
inline constexpr uint32_t mmp = 0x100;
inline constexpr uint32_t flex_bg = 0x200;
inline constexpr uint32_t ea_inode = 0x400;
inline constexpr uint32_t dirdata = 0x1000;
inline constexpr uint32_t csum_seed = 0x2000;
inline constexpr uint32_t largedir = 0x4000;
inline constexpr uint32_t inline_data = 0x8000;
inline constexpr uint32_t encrypt = 0x10000;
inline constexpr uint32_t casefold = 0x20000;
} // namespace incompat

// "s_feature_ro_compat": a driver that does not know them may read.
namespace ro_compat {
inline constexpr uint32_t sparse_super = 0x1;
inline constexpr uint32_t large_file = 0x2;
inline constexpr uint32_t btree_dir = 0x4;
inline constexpr uint32_t huge_file = 0x8;
inline constexpr uint32_t gdt_csum = 0x10;
inline constexpr uint32_t dir_nlink = 0x20;
inline constexpr uint32_t extra_isize = 0x40;
inline constexpr uint32_t quota = 0x100;
inline constexpr uint32_t bigalloc = 0x200;
inline constexpr uint32_t metadata_csum = 0x400;
inline constexpr uint32_t readonly = 0x1000;
inline constexpr uint32_t project = 0x2000;
inline constexpr uint32_t shared_blocks = 0x4000;
inline constexpr uint32_t verity = 0x8000;
inline constexpr uint32_t orphan_present = 0x10000;
} // namespace ro_compat

/// "Superblock Structure". Fields from `first_inode` on exist in revision 1 only.
struct Superblock {
    le32 inode_count;
    le32 block_count;
    le32 reserved_blocks; // for reserved_uid, reserved_gid and the superuser
    le32 free_blocks;
    le32 free_inodes;
    le32 first_data_block; // 1 with blocks of 1 KiB, else 0
    le32 log_block_size;   // block size is 1024 << this
    le32 log_cluster_size;
    le32 blocks_per_group;
    le32 clusters_per_group;
    le32 inodes_per_group;
    le32 mount_time;
    le32 write_time;
    le16 mount_count;
    le16 max_mount_count;
    le16 magic;
    le16 state;
    le16 errors; // what to do: 1 continue, 2 remount read-only, 3 panic
    le16 minor_revision;
    le32 last_check;
    le32 check_interval;
    le32 creator_os;
    le32 revision;
    le16 reserved_uid;
    le16 reserved_gid;
    le32 first_inode; // first one that is not reserved
    le16 inode_size;
    le16 block_group; // of this copy
    le32 feature_compat;
    le32 feature_incompat;
    le32 feature_ro_compat;
    uint8_t uuid[16];
    char volume_name[16];
    char last_mounted[64];
    le32 algorithm_bitmap;
    uint8_t preallocate_blocks;
    uint8_t preallocate_dir_blocks;
    le16 reserved_gdt_blocks; // kept for growing, owned by the resize inode
    uint8_t journal_uuid[16];
    le32 journal_inode;
    le32 journal_device;
    le32 last_orphan; // head of the list of removed, open inodes
    le32 hash_seed[4];
    uint8_t default_hash;
    uint8_t journal_backup_type;
    le16 descriptor_size; // 64bit only
    le32 default_mount_options;
    le32 first_meta_group;
    le32 mkfs_time;
    le32 journal_blocks[17];
    le32 block_count_high; // from here on: ext4, but for the fields that are named
    le32 reserved_blocks_high;
    le32 free_blocks_high;
    le16 min_extra_isize;
    le16 want_extra_isize; // bytes of an inode beyond 128 that a new one uses
    le32 flags;
    le16 raid_stride;
    le16 mmp_interval;
    le64 mmp_block;
    le32 raid_stripe_width;
    uint8_t log_groups_per_flex;
    uint8_t checksum_type;
    le16 reserved_pad;
    le64 kbytes_written;
    le32 snapshot_inode;
    le32 snapshot_id;
    le64 snapshot_reserved;
    le32 snapshot_list;
    le32 error_count;
    uint8_t error_log[104];
    uint8_t mount_options[64];
    le32 user_quota_inode;
    le32 group_quota_inode;
    le32 overhead_blocks;
    le32 backup_groups[2]; // sparse_super2
    uint8_t reserved[424];
    le32 checksum;
};
static_assert(sizeof(Superblock) == 1024 && alignof(Superblock) == 1);
static_assert(offsetof(Superblock, magic) == 0x38 && offsetof(Superblock, first_inode) == 0x54);
static_assert(offsetof(Superblock, last_orphan) == 0xE8 && offsetof(Superblock, flags) == 0x160);
static_assert(offsetof(Superblock, block_count_high) == 0x150);
static_assert(offsetof(Superblock, kbytes_written) == 0x178);
static_assert(offsetof(Superblock, error_count) == 0x194);
static_assert(offsetof(Superblock, backup_groups) == 0x24C);

/// "Block Group Descriptor Structure".
struct GroupDescriptor {
    le32 block_bitmap;
    le32 inode_bitmap;
    le32 inode_table;
    le16 free_blocks;
    le16 free_inodes;
    le16 used_directories;
    le16 flags; // gdt_csum and later
    uint8_t reserved[12];
};
static_assert(sizeof(GroupDescriptor) == 32 && alignof(GroupDescriptor) == 1);

// "Inode Table": reserved numbers.
inline constexpr uint32_t inode_bad_blocks = 1;
inline constexpr uint32_t inode_root = 2;
inline constexpr uint32_t inode_resize = 7;

inline constexpr uint32_t direct_blocks = 12;
inline constexpr uint32_t block_pointers = 15;   // then single, double, triple indirect
inline constexpr uint32_t fast_symlink_max = 60; // with a terminating NUL

/// "Inode Structure", as Linux uses the last twelve bytes.
struct Inode {
    le16 mode;
    le16 uid;
    le32 size;
    le32 atime;
    le32 ctime;
    le32 mtime;
    le32 dtime; // when it was removed; next number of the orphan list
    le16 gid;
    le16 links;
    le32 sectors; // 512 bytes each
    le32 flags;
    le32 version;
    le32 block[block_pointers];
    le32 generation;
    le32 file_acl;  // block of extended attributes
    le32 size_high; // regular files of revision 1; the directory ACL of old
    le32 fragment_address;
    le16 sectors_high; // huge_file, ext4
    le16 file_acl_high;
    le16 uid_high;
    le16 gid_high;
    le16 checksum;
    le16 reserved;
};
static_assert(sizeof(Inode) == 128 && alignof(Inode) == 1);
static_assert(offsetof(Inode, block) == 40 && offsetof(Inode, uid_high) == 120);

/// What follows it in inodes larger than 128 bytes (ext4 layout, "Inode Size").
struct InodeExtra {
    le16 extra_size; // bytes of this structure that are in use
    le16 checksum_high;
    le32 ctime_extra; // nanoseconds << 2 | bits 32 and 33 of the seconds
    le32 mtime_extra;
    le32 atime_extra;
    le32 crtime;
    le32 crtime_extra;
    le32 version_high;
    le32 project;
};
static_assert(sizeof(InodeExtra) == 32 && alignof(InodeExtra) == 1);

// "Inode i_flags": what FS_IOC_GETFLAGS shows has the same bits (kernel/sys/types.h).
namespace inode_flag {
inline constexpr uint32_t index = 0x1000;
inline constexpr uint32_t imagic = 0x2000;
inline constexpr uint32_t encrypt = 0x800;
inline constexpr uint32_t compressed_blocks = 0x200;
inline constexpr uint32_t huge_file = 0x40000;
inline constexpr uint32_t extents = 0x80000;
inline constexpr uint32_t verity = 0x100000;
inline constexpr uint32_t ea_inode = 0x200000;
inline constexpr uint32_t inline_data = 0x10000000;
inline constexpr uint32_t casefold = 0x40000000;
/// The owner and the superuser may set these.
inline constexpr uint32_t settable =
    0x1 | 0x2 | 0x4 | 0x8 | 0x10 | 0x20 | 0x40 | 0x80 | 0x4000 | 0x8000 | 0x10000 | 0x20000;
/// New files get these from their directory.
inline constexpr uint32_t inherited =
    0x1 | 0x2 | 0x4 | 0x8 | 0x40 | 0x80 | 0x4000 | 0x8000 | 0x10000;
} // namespace inode_flag

/// "Linked Directory Entry Structure"; the name follows, not terminated.
struct DirEntry {
    le32 inode;   // 0: unused
    le16 rec_len; // to the next entry, coded for blocks of 64 KiB (directory block code)
    uint8_t name_len;
    uint8_t file_type; // with the feature "filetype", else the name length's high byte: 0
};
static_assert(sizeof(DirEntry) == 8 && alignof(DirEntry) == 1);

// "Indexed Directory Format". The root stands in block 0 behind the entries "." and "..".
inline constexpr uint32_t index_root_offset = 24;
inline constexpr uint8_t hash_legacy = 0;
inline constexpr uint8_t hash_half_md4 = 1;
inline constexpr uint8_t hash_tea = 2;

struct IndexRoot {
    le32 reserved;
    uint8_t hash_version;
    uint8_t info_length; // 8
    uint8_t indirect_levels;
    uint8_t unused_flags;
};
static_assert(sizeof(IndexRoot) == 8);
inline constexpr uint32_t index_root_table = index_root_offset + sizeof(IndexRoot);

/// The first slot of a table of IndexEntry: its hash is implied, its place holds this.
struct IndexCount {
    le16 limit;
    le16 count;
};
static_assert(sizeof(IndexCount) == 4);

struct IndexEntry {
    le32 hash;
    le32 block; // of the directory
};
static_assert(sizeof(IndexEntry) == 8);
inline constexpr uint32_t index_node_offset = 8; // behind an unused entry that fills the block

// "Extended Attributes": a header, entries, and values from the end of the region backwards.
inline constexpr uint32_t xattr_magic = 0xEA020000;
inline constexpr uint32_t xattr_max_references = 1024;

struct XattrBlockHeader {
    le32 magic;
    le32 references;
    le32 blocks; // 1
    le32 hash;   // of all entries
    le32 checksum;
    le32 reserved[3];
};
static_assert(sizeof(XattrBlockHeader) == 32);

struct XattrEntry {
    uint8_t name_len;
    uint8_t name_index;
    le16 value_offset; // from the block's start; in an inode from the first entry
    le32 value_inode;  // ea_inode, ext4; 0
    le32 value_size;
    le32 hash;
};
static_assert(sizeof(XattrEntry) == 16);

inline constexpr uint8_t xattr_user = 1;
inline constexpr uint8_t xattr_acl_access = 2;
inline constexpr uint8_t xattr_acl_default = 3;
inline constexpr uint8_t xattr_trusted = 4;
inline constexpr uint8_t xattr_security = 6;

/// A POSIX ACL as an attribute's value: this version, then entries of tag and permissions, and an
/// id for named users and groups.
inline constexpr uint32_t acl_version = 1;
struct AclEntryShort {
    le16 tag;
    le16 permissions;
};
struct AclEntryLong {
    le16 tag;
    le16 permissions;
    le32 id;
};
static_assert(sizeof(AclEntryShort) == 4 && sizeof(AclEntryLong) == 8);

} // namespace rump::ext2::disk
