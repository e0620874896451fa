// Making an empty file system: sizes and places as NetBSD's newfs(8) chooses
// them, so that its fsck_ffs finds what it expects.
#include "kernel/fs/ffs/newfs.h"

#include "kernel/fs/ffs/backup.h"
#include "kernel/fs/ffs/dir.h"
#include "kernel/fs/ffs/group.h"
#include "kernel/fs/ffs/logfile.h"

#include "kernel/kern/kernel.h"
#include "kernel/sys/rounding.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace rump::ffs {

namespace {

constexpr uint32_t min_groups = 4;
constexpr uint32_t transfer_bytes = 65536;

using Kind = OptionSpec::Kind;
constexpr std::array<OptionSpec, 12> specs{{
    {"O", Kind::number, "N", "format: 0 (4.3BSD), 1 (FFSv1), 2 (FFSv2); default: 1"},
    {"b", Kind::size, "BYTES", "block size, 4k to 64k; default: by the size of the image"},
    {"f", Kind::size, "BYTES", "fragment size, a block to an eighth of it; default: an eighth"},
    {"i", Kind::size, "BYTES", "bytes for each inode; default: four fragments"},
    {"n", Kind::number, "N", "number of inodes, in place of i"},
    {"m", Kind::number, "PERCENT", "free space that is kept for root; default: 5"},
    {"o", Kind::text, "time|space", "what allocation optimises"},
    {"s", Kind::size, "BYTES", "size of the file system; default: the image's"},
    {"V", Kind::text, "NAME", "label, up to 31 bytes"},
    {"B", Kind::text, "le|be", "byte order; default: le"},
    {"l", Kind::size, "BYTES", "a log of this size behind the file system; 0: of the usual size"},
    {"ea", Kind::flag, "", "format 2 with extended attributes as NetBSD marks them"},
}};

Failure refused(std::string text) { return Failure(Errno::inval, std::move(text)); }

/// What is to be made.
struct Plan {
    ByteOrder order{std::endian::little};
    uint32_t format = 1;
    bool ea = false;
    uint32_t bsize = 0, fsize = 0, frag = 0, minfree = 5, optim = 0, maxcontig = 1, contigsum = 0;
    uint64_t density = 0, inodes = 0, bytes = 0, log_bytes = 0;
    std::string label;
    // computed
    bool ufs2 = false;
    uint32_t inopb = 0, nindir = 0, sblkno = 0, cblkno = 0, iblkno = 0, dblkno = 0;
    uint32_t ncg = 0, ipg = 0, fpg = 0, cgsize = 0, cssize = 0, csaddr = 0;
    uint64_t size = 0, dsize = 0, sblockloc = 0;

