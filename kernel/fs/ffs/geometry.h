// What later code may trust of a superblock: Geometry, made only by `validate`,
// and the arithmetic of cylinder groups, blocks and fragments (fs(5)).
#pragma once

#include "kernel/fs/ffs/format.h"

#include "hostshim/block_device.h"
#include "hostshim/strong.h"

#include <bit>
#include <optional>
#include <string>
#include <vector>

namespace rump::ffs {

/// Of a power of two.
inline uint32_t log2_of(uint64_t v) { return static_cast<uint32_t>(std::countr_zero(v)); }

/// Address of a fragment.
struct FragTag;
using FragNumber = Strong<FragTag, uint64_t>;

/// Where NetBSD's log is, in bytes.
struct LogPlace {
    uint64_t offset = 0;
    uint64_t length = 0;
    uint32_t block_size = 512;
    uint64_t inode = 0; // 0: behind the file system
};

class Geometry {
public:
    /// EUCLEAN with the field's name when the superblock contradicts itself or
    /// the device. `found_at`: bytes.
    static FailureOr<Geometry> validate(const disk::Superblock& sb, ByteOrder order,
                                        uint64_t found_at, uint64_t device_size);

    ByteOrder order{std::endian::little};
    bool ufs2 = false;
    bool ea_magic = false;   // NetBSD's UFS2 with attributes
    bool updated = true;     // the 64-bit fields of the superblock are valid
    bool old_inodes = false; // 16-bit owners
    bool old_dirs = false;   // no types in directory entries
    bool old_groups = false; // cylinder groups of 4.2BSD
    uint64_t superblock_offset = 0;
    uint32_t superblock_bytes = 0;
    uint32_t bsize = 0, fsize = 0, frag = 0;
    uint32_t bshift = 0, fshift = 0, fragshift = 0, fsbtodb = 0;
    uint32_t sblkno = 0, cblkno = 0, iblkno = 0, dblkno = 0;
    uint32_t cgoffset = 0, cgmask = 0;
    uint32_t ncg = 0, ipg = 0, fpg = 0;
    uint32_t inode_size = 0, inopb = 0, nindir = 0, pointer_size = 0;
    uint64_t size = 0, dsize = 0; // fragments
    FragNumber csaddr;
    uint32_t cssize = 0, cgsize = 0, contigsumsize = 0;
    uint32_t minfree = 0, optim = 0, maxbpg = 0, maxcontig = 0, avgfilesize = 0, avgfpdir = 0;
    uint32_t maxsymlinklen = 0;
    uint64_t max_file_size = 0;
    uint32_t dirblk = disk::dirblk;
    uint32_t flags = 0;
    uint32_t metackhash = 0; // check hashes that are kept
    bool netbsd = false;     // flags above 0x80 are NetBSD's
    bool freebsd = false;    // FreeBSD's fields of the superblock are in use
    /// Inodes may get attributes. Not in a UFS2 that NetBSD or OpenBSD has had and that does not
    /// say so: they know none there, and NetBSD's fsck takes them away, and the file's permissions.
    bool attributes = false;
    std::optional<LogPlace> log;
    bool log_flag = false; // NetBSD: in use, or was when the system went down
    bool quota2 = false;
    bool snapshots = false;
    // UFS1 that was never updated: rotational tables are kept
    uint32_t old_nspf = 0, old_npsect = 0, old_interleave = 0, old_trackskew = 0, old_nsect = 0;
    uint32_t old_spc = 0, old_ncyl = 0, old_cpg = 0, old_nrpos = 0;
    bool old_tables() const { return !ufs2 && !updated; }

    // --- groups
    // ---------------------------------------------------------------------------------------

