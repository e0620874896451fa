// On-disk structures of the Fast File System: UFS1 and UFS2 as NetBSD, FreeBSD
// and OpenBSD write them, and their 4.3BSD ancestor.
//
// After McKusick, Joy, Leffler and Fabry, "A Fast File System for UNIX" (1984);
// fs(5) and inode(5) of 4.4BSD, NetBSD and FreeBSD. Each file system exists in
// either byte order: fields are raw16, raw32 and raw64, which cannot be read
// without naming the order.
//
// Units: "fragment" is the unit of addresses (fsize bytes), "block" is frag
// fragments (bsize bytes).
#pragma once

#include "hostshim/byte_order.h"

#include <array>
#include <cstddef>
#include <cstdint>

namespace rump::ffs::disk {

// --- the superblock (fs(5), struct fs)
// --------------------------------------------------------------

inline constexpr uint64_t superblock_size = 8192; // bytes reserved for it
/// Where it may be, in the order of the search.
inline constexpr std::array<uint64_t, 4> superblock_places{65536, 8192, 0, 262144};
inline constexpr uint64_t superblock_ufs1 = 8192;
inline constexpr uint64_t superblock_ufs2 = 65536;

inline constexpr uint32_t magic_ufs1 = 0x00011954;
inline constexpr uint32_t magic_ufs2 = 0x19540119;
inline constexpr uint32_t magic_ufs2ea = 0x19012038; // NetBSD: UFS2 whose inodes have attributes
inline constexpr uint32_t magic_unfinished = 0x19960408; // FreeBSD: newfs did not complete

inline constexpr uint32_t max_frag = 8; // fragments per block
inline constexpr uint32_t min_bsize = 4096;
inline constexpr uint32_t max_bsize = 65536;
inline constexpr uint32_t min_fsize = 512;
inline constexpr uint32_t max_contig = 16; // entries of the cluster summary
inline constexpr size_t snapshot_max = 20;

/// Counts of one cylinder group (struct csum).
struct Csum {
    raw32 ndir;
    raw32 nbfree; // whole free blocks
    raw32 nifree;
    raw32 nffree; // free fragments in blocks that are partly used
};
static_assert(sizeof(Csum) == 16);

/// The same over the whole file system (struct csum_total).
struct CsumTotal {
    raw64 ndir, nbfree, nifree, nffree;
    raw64 numclusters; // FreeBSD
    raw64 spare[3];
};
static_assert(sizeof(CsumTotal) == 64);

struct Superblock {
    raw32 firstfield, unused1;
    raw32 sblkno;                        // superblock copy, fragments from a group's start
    raw32 cblkno;                        // cylinder group block, likewise
    raw32 iblkno;                        // inodes, likewise
    raw32 dblkno;                        // first data, likewise
    raw32 old_cgoffset;                  // UFS1: groups' metadata are staggered by this …
    raw32 old_cgmask;                    // … times (group & ~mask)
    raw32 old_time, old_size, old_dsize; // UFS1
    raw32 ncg;
    raw32 bsize, fsize, frag;
    raw32 minfree; // percent
    raw32 old_rotdelay, old_rps;
    raw32 bmask, fmask, bshift, fshift;
    raw32 maxcontig; // blocks in one transfer
    raw32 maxbpg;    // blocks that a file takes of one group before it moves on
    raw32 fragshift, fsbtodb;
    raw32 sbsize;
    raw32 old_csmask, old_csshift;
    raw32 nindir, inopb;
    raw32 old_nspf;
    raw32 optim; // 0 time, 1 space
    raw32 old_npsect, old_interleave, old_trackskew;
    raw32 id[2];
    raw32 old_csaddr;
    raw32 cssize; // bytes of the summary area
    raw32 cgsize; // bytes of a cylinder group's block that are used
    raw32 old_ntrak, old_nsect, old_spc, old_ncyl, old_cpg;
    raw32 ipg; // inodes per group
    raw32 fpg; // fragments per group
    Csum old_cstotal;
    uint8_t fmod, clean, ronly;
    uint8_t old_flags;
    char fsmnt[468];
    char volname[32];
    raw64 swuid;
    raw32 pad;
    raw32 cgrotor;
    uint8_t ocsp[128]; // pointers of a kernel, without meaning here
    raw32 old_cpc;
    raw32 maxbsize; // what follows up to sblockloc is a rotation table in file
                    // systems that were never "updated" (flag_updated)
    uint8_t journal_version, journal_location; // NetBSD's log
    uint8_t journal_reserved[2];
    raw32 journal_flags;
    raw64 journal_locs[4];
    raw32 quota_magic; // NetBSD's quota2
    uint8_t quota_flags, quota_pad[3];
    raw64 quota_files[2];
    raw64 spare64[8];
    raw64 sblockactualloc; // FreeBSD: where this copy is
    raw64 sblockloc;       // bytes: where the first copy is
    CsumTotal cstotal;
    raw64 time, size, dsize, csaddr;
    raw64 pendingblocks; // being freed (FreeBSD)
    raw32 pendinginodes;
    raw32 snapinum[snapshot_max];
    raw32 avgfilesize, avgfpdir;
    raw32 save_cgsize;
    raw64 mtime;   // FreeBSD: last mount or check
    raw32 sujfree; // FreeBSD: list of free journal inodes
    raw32 spare32[21];
    raw32 ckhash;     // FreeBSD: CRC32C of the superblock
    raw32 metackhash; // FreeBSD: ck_* that are kept
    raw32 flags;
    raw32 contigsumsize;
    raw32 maxsymlinklen; // targets up to this live in the inode; 0 also says: old
                         // directories
    raw32 old_inodefmt;
    raw64 maxfilesize;
    raw64 qbmask, qfmask;
    raw32 state;
    raw32 old_postblformat;
    raw32 old_nrpos;
    raw32 old_postbloff, old_rotbloff;
    raw32 magic;
};
static_assert(sizeof(Superblock) == 1376 && alignof(Superblock) == 1);
static_assert(offsetof(Superblock, fsmnt) == 212 && offsetof(Superblock, maxbsize) == 860);
static_assert(offsetof(Superblock, quota_magic) == 904 && offsetof(Superblock, sblockloc) == 1000);
static_assert(offsetof(Superblock, avgfilesize) == 1196 && offsetof(Superblock, ckhash) == 1304);
static_assert(offsetof(Superblock, flags) == 1312 && offsetof(Superblock, magic) == 1372);

// Superblock::flags (old_flags of a UFS1 that was never updated). Bits above
// 0x80 mean one thing in NetBSD and another in FreeBSD.
inline constexpr uint32_t flag_unclean = 0x1;
inline constexpr uint32_t flag_softdep = 0x2;
inline constexpr uint32_t flag_needs_fsck = 0x4;
inline constexpr uint32_t flag_suj = 0x8; // journaled soft updates
inline constexpr uint32_t flag_acls = 0x10;
inline constexpr uint32_t flag_gjournal = 0x40;
inline constexpr uint32_t flag_updated = 0x80; // in old_flags: the 64-bit fields are valid
inline constexpr uint32_t flag_netbsd_wapbl = 0x100;
inline constexpr uint32_t flag_freebsd_nfs4acls = 0x100;
inline constexpr uint32_t flag_netbsd_quota2 = 0x200;
inline constexpr uint32_t flag_freebsd_metackhash = 0x200;

// Superblock::metackhash
inline constexpr uint32_t ck_superblock = 0x1;
inline constexpr uint32_t ck_cylgrp = 0x2;
inline constexpr uint32_t ck_inode = 0x4;
inline constexpr uint32_t ck_indir = 0x8;
inline constexpr uint32_t ck_dir = 0x10;

// Superblock::clean
inline constexpr uint8_t is_clean = 0x01;
inline constexpr uint8_t was_clean = 0x02;
inline constexpr uint8_t sun_stable = 0x02;
inline constexpr uint8_t sun_states = 0xfc;        // from here on: in need of a check …
inline constexpr uint8_t sun_log = 0xfd;           // … or with a log
inline constexpr uint32_t state_okay = 0x7c269d38; // state + time of old systems

inline constexpr int32_t inodefmt_42 = -1; // 16-bit owners
inline constexpr int32_t inodefmt_44 = 2;
inline constexpr int32_t postblformat_42 = -1; // cylinder groups in the format of 4.2BSD
inline constexpr int32_t postblformat_dynamic = 1;

inline constexpr uint32_t quota2_magic = 0x1951a1ea; // "quota2" head; see quota2.h of NetBSD

// --- cylinder groups (struct cg)
// --------------------------------------------------------------------

inline constexpr uint32_t cg_magic = 0x00090255;

struct CylinderGroup {
    raw32 firstfield, magic;
    raw32 old_time;
    raw32 cgx; // its own number
    raw16 old_ncyl, old_niblk;
    raw32 ndblk; // fragments
    Csum cs;
    raw32 rotor, frotor, irotor; // last used block, fragment, inode
    raw32 frsum[max_frag];       // how many runs of each length
    raw32 old_btotoff,
        old_boff;        // UFS1: blocks free per cylinder and rotational position
    raw32 iusedoff;      // inode bitmap: 1 used
    raw32 freeoff;       // fragment bitmap: 1 free
    raw32 nextfreeoff;   // end of the maps
    raw32 clustersumoff; // runs of free blocks by length, from index 1
    raw32 clusteroff;    // block bitmap: 1 free
    raw32 nclusterblks;
    raw32 niblk;
    raw32 initediblk; // UFS2: inodes from here on were never written
    raw32 unrefs;     // FreeBSD
    raw32 spare32;
    raw32 ckhash; // FreeBSD: CRC32C of the block
    raw64 time;
    raw64 spare64[3];
};
static_assert(sizeof(CylinderGroup) == 168 && alignof(CylinderGroup) == 1);
static_assert(offsetof(CylinderGroup, iusedoff) == 92 && offsetof(CylinderGroup, ckhash) == 132);

/// What 64-bit systems count for the header when they compute cgsize: one byte of its maps, padded.
/// NetBSD mounts nothing whose cgsize differs.
inline constexpr uint32_t cg_struct_size = 176;

/// 4.2BSD's (struct ocg): fixed tables; only told apart, never written.
inline constexpr size_t old_cg_magic_offset = 980;

// --- inodes (inode(5), struct ufs1_dinode and ufs2_dinode)
// -------------------------------------------

inline constexpr unsigned direct_count = 12;
inline constexpr unsigned indirect_count = 3;
inline constexpr unsigned ext_count = 2; // blocks of attributes
inline constexpr uint64_t root_inode = 2;
inline constexpr uint64_t whiteout_inode = 1;

struct Dinode1 {
    raw16 mode, nlink;
    raw16 old_uid, old_gid; // inodefmt_42; elsewhere: inode number
    raw64 size;
    raw32 atime, atimensec, mtime, mtimensec, ctime, ctimensec;
    raw32 db[direct_count], ib[indirect_count];
    raw32 flags;
    raw32 blocks; // 512-byte units
    raw32 gen;
    raw32 uid, gid;
    raw64 modrev;
};
static_assert(sizeof(Dinode1) == 128 && offsetof(Dinode1, db) == 40 && alignof(Dinode1) == 1);

struct Dinode2 {
    raw16 mode, nlink;
    raw32 uid, gid;
    raw32 blksize;
    raw64 size;
    raw64 blocks; // 512-byte units
    raw64 atime, mtime, ctime, birthtime;
    raw32 mtimensec, atimensec, ctimensec, birthnsec;
    raw32 gen;
    raw32 kernflags;
    raw32 flags;
    raw32 extsize; // bytes of attributes
    raw64 extb[ext_count];
    raw64 db[direct_count], ib[indirect_count];
    raw64 modrev;
    raw32 freelink; // FreeBSD: next unreferenced inode; a directory's depth below the root
    raw32 ckhash;   // FreeBSD: CRC32C of the inode
    raw32 spare[2];
};
static_assert(sizeof(Dinode2) == 256 && offsetof(Dinode2, db) == 112 && alignof(Dinode2) == 1);

// Dinode::flags (chflags(2))
inline constexpr uint32_t uf_nodump = 0x00000001;
inline constexpr uint32_t uf_immutable = 0x00000002;
inline constexpr uint32_t uf_append = 0x00000004;
inline constexpr uint32_t uf_opaque = 0x00000008;
inline constexpr uint32_t sf_archived = 0x00010000;
inline constexpr uint32_t sf_immutable = 0x00020000;
inline constexpr uint32_t sf_append = 0x00040000;
inline constexpr uint32_t sf_nounlink = 0x00100000; // FreeBSD
inline constexpr uint32_t sf_snapshot = 0x00200000;
inline constexpr uint32_t sf_log = 0x00400000; // NetBSD: the log's inode
inline constexpr uint32_t sf_snapinval = 0x00800000;

// Block addresses in a snapshot's map that are no addresses.
inline constexpr uint64_t snapshot_nocopy = 1;
inline constexpr uint64_t snapshot_snap = 2;

// --- directories (dir(5))
// -------------------------------------------------------------------------------

inline constexpr uint32_t dirblk = 512;        // entries do not cross these; a sector is not torn
inline constexpr uint32_t dirblk_apple = 1024; // Apple UFS

struct Dirent {
    raw32 ino;
    raw16 reclen;
    uint8_t type; // DT_*; old format: with namlen one 16-bit length
    uint8_t namlen;
}; // the name follows, ends with NUL, padded to 4 bytes
static_assert(sizeof(Dirent) == 8 && alignof(Dirent) == 1);

struct OldDirent {
    raw32 ino;
    raw16 reclen;
    raw16 namlen;
};
static_assert(sizeof(OldDirent) == 8);

/// Bytes that an entry needs.
constexpr uint32_t dirent_size(size_t name_length) {
    return static_cast<uint32_t>((sizeof(Dirent) + name_length + 1 + 3) & ~size_t{3});
}

// --- extended attributes in UFS2 inodes (extattr(9), struct extattr)
// ---------------------------------

struct Extattr {
    raw32 length; // of the record, multiple of 8
    uint8_t name_space;
    uint8_t contentpadlen;
    uint8_t namelength;
}; // the name, padding to 8 bytes from the record's start, the value, padding
   // to 8
inline constexpr size_t extattr_header = 7;
static_assert(sizeof(Extattr) == extattr_header && alignof(Extattr) == 1);
inline constexpr uint8_t namespace_user = 1;
inline constexpr uint8_t namespace_system = 2;

/// UFS1's backing files: one per attribute, a record for each inode behind this
/// header.
struct ExtattrFileHeader {
    raw32 magic, version, size;
};
inline constexpr uint32_t extattr_file_magic = 0x00b5d5ec;
inline constexpr uint32_t extattr_file_version = 3;
struct ExtattrRecordHeader {
    raw32 flags, length, generation;
};
inline constexpr uint32_t extattr_in_use = 1;

// --- NetBSD's log (wapbl(4), sys/wapbl_replay.h)
// -----------------------------------------------------

inline constexpr uint8_t journal_version_wapbl = 1;
inline constexpr uint8_t journal_none = 0;
inline constexpr uint8_t journal_end_of_partition = 1;
inline constexpr uint8_t journal_in_filesystem = 2;
inline constexpr unsigned journal_loc_address = 0; // in units of …
inline constexpr unsigned journal_loc_count = 1;
inline constexpr unsigned journal_loc_blksz = 2; // … this many bytes
inline constexpr unsigned journal_loc_inode = 3;
inline constexpr uint32_t journal_flag_create = 0x1;
inline constexpr uint32_t journal_flag_clear = 0x2;

inline constexpr uint32_t wapbl_header = 0x5741424c; // "WABL"
inline constexpr uint32_t wapbl_inodes = wapbl_header + 1;
inline constexpr uint32_t wapbl_revocations = wapbl_header + 2;
inline constexpr uint32_t wapbl_blocks = wapbl_header + 3;

/// Two of them stand at the log's start, the one with the higher generation
/// counts.
struct WapblHeader {
    raw32 type, len;
    raw32 checksum; // unused: 0
    raw32 generation;
    raw32 fsid[2];
    raw64 time;
    raw32 timensec;
    raw32 version;
    raw32 log_dev_bshift, fs_dev_bshift;
    raw64 head, tail; // bytes from the log's start; both 0: empty
    raw64 circ_off, circ_size;
};
static_assert(sizeof(WapblHeader) == 80);

struct WapblBlock {
    raw64 daddr; // 512-byte units
    raw32 unused;
    raw32 dlen; // bytes
};
struct WapblBlockList {
    raw32 type, len, blkcount, unused;
    // WapblBlock[blkcount]; wapbl_blocks: their contents from the next log block
    // on
};
static_assert(sizeof(WapblBlockList) == 16 && sizeof(WapblBlock) == 16);

struct WapblInode {
    raw32 number, mode;
};
struct WapblInodeList {
    raw32 type, len, inocnt;
    raw32 clear; // forget the inodes listed before
                 // WapblInode[inocnt]
};
static_assert(sizeof(WapblInodeList) == 16 && sizeof(WapblInode) == 8);

// --- Apple's label at 7 KiB
// ---------------------------------------------------------------------------

inline constexpr uint64_t apple_label_offset = 7168;
inline constexpr uint32_t apple_label_magic = 0x4c41424c; // big-endian

} // namespace rump::ffs::disk
