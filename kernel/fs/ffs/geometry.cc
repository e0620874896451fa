// Validation of superblocks. Each relation between fields that other code
// relies on is checked here, once (fs(5); the list of lies is the one of every
// image fuzzer: shifts, masks, products, places).
#include "kernel/fs/ffs/geometry.h"
#include "kernel/sys/missing_end.h"
#include "kernel/sys/rounding.h"

#include <fmt/format.h>

#include <isa-l/crc.h>

#include <algorithm>

namespace rump::ffs {

namespace {

Failure wrong(std::string_view field) {
    return Failure(Errno::uclean, fmt::format("superblock: {} is wrong", field));
}

bool power_of_two(uint32_t v) { return v != 0 && (v & (v - 1)) == 0; }

} // namespace

#define CHECK_FIELD(condition, field)                                                              \
    if (!(condition)) return wrong(field)

namespace {

using disk::Superblock;

FailureOr<void> read_sizes(Geometry& g, const Superblock& sb) {
    const ByteOrder o = g.order;
    g.bsize = o.get(sb.bsize);
    g.fsize = o.get(sb.fsize);
    g.frag = o.get(sb.frag);
    CHECK_FIELD(power_of_two(g.bsize) && g.bsize >= disk::min_bsize && g.bsize <= disk::max_bsize,
                "bsize");
    CHECK_FIELD(power_of_two(g.fsize) && g.fsize >= disk::min_fsize && g.fsize <= g.bsize, "fsize");
    CHECK_FIELD(g.frag <= disk::max_frag && g.frag == g.bsize / g.fsize, "frag");
    g.bshift = log2_of(g.bsize);
    g.fshift = log2_of(g.fsize);
    g.fragshift = log2_of(g.frag);
    CHECK_FIELD(o.get(sb.bshift) == g.bshift, "bshift");
    CHECK_FIELD(o.get(sb.fshift) == g.fshift, "fshift");
    CHECK_FIELD(o.get(sb.fragshift) == g.fragshift, "fragshift");
    CHECK_FIELD(o.get(sb.bmask) == ~(g.bsize - 1), "bmask");
    CHECK_FIELD(o.get(sb.fmask) == ~(g.fsize - 1), "fmask");
    g.fsbtodb = o.get(sb.fsbtodb);
    CHECK_FIELD(g.fsbtodb <= g.fshift - 9, "fsbtodb");
    g.superblock_bytes = o.get(sb.sbsize);
    CHECK_FIELD(g.superblock_bytes >= sizeof(Superblock) &&
                    g.superblock_bytes <= disk::superblock_size,
                "sbsize");
    g.inode_size = g.ufs2 ? sizeof(disk::Dinode2) : sizeof(disk::Dinode1);
    g.pointer_size = g.ufs2 ? 8 : 4;
    g.inopb = g.bsize / g.inode_size;
    g.nindir = g.bsize / g.pointer_size;
    CHECK_FIELD(o.get(sb.inopb) == g.inopb, "inopb");
    CHECK_FIELD(o.get(sb.nindir) == g.nindir, "nindir");
    return {};
}

FailureOr<void> read_groups(Geometry& g, const Superblock& sb, uint64_t device_size) {
    const ByteOrder o = g.order;
    g.sblkno = o.get(sb.sblkno);
    g.cblkno = o.get(sb.cblkno);
    g.iblkno = o.get(sb.iblkno);
    g.dblkno = o.get(sb.dblkno);
    g.ncg = o.get(sb.ncg);
    g.ipg = o.get(sb.ipg);
    g.fpg = o.get(sb.fpg);
    g.cgsize = o.get(sb.cgsize);
    if (const uint32_t saved = o.get(sb.save_cgsize); g.updated && saved != 0) g.cgsize = saved;
    CHECK_FIELD(g.ncg >= 1 && g.ncg <= INT32_MAX, "ncg");
    CHECK_FIELD(g.ipg >= g.inopb && g.ipg % g.inopb == 0 && g.ipg <= g.bsize * 8, "ipg");
    CHECK_FIELD(uint64_t{g.ipg} * g.ncg <= UINT32_MAX, "ncg");
    CHECK_FIELD(g.fpg >= g.frag && g.fpg % g.frag == 0 && g.fpg <= g.bsize * 8, "fpg");
    g.size = g.updated ? o.get(sb.size) : o.get(sb.old_size);
    g.dsize = g.updated ? o.get(sb.dsize) : o.get(sb.old_dsize);
    CHECK_FIELD(g.size > uint64_t{g.fpg} * (g.ncg - 1) && g.size <= uint64_t{g.fpg} * g.ncg,
                "size against ncg and fpg");
    CHECK_FIELD(g.ufs2 || g.size <= INT32_MAX, "size");
    CHECK_FIELD(g.dsize <= g.size, "dsize");
    if (g.size > device_size >> g.fshift)
        return Failure(Errno::uclean,
                       fmt::format("superblock: size is {} bytes, the image has {}{}",
                                   g.size << g.fshift, device_size,
                                   how_to_read_the_rest(g.size, g.fsize)));
    CHECK_FIELD(g.cgsize >= sizeof(disk::CylinderGroup) && g.cgsize <= g.bsize, "cgsize");
    CHECK_FIELD(g.sblkno < g.cblkno, "sblkno");
    CHECK_FIELD(g.cblkno < g.iblkno && g.iblkno - g.cblkno >= howmany(g.cgsize, g.fsize), "cblkno");
    CHECK_FIELD(g.iblkno < g.dblkno && g.dblkno <= g.fpg &&
                    g.dblkno - g.iblkno >= uint64_t{g.ipg / g.inopb} * g.frag,
                "dblkno");
    if (!g.ufs2) {
        g.cgoffset = o.get(sb.old_cgoffset);
        g.cgmask = o.get(sb.old_cgmask);
        const uint64_t most = std::min<uint64_t>(g.ncg - 1, ~g.cgmask);
        CHECK_FIELD(uint64_t{g.cgoffset} * most + g.dblkno <= g.fpg, "old_cgoffset");
    }
    CHECK_FIELD(g.cg_start(g.ncg - 1) + g.dblkno <= g.size, "size: the last group is too short");
    return {};
}

FailureOr<void> read_summary(Geometry& g, const Superblock& sb) {
    const ByteOrder o = g.order;
    g.cssize = o.get(sb.cssize);
    CHECK_FIELD(g.cssize >= uint64_t{g.ncg} * sizeof(disk::Csum) &&
                    g.cssize <= ((uint64_t{g.ncg} * sizeof(disk::Csum) + g.bsize - 1) &
                                 ~uint64_t{g.bsize - 1}),
                "cssize");
    g.csaddr = FragNumber(g.updated ? o.get(sb.csaddr) : o.get(sb.old_csaddr));
    const uint64_t end = g.csaddr.value() + howmany(g.cssize, g.fsize);
    CHECK_FIELD(g.csaddr.value() < g.size && end <= g.size && g.is_data(g.csaddr.value(), 1),
                "csaddr");
    g.contigsumsize = o.get(sb.contigsumsize);
    CHECK_FIELD(g.contigsumsize <= disk::max_contig, "contigsumsize");
    g.minfree = o.get(sb.minfree);
    CHECK_FIELD(g.minfree <= 99, "minfree");
    g.optim = o.get(sb.optim);
    CHECK_FIELD(g.optim <= 1, "optim");
    g.maxbpg = std::max<uint32_t>(1, o.get(sb.maxbpg));
    g.maxcontig = std::clamp<uint32_t>(o.get(sb.maxcontig), 1, 1024);
    g.avgfilesize = g.updated ? o.get(sb.avgfilesize) : 0;
    g.avgfpdir = g.updated ? o.get(sb.avgfpdir) : 0;
    if (g.avgfilesize == 0 || g.avgfilesize > INT32_MAX) g.avgfilesize = 16384;
    if (g.avgfpdir == 0 || g.avgfpdir > INT32_MAX) g.avgfpdir = 64;
    g.maxsymlinklen = o.get(sb.maxsymlinklen);
    CHECK_FIELD(g.maxsymlinklen <= (g.ufs2 ? 120u : 60u), "maxsymlinklen");
    return {};
}

uint64_t largest_file(const Geometry& g) {
    uint64_t blocks = disk::direct_count;
    uint64_t level = 1;
    for (unsigned i = 0; i < disk::indirect_count; ++i) blocks += level *= g.nindir;
    // bsize 64K in UFS2: 2^39 blocks of 2^16 bytes still fit
    const uint64_t by_map = (blocks << g.bshift) - 1;
    return std::min<uint64_t>(by_map, INT64_MAX);
}

FailureOr<void> read_files(Geometry& g, const Superblock& sb) {
    const ByteOrder o = g.order;
    g.old_inodes = !g.ufs2 && static_cast<int32_t>(o.get(sb.old_inodefmt)) < disk::inodefmt_44;
    g.old_dirs = !g.ufs2 && g.maxsymlinklen == 0;
    g.old_groups =
        !g.ufs2 && static_cast<int32_t>(o.get(sb.old_postblformat)) == disk::postblformat_42;
    g.max_file_size = largest_file(g);
    const uint64_t stated = o.get(sb.maxfilesize);
    if (g.old_inodes) {
        g.max_file_size = std::min<uint64_t>(g.max_file_size, uint64_t{1} << 39);
    } else {
        CHECK_FIELD(stated != 0 && stated <= INT64_MAX, "maxfilesize");
        g.max_file_size = std::min(g.max_file_size, stated);
    }
    if (!g.ufs2) g.max_file_size = std::min(g.max_file_size, uint64_t{0x80000000} * g.bsize - 1);
    if (g.old_tables()) {
        g.old_nspf = o.get(sb.old_nspf);
        g.old_nsect = o.get(sb.old_nsect);
        g.old_npsect = o.get(sb.old_npsect);
        g.old_interleave = o.get(sb.old_interleave);
        g.old_trackskew = o.get(sb.old_trackskew);
        g.old_spc = o.get(sb.old_spc);
        g.old_ncyl = o.get(sb.old_ncyl);
        g.old_cpg = o.get(sb.old_cpg);
        g.old_nrpos = o.get(sb.old_nrpos);
    }
    return {};
}

FailureOr<void> read_log_place(Geometry& g, const Superblock& sb, uint64_t device_size) {
    const ByteOrder o = g.order;
    if (!g.updated || sb.journal_version != disk::journal_version_wapbl) return {};
    if (sb.journal_location != disk::journal_end_of_partition &&
        sb.journal_location != disk::journal_in_filesystem)
        return {};
    const uint64_t address = o.get(sb.journal_locs[disk::journal_loc_address]);
    const uint64_t count = o.get(sb.journal_locs[disk::journal_loc_count]);
    const uint64_t unit = o.get(sb.journal_locs[disk::journal_loc_blksz]);
    if (address == 0 && count == 0) return {}; // to be made at the next mount with a log
    CHECK_FIELD(unit >= 512 && unit <= disk::max_bsize && power_of_two(static_cast<uint32_t>(unit)),
                "journal block size");
    CHECK_FIELD(address <= device_size / unit && count <= device_size / unit - address &&
                    count >= 4,
                "journal place");
    LogPlace place{address * unit, count * unit, static_cast<uint32_t>(unit), 0};
    const uint64_t fs_end = g.size << g.fshift;
    if (sb.journal_location == disk::journal_in_filesystem) {
        place.inode = o.get(sb.journal_locs[disk::journal_loc_inode]);
        CHECK_FIELD(g.is_inode(place.inode), "journal inode");
        CHECK_FIELD(place.offset + place.length <= fs_end, "journal place");
        CHECK_FIELD(place.offset > g.superblock_offset, "journal place");
    } else {
        CHECK_FIELD(place.offset >= fs_end, "journal place");
    }
    g.log = place;
    return {};
}

void read_flags(Geometry& g, const Superblock& sb) {
    const ByteOrder o = g.order;
    g.flags = g.updated ? o.get(sb.flags) : uint32_t{sb.old_flags};
    const bool quota_magic = g.updated && o.get(sb.quota_magic) == disk::quota2_magic;
    g.netbsd = g.log.has_value() || quota_magic;
    g.log_flag = g.log && (g.flags & disk::flag_netbsd_wapbl) != 0;
    g.quota2 = quota_magic && (g.flags & disk::flag_netbsd_quota2) != 0;
    if (g.updated && !g.netbsd && (g.flags & disk::flag_freebsd_metackhash) != 0)
        g.metackhash = o.get(sb.metackhash);
    g.freebsd = g.updated && !g.netbsd &&
                (o.get(sb.sblockactualloc) != 0 || o.get(sb.mtime) != 0 || g.metackhash != 0);
    const bool mounted_elsewhere = sb.fsmnt[0] != 0; // by a kernel that is not FreeBSD's
    g.attributes = g.ea_magic || g.freebsd || (g.ufs2 && !g.netbsd && !mounted_elsewhere);
    if (g.updated)
        for (const auto& ino : sb.snapinum)
            if (o.get(ino) != 0) g.snapshots = true;
}

} // namespace

FailureOr<Geometry> Geometry::validate(const disk::Superblock& sb, ByteOrder order,
                                       uint64_t found_at, uint64_t device_size) {
    Geometry g;
    g.order = order;
    const uint32_t magic = order.get(sb.magic);
    g.ufs2 = magic != disk::magic_ufs1;
    g.ea_magic = magic == disk::magic_ufs2ea;
    CHECK_FIELD(!g.ufs2 || magic == disk::magic_ufs2 || g.ea_magic, "magic");
    g.updated = g.ufs2 || (sb.old_flags & disk::flag_updated) != 0;
    g.superblock_offset = found_at;
    CHECK_FIELD(!g.updated || order.get(sb.sblockloc) == found_at, "sblockloc");
    TRY(read_sizes(g, sb));
    TRY(read_groups(g, sb, device_size));
    TRY(read_summary(g, sb));
    TRY(read_files(g, sb));
    TRY(read_log_place(g, sb, device_size));
    read_flags(g, sb);
    CHECK_FIELD(g.old_groups || g.cg_bytes() <= g.bsize, "cgsize against ipg and fpg");
    return g;
}

bool Geometry::is_data(uint64_t f, uint32_t count) const {
    if (count == 0 || count > frag || f >= size || count > size - f) return false;
    if ((f & (frag - 1)) + count > frag) return false;
    const uint32_t cg = cg_of(FragNumber(f));
    if (f + count <= cg_super(cg).value()) {
        // Before the group's superblock copy. In the first group the boot area and
        // the first superblock are here.
        return cg != 0 || f << fshift >= superblock_offset + superblock_bytes;
    }
    return f >= cg_data(cg).value();
}

uint64_t Geometry::cg_bytes() const {
    uint64_t n = sizeof(disk::CylinderGroup) + howmany(ipg, 8) + howmany(fpg, 8);
    if (old_tables()) n += uint64_t{old_cpg} * (4 + 2 * uint64_t{std::max(1u, old_nrpos)});
    if (contigsumsize > 0) n += uint64_t{contigsumsize} * 4 + howmany(fpg >> fragshift, 8);
    return n;
}

Result<std::optional<FoundSuperblock>> find_superblock(host::BlockDevice& device) {
    std::vector<std::byte> bytes(disk::superblock_size);
    for (uint64_t offset : disk::superblock_places) {
        if (offset + disk::superblock_size > device.size()) continue;
        TRY(device.read(offset, bytes));
        disk::Superblock sb;
        std::memcpy(&sb, bytes.data(), sizeof sb);
        for (const auto endian : {std::endian::little, std::endian::big}) {
            const ByteOrder order(endian);
            const uint32_t magic = order.get(sb.magic);
            const bool ufs1 = magic == disk::magic_ufs1;
            if (!ufs1 && magic != disk::magic_ufs2 && magic != disk::magic_ufs2ea) continue;
            // The first copy of a UFS1 with 64 KiB blocks is at 64 KiB, too: not the
            // one to use.
            if (ufs1 && offset == disk::superblock_ufs2) continue;
            if ((!ufs1 || (sb.old_flags & disk::flag_updated) != 0) &&
                order.get(sb.sblockloc) != offset)
                continue;
            return std::optional(FoundSuperblock{sb, order, offset, bytes});
        }
    }
    return std::optional<FoundSuperblock>{};
}

Result<void> read_apple_label(host::BlockDevice& device, Geometry& geo) {
    if (geo.ufs2 || geo.order.order() != std::endian::big) return {};
    std::array<std::byte, 4> label{};
    TRY(device.read(disk::apple_label_offset, label));
    be32 magic;
    std::memcpy(&magic, label.data(), sizeof magic);
    if (magic == disk::apple_label_magic) geo.dirblk = disk::dirblk_apple;
    return {};
}

uint32_t check_hash(std::span<const std::byte> bytes) {
    // ISA-L computes the reflected CRC from the given start without the final
    // inversion, as FreeBSD's calculate_crc32c does.
    const auto* p = reinterpret_cast<const unsigned char*>(bytes.data());
    // The prototype lacks const; the bytes are only read.
    return crc32_iscsi(const_cast<unsigned char*>(p), static_cast<int>(bytes.size()), ~0u);
}

uint32_t superblock_hash(std::span<const std::byte> bytes) {
    std::vector<std::byte> copy(bytes.begin(), bytes.end());
    std::fill_n(copy.begin() + offsetof(disk::Superblock, ckhash), 4, std::byte{0});
    return check_hash(copy);
}

} // namespace rump::ffs