    uint64_t group_bytes(uint64_t inode_count, uint64_t frags) const {
        uint64_t n = disk::cg_struct_size + 4 + howmany(inode_count, 8) + howmany(frags, 8);
        if (!ufs2) n += 4 + 2; // one cylinder, one rotational position
        if (contigsum > 0) n += uint64_t{contigsum} * 4 + howmany(frags / frag, 8);
        return n;
    }
};

FailureOr<Plan> read_options(const OptionSet& o, uint64_t device_size) {
    Plan p;
    p.format = static_cast<uint32_t>(o.number("O", 1));
    if (p.format > 2) return refused("-O is 0, 1 or 2");
    p.ufs2 = p.format == 2;
    p.ea = o.has("ea");
    if (p.ea && !p.ufs2) return refused("ea needs -O 2");
    const std::string order = o.text("B", "le");
    if (order != "le" && order != "be") return refused("-B is le or be");
    p.order = ByteOrder(order == "be" ? std::endian::big : std::endian::little);
    p.bytes = o.number("s", device_size);
    if (p.bytes > device_size) return refused("-s is more than the image has");
    uint64_t bsize = o.number("b", p.bytes < (20u << 20)              ? 4096
                                   : p.bytes < (uint64_t{1000} << 20) ? 8192
                                   : p.bytes < (uint64_t{1} << 40)    ? 16384
                                                                      : 32768);
    if (!o.has("b") && o.has("f")) bsize = std::clamp<uint64_t>(o.number("f", 0) * 8, 4096, 65536);
    const uint64_t fsize = o.number("f", std::max<uint64_t>(bsize / 8, disk::min_fsize));
    if (!std::has_single_bit(bsize) || bsize < disk::min_bsize || bsize > disk::max_bsize)
        return refused("-b is a power of two from 4k to 64k");
    if (!std::has_single_bit(fsize) || fsize < disk::min_fsize || fsize > bsize ||
        bsize / fsize > disk::max_frag)
        return refused("-f is a power of two, 512 at least, a block to an eighth of one");
    p.bsize = static_cast<uint32_t>(bsize);
    p.fsize = static_cast<uint32_t>(fsize);
    p.frag = p.bsize / p.fsize;
    p.density = o.number("i", 4 * fsize);
    if (p.density == 0) return refused("-i is at least 1");
    p.inodes = o.number("n", 0);
    if (o.number("m", 5) > 99) return refused("-m is 0 to 99");
    p.minfree = static_cast<uint32_t>(o.number("m", 5));
    const std::string optim = o.text("o", p.minfree < 5 ? "space" : "time");
    if (optim != "time" && optim != "space") return refused("-o is time or space");
    p.optim = optim == "space" ? 1 : 0;
    p.label = o.text("V");
    if (p.label.size() > 31) return refused("the label is longer than 31 bytes");
    if (!p.label.empty() && p.format == 0) return refused("format 0 has no label");
    if (o.has("l")) {
        if (p.format == 0) return refused("format 0 has no log");
        p.log_bytes = o.number("l", 0);
        if (p.log_bytes == 0) p.log_bytes = usual_log_bytes(p.bytes);
        p.log_bytes = round_up(p.log_bytes, p.fsize);
        if (p.log_bytes < 65536 || p.log_bytes > p.bytes / 2)
            return refused("the log has no room in the image");
        p.bytes -= p.log_bytes;
    }
    p.maxcontig = std::max(1u, transfer_bytes / p.bsize);
    p.contigsum = p.maxcontig > 1 ? std::min(p.maxcontig, disk::max_contig) : 0;
    return p;
}

FailureOr<void> place_groups(Plan& p) {
    p.size = p.bytes / p.fsize;
    if (!p.ufs2 && p.size > INT32_MAX) return refused("too large for formats 0 and 1");
    p.inopb =
        p.bsize / static_cast<uint32_t>(p.ufs2 ? sizeof(disk::Dinode2) : sizeof(disk::Dinode1));
    p.nindir = p.bsize / (p.ufs2 ? 8 : 4);
    p.sblockloc = p.ufs2 ? disk::superblock_ufs2 : disk::superblock_ufs1;
    p.sblkno = static_cast<uint32_t>(
        round_up(howmany(p.sblockloc + disk::superblock_size, p.fsize), p.frag));
    p.cblkno =
        p.sblkno + static_cast<uint32_t>(round_up(howmany(disk::superblock_size, p.fsize), p.frag));
    p.iblkno = p.cblkno + p.frag;
    if (p.size < p.iblkno + 3 * uint64_t{p.frag})
        return refused(fmt::format("the image is too small: {} bytes are needed",
                                   (p.iblkno + 3 * uint64_t{p.frag}) * p.fsize));
    const uint64_t per_block = std::max<uint64_t>(p.density * p.inopb / p.fsize, 1);
    uint64_t inode_blocks =
        p.inodes != 0 ? howmany(p.inodes, p.inopb) : (p.size - p.iblkno) / (p.frag + per_block);
    inode_blocks = std::clamp<uint64_t>(inode_blocks, 1, (p.size - p.iblkno) / p.frag - 2);
    inode_blocks = std::min<uint64_t>(inode_blocks, ((uint64_t{1} << 31) - 8) / p.inopb);
    // As few groups as their blocks can describe, but four where there is room.
    const uint64_t zero = p.group_bytes(0, 0);
    const uint64_t all = p.group_bytes(inode_blocks * p.inopb, p.size);
    uint64_t ncg = std::max<uint64_t>(1, howmany(all - zero, p.bsize - zero - 1));
    if (ncg < min_groups) {
        const uint64_t room = p.size / 2 / (p.iblkno + inode_blocks * p.frag);
        ncg = std::clamp<uint64_t>(room, ncg, min_groups);
        ncg = std::min(ncg, inode_blocks);
    }
    uint64_t fpg = round_up(howmany(p.size, ncg), p.frag);
    if (const uint64_t n = p.group_bytes(inode_blocks * p.inopb / ncg, fpg); n > p.bsize)
        fpg -= round_up((n - p.bsize) * 8, p.frag);
    ncg = howmany(p.size, fpg);
    inode_blocks = howmany(inode_blocks, ncg);
    while (inode_blocks > 1 && p.group_bytes(inode_blocks * p.inopb, fpg) > p.bsize) --inode_blocks;
    p.ipg = static_cast<uint32_t>(inode_blocks * p.inopb);
    p.fpg = static_cast<uint32_t>(fpg);
    if (p.group_bytes(p.ipg, p.fpg) > p.bsize) return refused("too many inodes for the block size");
    p.dblkno = p.iblkno + static_cast<uint32_t>(inode_blocks) * p.frag;
    if (const uint64_t last = p.size - fpg * (ncg - 1); last < p.dblkno && ncg > 1) {
        --ncg; // what is left is too little for a group
        p.size -= last;
    }
    p.ncg = static_cast<uint32_t>(ncg);
    p.cgsize = static_cast<uint32_t>(round_up(p.group_bytes(p.ipg, p.fpg), p.fsize));
    p.csaddr = p.dblkno;
    p.cssize = static_cast<uint32_t>(round_up(p.ncg * sizeof(disk::Csum), p.fsize));
    const uint64_t csfrags = p.cssize / p.fsize;
    if (p.dblkno + csfrags + p.frag > std::min<uint64_t>(p.fpg, p.size))
        return refused("the image is too small for its groups");
    p.dsize = p.size - p.sblkno - uint64_t{p.ncg} * (p.dblkno - p.sblkno) - csfrags;
    return {};
}

void common_fields(disk::Superblock& s, const Plan& p, uint32_t now, uint32_t id) {
    const ByteOrder o = p.order;
    o.set(s.sblkno, p.sblkno);
    o.set(s.cblkno, p.cblkno);
    o.set(s.iblkno, p.iblkno);
    o.set(s.dblkno, p.dblkno);
    o.set(s.ncg, p.ncg);
    o.set(s.bsize, p.bsize);
    o.set(s.fsize, p.fsize);
    o.set(s.frag, p.frag);
    o.set(s.minfree, p.minfree);
    o.set(s.bmask, ~(p.bsize - 1));
    o.set(s.fmask, ~(p.fsize - 1));
    o.set(s.bshift, log2_of(p.bsize));
    o.set(s.fshift, log2_of(p.fsize));
    o.set(s.maxcontig, p.maxcontig);
    o.set(s.maxbpg, p.bsize / (p.ufs2 ? 8 : 4));
    o.set(s.fragshift, log2_of(p.frag));
    o.set(s.fsbtodb, log2_of(p.fsize / 512));
    o.set(s.sbsize, static_cast<uint32_t>(
                        std::min<uint64_t>(round_up(sizeof s, p.fsize), disk::superblock_size)));
    o.set(s.nindir, p.nindir);
    o.set(s.inopb, p.inopb);
    o.set(s.optim, p.optim);
    o.set(s.id[0], now);
    o.set(s.id[1], id & INT32_MAX);
    o.set(s.cssize, p.cssize);
    o.set(s.cgsize, p.cgsize);
    o.set(s.ipg, p.ipg);
    o.set(s.fpg, p.fpg);
    s.clean = disk::is_clean;
    o.set(s.contigsumsize, p.contigsum);
    uint64_t reach = p.bsize, most = uint64_t{p.bsize} * disk::direct_count - 1;
    for (unsigned i = 0; i < disk::indirect_count; ++i) most += reach *= p.nindir;
    o.set(s.maxfilesize, most);
    o.set(s.qbmask, p.bsize - 1);
    o.set(s.qfmask, p.fsize - 1);
    o.set(s.avgfilesize, 16384);
    o.set(s.avgfpdir, 64);
}

disk::Superblock make_superblock(const Plan& p, uint32_t now, uint32_t id) {
    const ByteOrder o = p.order;
    disk::Superblock s{};
    common_fields(s, p, now, id);
    if (p.format > 0) {
        s.old_flags = disk::flag_updated;
        o.set(s.maxbsize, p.bsize);
        o.set(s.sblockloc, p.sblockloc);
        o.set(s.time, now);
        o.set(s.size, p.size);
        o.set(s.dsize, p.dsize);
        o.set(s.csaddr, p.csaddr);
        o.set(s.maxsymlinklen, p.ufs2 ? 120 : 60);
        o.set(s.old_inodefmt, disk::inodefmt_44);
        std::copy(p.label.begin(), p.label.end(), s.volname);
    } else {
        o.set(s.old_inodefmt, static_cast<uint32_t>(disk::inodefmt_42));
        // Where the rotation table would be, nothing is listed.
        auto* table = reinterpret_cast<uint8_t*>(&s.maxbsize);
        std::fill_n(table, 256, uint8_t{0xff});
    }
    o.set(s.magic, !p.ufs2 ? disk::magic_ufs1 : p.ea ? disk::magic_ufs2ea : disk::magic_ufs2);
    if (!p.ufs2) {
        const uint32_t spc = p.fpg * (p.fsize / 512);
        o.set(s.old_cgmask, UINT32_MAX);
        o.set(s.old_time, now);
        o.set(s.old_size, static_cast<uint32_t>(p.size));
        o.set(s.old_dsize, static_cast<uint32_t>(p.dsize));
        o.set(s.old_csaddr, p.csaddr);
        o.set(s.old_rps, 60);
        o.set(s.old_nspf, p.fsize / 512);
        o.set(s.old_cpg, 1);
        o.set(s.old_interleave, 1);
        o.set(s.old_postblformat, disk::postblformat_dynamic);
        o.set(s.old_nrpos, 1);
        o.set(s.old_spc, spc);
        o.set(s.old_nsect, spc);
        o.set(s.old_npsect, spc);
        o.set(s.old_ncyl, p.ncg);
    }
    if (p.log_bytes != 0) {
        s.journal_version = disk::journal_version_wapbl;
        s.journal_location = disk::journal_end_of_partition;
        o.set(s.journal_locs[disk::journal_loc_address], round_up(p.bytes, 512) / 512);
        o.set(s.journal_locs[disk::journal_loc_count], p.log_bytes / 512);
        o.set(s.journal_locs[disk::journal_loc_blksz], 512);
    }
    return s;
}

class Maker {
public:
    Maker(Kernel& kernel, host::BlockDevice& device, const Plan& plan, const Geometry& geo,
          disk::Superblock& sb)
        : kernel_(kernel), device_(device), p_(plan), geo_(geo), sb_(sb), table_(geo.frag) {}