    uint64_t cg_base(uint32_t cg) const { return uint64_t{fpg} * cg; }
    uint64_t cg_start(uint32_t cg) const {
        return ufs2 ? cg_base(cg) : cg_base(cg) + uint64_t{cgoffset} * (cg & ~cgmask);
    }
    FragNumber cg_super(uint32_t cg) const { return FragNumber(cg_start(cg) + sblkno); }
    FragNumber cg_block(uint32_t cg) const { return FragNumber(cg_start(cg) + cblkno); }
    FragNumber cg_inodes(uint32_t cg) const { return FragNumber(cg_start(cg) + iblkno); }
    FragNumber cg_data(uint32_t cg) const { return FragNumber(cg_start(cg) + dblkno); }
    /// Fragments of the group: the last one may be short.
    uint32_t cg_frags(uint32_t cg) const {
        const uint64_t left = size - cg_base(cg);
        return left < fpg ? static_cast<uint32_t>(left) : fpg;
    }
    uint32_t cg_of(FragNumber f) const { return static_cast<uint32_t>(f.value() / fpg); }
    uint32_t cg_offset(FragNumber f) const { return static_cast<uint32_t>(f.value() % fpg); }
    /// True when [f, f + count) is one block's or part of one, and in a group's
    /// data area.
    bool is_data(uint64_t f, uint32_t count) const;

    // --- inodes
    // ----------------------------------------------------------------------------------------

    uint64_t inode_count() const { return uint64_t{ncg} * ipg; }
    bool is_inode(uint64_t ino) const { return ino >= disk::root_inode && ino < inode_count(); }
    uint32_t cg_of_inode(uint64_t ino) const { return static_cast<uint32_t>(ino / ipg); }
    /// The block of inodes that holds `ino`.
    FragNumber inode_block(uint64_t ino) const {
        return cg_inodes(cg_of_inode(ino)) +
               uint64_t{static_cast<uint32_t>(ino % ipg) / inopb} * frag;
    }
    uint32_t inode_offset(uint64_t ino) const {
        return static_cast<uint32_t>(ino % inopb) * inode_size;
    }

    // --- sizes
    // -----------------------------------------------------------------------------------------

    uint64_t bytes(FragNumber f) const { return f.value() << fshift; }
    uint64_t block_of(uint64_t offset) const { return offset >> bshift; }
    uint32_t in_block(uint64_t offset) const { return static_cast<uint32_t>(offset & (bsize - 1)); }
    /// Directories are cached by fragment (Apple: chunk), so that what is cached
    /// never changes its size when the last fragments of one grow, shrink or
    /// move.
    uint32_t dir_unit() const { return fsize > dirblk ? fsize : dirblk; }
    uint32_t in_dir_unit(uint64_t offset) const {
        return static_cast<uint32_t>(offset & (dir_unit() - 1));
    }
    uint32_t frag_round(uint32_t n) const { return (n + fsize - 1) & ~(fsize - 1); }
    uint32_t frags(uint32_t n) const { return (n + fsize - 1) >> fshift; }
    /// Bytes allocated for block `lbn` of a file of `file_size` bytes, if it is
    /// allocated.
    uint32_t block_size(uint64_t file_size, uint64_t lbn) const {
        if (lbn >= disk::direct_count || file_size >= (lbn + 1) << bshift) return bsize;
        return frag_round(in_block(file_size));
    }
    /// Bytes that a cylinder group with all its maps takes.
    uint64_t cg_bytes() const;

private:
    Geometry() = default;
};

/// A superblock as found, with its order and place.
struct FoundSuperblock {
    disk::Superblock raw;
    ByteOrder order{std::endian::little};
    uint64_t offset = 0;
    std::vector<std::byte> bytes; // all superblock_size of them
};

/// Looks at 64, 8, 0 and 256 KiB. None: no FFS. EIO. Does not validate.
Result<std::optional<FoundSuperblock>> find_superblock(host::BlockDevice& device);

/// Apple's label before the file system says that its directories have larger chunks. EIO.
Result<void> read_apple_label(host::BlockDevice& device, Geometry& geo);

/// CRC32C as the check hashes of FreeBSD use it: from ~0, not inverted at the
/// end.
uint32_t check_hash(std::span<const std::byte> bytes);
/// The hash of a superblock's `sbsize` bytes with its own field as zero.
uint32_t superblock_hash(std::span<const std::byte> bytes);

} // namespace rump::ffs