    Result<void> run();

private:
    Result<void> wipe();
    Result<void> group(uint32_t cg);
    Result<void> inodes(uint32_t cg);
    std::vector<std::byte> empty_group(uint32_t cg);
    void root(std::vector<std::byte>& group_block);
    Result<void> write_root();
    void add_totals(const disk::Csum& cs);

    Kernel& kernel_;
    host::BlockDevice& device_;
    const Plan& p_;
    const Geometry& geo_;
    disk::Superblock& sb_;
    const FragTable table_;
    std::vector<disk::Csum> summary_;
    uint64_t totals_[4] = {};
    FragNumber root_block_;
};

/// No other superblock may be found where one is looked for, nor a first copy of one, nor a label
/// of Apple's.
Result<void> Maker::wipe() {
    std::vector<uint64_t> places = first_backup_places();
    places.insert(places.end(), disk::superblock_places.begin(), disk::superblock_places.end());
    for (uint64_t place : places) {
        const uint64_t length = disk::superblock_size;
        if (place + length > device_.size()) continue;
        if (place < length) continue; // the boot area belongs to others
        TRY(device_.write_zeros(place, length));
    }
    std::array<std::byte, 4> none{};
    return device_.write(disk::apple_label_offset, none);
}

std::vector<std::byte> Maker::empty_group(uint32_t cg) {
    const ByteOrder o = p_.order;
    std::vector<std::byte> block(p_.cgsize);
    auto& h = *reinterpret_cast<disk::CylinderGroup*>(block.data());
    const uint32_t frags = geo_.cg_frags(cg);
    const auto now = static_cast<uint64_t>(kernel_.now().sec);
    o.set(h.magic, disk::cg_magic);
    o.set(h.cgx, cg);
    o.set(h.ndblk, frags);
    uint32_t at = sizeof h;
    if (p_.ufs2) {
        o.set(h.time, now);
        o.set(h.niblk, p_.ipg);
        o.set(h.initediblk, std::min(p_.ipg, 2 * p_.inopb));
    } else {
        o.set(h.old_time, static_cast<uint32_t>(now));
        // The last group of a format 0 has what is left of the cylinders: none,
        // with one a group.
        o.set(h.old_ncyl, p_.format == 0 && cg == p_.ncg - 1 ? 0 : 1);
        o.set(h.old_niblk, static_cast<uint16_t>(p_.ipg));
        o.set(h.old_btotoff, at);
        o.set(h.old_boff, at + 4);
        at += 4 + 2;
    }
    o.set(h.iusedoff, at);
    at += static_cast<uint32_t>(howmany(p_.ipg, 8));
    o.set(h.freeoff, at);
    at += static_cast<uint32_t>(howmany(p_.fpg, 8));
    if (p_.contigsum > 0) {
        o.set(h.nclusterblks, frags >> geo_.fragshift);
        // The sums are counted from 1: the place of the first overlaps the map.
        const auto sums = static_cast<uint32_t>(round_up(at - 4, 4));
        o.set(h.clustersumoff, sums);
        at = sums + (p_.contigsum + 1) * 4;
        o.set(h.clusteroff, at);
        at += static_cast<uint32_t>(howmany(p_.fpg >> geo_.fragshift, 8));
    }
    o.set(h.nextfreeoff, at);
    o.set(h.cs.nifree, p_.ipg);
    return block;
}

Result<void> Maker::group(uint32_t cg) {
    const ByteOrder o = p_.order;
    auto block = empty_group(cg);
    std::string_view wrong;
    const GroupMaps maps = TRY(check_group(geo_, cg, block, wrong));
    Group g(geo_, table_, block, maps);
    const uint64_t base = geo_.cg_base(cg);
    const auto first = static_cast<uint32_t>(geo_.cg_data(cg).value() - base +
                                             (cg == 0 ? geo_.frags(geo_.cssize) : 0));
    // Data before the superblock's copy, but for the boot area of the first
    // group; and behind.
    const auto before = cg == 0 ? 0 : static_cast<uint32_t>(geo_.cg_super(cg).value() - base);
    const auto give = [&](uint32_t from, uint32_t to) {
        while (from < to) {
            const uint32_t n = std::min(geo_.frag - (from & (geo_.frag - 1)), to - from);
            g.give_frags(from, n);
            from += n;
        }
    };
    give(0, before);
    give(first, maps.frag_count);
    if (cg == 0) {
        g.set_inode(0, true, false);
        g.set_inode(1, true, false);
        root(block);
    }
    const auto& h = g.header();
    TRY(device_.write(geo_.bytes(geo_.cg_block(cg)), block));
    TRY(inodes(cg));
    std::vector<std::byte> copy(disk::superblock_size);
    std::memcpy(copy.data(), &sb_, sizeof sb_);
    TRY(device_.write(geo_.bytes(geo_.cg_super(cg)), copy));
    summary_.push_back(h.cs);
    totals_[0] += o.get(h.cs.ndir);
    totals_[1] += o.get(h.cs.nbfree);
    totals_[2] += o.get(h.cs.nifree);
    totals_[3] += o.get(h.cs.nffree);
    return {};
}

/// Takes inode 2 and a fragment for the root.
void Maker::root(std::vector<std::byte>& group_block) {
    std::string_view wrong;
    const auto maps = check_group(geo_, 0, group_block, wrong);
    ASSERT(maps.ok());
    Group g(geo_, table_, group_block, *maps);
    uint32_t f = static_cast<uint32_t>(geo_.cg_data(0).value()) + geo_.frags(geo_.cssize);
    const uint32_t need = geo_.frags(geo_.dirblk);
    while (!g.frag_free(f) || (f & (geo_.frag - 1)) + need > geo_.frag) ++f;
    g.take_frags(f, need);
    g.set_inode(disk::root_inode, true, true);
    root_block_ = FragNumber(f);
}

Result<void> Maker::inodes(uint32_t cg) {
    const uint32_t count = p_.ufs2 ? std::min(p_.ipg, 2 * p_.inopb) : p_.ipg;
    std::vector<std::byte> block(p_.bsize);
    for (uint32_t i = 0; i < count; i += p_.inopb) {
        for (uint32_t k = 0; k < p_.inopb; ++k) {
            const uint32_t gen = kernel_.random().next32() / 2 + 1;
            auto raw = std::span(block).subspan(size_t{k} * geo_.inode_size, geo_.inode_size);
            InodeState empty;
            empty.gen = gen;
            encode_inode(geo_, empty, 0, raw);
        }
        TRY(device_.write(geo_.bytes(geo_.inode_block(uint64_t{cg} * p_.ipg + i)), block));
    }
    return {};
}

Result<void> Maker::write_root() {
    std::vector<std::byte> chunk(geo_.frag_round(geo_.dirblk));
    put_dots(geo_, std::span(chunk).first(geo_.dirblk), disk::root_inode, disk::root_inode);
    TRY(device_.write(geo_.bytes(root_block_), chunk));
    std::vector<std::byte> block(p_.bsize);
    const uint64_t at = geo_.bytes(geo_.inode_block(disk::root_inode));
    TRY(device_.read(at, block));
    InodeState s;
    s.mode = 0040755;
    s.size = geo_.dirblk;
    s.blocks = chunk.size() / 512;
    s.atime = s.mtime = s.ctime = s.btime = kernel_.now();
    s.gen = kernel_.random().next32() / 2 + 1;
    put_address(geo_, s.area, 0, root_block_.value());
    encode_inode(geo_, s, 2,
                 std::span(block).subspan(geo_.inode_offset(disk::root_inode), geo_.inode_size));
    return device_.write(at, block);
}

Result<void> Maker::run() {
    const ByteOrder o = p_.order;
    TRY(wipe());
    for (uint32_t cg = 0; cg < p_.ncg; ++cg) TRY(group(cg));
    TRY(write_root());
    std::vector<std::byte> area(p_.cssize);
    std::memcpy(area.data(), summary_.data(), summary_.size() * sizeof(disk::Csum));
    TRY(device_.write(geo_.bytes(geo_.csaddr), area));
    if (geo_.updated) {
        o.set(sb_.cstotal.ndir, totals_[0]);
        o.set(sb_.cstotal.nbfree, totals_[1]);
        o.set(sb_.cstotal.nifree, totals_[2]);
        o.set(sb_.cstotal.nffree, totals_[3]);
    }
    if (!p_.ufs2) {
        o.set(sb_.old_cstotal.ndir, static_cast<uint32_t>(totals_[0]));
        o.set(sb_.old_cstotal.nbfree, static_cast<uint32_t>(totals_[1]));
        o.set(sb_.old_cstotal.nifree, static_cast<uint32_t>(totals_[2]));
        o.set(sb_.old_cstotal.nffree, static_cast<uint32_t>(totals_[3]));
    }
    if (geo_.log) {
        const std::vector<std::byte> none(2 * size_t{geo_.log->block_size});
        TRY(device_.write(geo_.log->offset, none));
    }
    TRY(device_.flush());
    // The superblock last: before it there is no file system.
    std::vector<std::byte> first(disk::superblock_size);
    std::memcpy(first.data(), &sb_, sizeof sb_);
    TRY(device_.write(p_.sblockloc, first));
    return device_.flush();
}

} // namespace

std::span<const OptionSpec> newfs_specs() { return specs; }

FailureOr<void> make_volume(Kernel& kernel, host::BlockDevice& device, const OptionSet& options) {
    Plan plan = TRY(read_options(options, device.size()));
    TRY(place_groups(plan));
    disk::Superblock sb =
        make_superblock(plan, static_cast<uint32_t>(kernel.now().sec), kernel.random().next32());
    // What is written is what mounting accepts.
    const Geometry geo = TRY(Geometry::validate(sb, plan.order, plan.sblockloc, device.size()));
    Maker maker(kernel, device, plan, geo, sb);
    if (auto made = maker.run(); !made) return Failure(made.error(), "the image cannot be written");
    return {};
}

} // namespace rump::ffs
