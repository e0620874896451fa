// The arithmetic of a cylinder group's maps: McKusick et al., section 3, and
// what fsck_ffs(8) recomputes in its fifth phase.
#include "kernel/fs/ffs/group.h"

#include <algorithm>

namespace rump::ffs {

using disk::CylinderGroup;

namespace {

bool fits(uint64_t offset, uint64_t length, uint64_t limit) {
    return offset >= sizeof(CylinderGroup) && offset <= limit && length <= limit - offset;
}

/// Maps that share bytes change each other.
class Disjoint {
public:
    /// False when it overlaps one that was added before.
    bool add(uint64_t offset, uint64_t length) {
        if (length == 0) return true;
        for (size_t i = 0; i < count_; ++i)
            if (offset < ranges_[i].second && ranges_[i].first < offset + length) return false;
        ranges_[count_++] = {offset, offset + length};
        return true;
    }

private:
    std::array<std::pair<uint64_t, uint64_t>, 6> ranges_{};
    size_t count_ = 0;
};

} // namespace

Result<GroupMaps> check_group(const Geometry& geo, uint32_t cg, std::span<const std::byte> block,
                              std::string_view& wrong) {
    const ByteOrder o = geo.order;
    const auto& h = *reinterpret_cast<const CylinderGroup*>(block.data());
    const auto bad = [&](std::string_view field) {
        wrong = field;
        return Errno::uclean;
    };
    if (o.get(h.magic) != disk::cg_magic) return bad("magic");
    if (o.get(h.cgx) != cg) return bad("cgx");
    GroupMaps m;
    m.frag_count = o.get(h.ndblk);
    if (m.frag_count != geo.cg_frags(cg)) return bad("ndblk");
    if (geo.ufs2) {
        const uint32_t niblk = o.get(h.niblk), inited = o.get(h.initediblk);
        if (niblk != geo.ipg) return bad("niblk");
        if (inited > niblk || inited % geo.inopb != 0) return bad("initediblk");
    }
    const uint64_t limit = block.size();
    Disjoint taken;
    const auto place = [&](uint64_t offset, uint64_t length) {
        return fits(offset, length, limit) && taken.add(offset, length);
    };
    m.inodes = o.get(h.iusedoff);
    m.frags = o.get(h.freeoff);
    if (!place(m.inodes, (geo.ipg + 7) / 8)) return bad("iusedoff");
    if (!place(m.frags, (geo.fpg + 7) / 8)) return bad("freeoff");
    if (geo.contigsumsize > 0) {
        m.cluster_sums = o.get(h.clustersumoff);
        m.clusters = o.get(h.clusteroff);
        m.cluster_count = o.get(h.nclusterblks);
        // Counted from 1: the first place is not used, and may be another's.
        if (!place(m.cluster_sums + uint64_t{4}, uint64_t{geo.contigsumsize} * 4))
            return bad("clustersumoff");
        if (m.cluster_count != m.frag_count >> geo.fragshift) return bad("nclusterblks");
        if (!place(m.clusters, (m.cluster_count + 7) / 8)) return bad("clusteroff");
    }
    if (geo.old_tables()) {
        m.cylinder_totals = o.get(h.old_btotoff);
        m.cylinder_blocks = o.get(h.old_boff);
        if (!place(m.cylinder_totals, uint64_t{geo.old_cpg} * 4)) return bad("old_btotoff");
        if (!place(m.cylinder_blocks, uint64_t{geo.old_cpg} * geo.old_nrpos * 2))
            return bad("old_boff");
    }
    if (o.get(h.rotor) >= std::max(1u, m.frag_count)) return bad("rotor");
    if (o.get(h.frotor) >= std::max(1u, m.frag_count)) return bad("frotor");
    if (o.get(h.irotor) >= geo.ipg) return bad("irotor");
    return m;
}

bool group_hash_ok(const Geometry& geo, std::span<const std::byte> block) {
    if ((geo.metackhash & disk::ck_cylgrp) == 0) return true;
    std::vector<std::byte> copy(block.begin(), block.begin() + geo.cgsize);
    auto& h = *reinterpret_cast<CylinderGroup*>(copy.data());
    const uint32_t stored = geo.order.get(h.ckhash);
    geo.order.set(h.ckhash, 0);
    return check_hash(copy) == stored;
}

void set_group_hash(const Geometry& geo, std::span<std::byte> block) {
    if ((geo.metackhash & disk::ck_cylgrp) == 0) return;
    auto& h = *reinterpret_cast<CylinderGroup*>(block.data());
    geo.order.set(h.ckhash, 0);
    geo.order.set(h.ckhash, check_hash(block.first(geo.cgsize)));
}

FragTable::FragTable(uint32_t frag) : full_((1u << frag) - 1) {
    for (uint32_t bits = 0; bits <= full_; ++bits) {
        uint32_t run = 0;
        for (uint32_t i = 0; i <= frag; ++i) {
            if (i < frag && (bits >> i & 1) != 0) {
                ++run;
                continue;
            }
            if (run != 0 && run < frag) runs_[bits] |= static_cast<uint8_t>(1u << run);
            run = 0;
        }
    }
}

uint32_t FragTable::find(uint32_t bits, uint32_t frag, uint32_t length) {
    uint32_t run = 0;
    for (uint32_t i = 0; i <= frag; ++i) {
        if (i < frag && (bits >> i & 1) != 0) {
            ++run;
            continue;
        }
        if (run == length) return i - run;
        run = 0;
    }
    ASSERT(false);
    return 0;
}

void Group::count_runs(uint32_t bits, int32_t n) {
    uint32_t run = 0;
    for (uint32_t i = 0; i <= geo_.frag; ++i) {
        if (i < geo_.frag && (bits >> i & 1) != 0) {
            ++run;
            continue;
        }
        if (run != 0 && run < geo_.frag) add(header().frsum[run], n);
        run = 0;
    }
}

void Group::count_cluster(uint32_t b, int32_t n) {
    if (geo_.contigsumsize == 0 || b >= maps_.cluster_count) return;
    const auto run_from = [&](int64_t start, int step) {
        uint32_t run = 0;
        for (int64_t i = start; run < geo_.contigsumsize && i >= 0 && i < maps_.cluster_count;
             i += step, ++run)
            if (!bit(maps_.clusters, static_cast<uint32_t>(i))) break;
        return run;
    };
    put_bit(maps_.clusters, b, n > 0);
    const uint32_t after = run_from(int64_t{b} + 1, 1);
    const uint32_t before = run_from(int64_t{b} - 1, -1);
    auto* sums = reinterpret_cast<raw32*>(block_.data() + maps_.cluster_sums);
    add(sums[std::min(before + after + 1, geo_.contigsumsize)], n);
    if (before > 0) add(sums[before], -n);
    if (after > 0) add(sums[after], -n);
}

void Group::count_cylinder(uint32_t b, int32_t n) {
    if (!geo_.old_tables() || geo_.old_spc == 0 || geo_.old_nsect == 0 || geo_.old_npsect == 0)
        return;
    const uint64_t sector = uint64_t{b << geo_.fragshift} * geo_.old_nspf;
    const uint64_t cylinder = sector / geo_.old_spc;
    if (cylinder >= geo_.old_cpg) return;
    auto* totals = reinterpret_cast<raw32*>(block_.data() + maps_.cylinder_totals);
    add(totals[cylinder], n);
    if (geo_.old_nrpos == 0) return;
    const uint64_t within = sector % geo_.old_spc;
    const uint64_t turned = within / geo_.old_nsect * geo_.old_trackskew +
                            within % geo_.old_nsect * geo_.old_interleave;
    const uint64_t position = turned % geo_.old_nsect * geo_.old_nrpos / geo_.old_npsect;
    if (position >= geo_.old_nrpos) return;
    auto* table = reinterpret_cast<raw16*>(block_.data() + maps_.cylinder_blocks);
    raw16& slot = table[cylinder * geo_.old_nrpos + position];
    geo_.order.set(slot, static_cast<uint16_t>(geo_.order.get(slot) + n));
}

void Group::take_block(uint32_t b) {
    ASSERT(block_free(b));
    for (uint32_t i = 0; i < geo_.frag; ++i) put_bit(maps_.frags, (b << geo_.fragshift) + i, false);
    count_cluster(b, -1);
    count_cylinder(b, -1);
    add(header().cs.nbfree, -1);
}

void Group::give_block(uint32_t b) {
    ASSERT(block_bits(b) == 0);
    for (uint32_t i = 0; i < geo_.frag; ++i) put_bit(maps_.frags, (b << geo_.fragshift) + i, true);
    count_cluster(b, 1);
    count_cylinder(b, 1);
    add(header().cs.nbfree, 1);
}

int Group::take_frags(uint32_t f, uint32_t count) {
    const uint32_t b = f >> geo_.fragshift;
    const bool whole = block_free(b);
    if (whole) {
        if (count == geo_.frag) {
            take_block(b);
            return -1;
        }
        count_cluster(b, -1);
        count_cylinder(b, -1);
        add(header().cs.nbfree, -1);
        add(header().cs.nffree, static_cast<int32_t>(geo_.frag));
    } else {
        count_runs(block_bits(b), -1);
    }
    for (uint32_t i = 0; i < count; ++i) {
        ASSERT(frag_free(f + i));
        put_bit(maps_.frags, f + i, false);
    }
    add(header().cs.nffree, -static_cast<int32_t>(count));
    count_runs(block_bits(b), 1);
    return whole ? -1 : 0;
}

int Group::give_frags(uint32_t f, uint32_t count) {
    const uint32_t b = f >> geo_.fragshift;
    if (count == geo_.frag) {
        give_block(b);
        return 1;
    }
    count_runs(block_bits(b), -1);
    for (uint32_t i = 0; i < count; ++i) {
        ASSERT(!frag_free(f + i));
        put_bit(maps_.frags, f + i, true);
    }
    add(header().cs.nffree, static_cast<int32_t>(count));
    if (!block_free(b)) {
        count_runs(block_bits(b), 1);
        return 0;
    }
    add(header().cs.nffree, -static_cast<int32_t>(geo_.frag));
    add(header().cs.nbfree, 1);
    count_cluster(b, 1);
    count_cylinder(b, 1);
    return 1;
}

void Group::set_inode(uint32_t i, bool used, bool dir) {
    ASSERT(inode_used(i) != used);
    put_bit(maps_.inodes, i, used);
    add(header().cs.nifree, used ? -1 : 1);
    if (dir) add(header().cs.ndir, used ? 1 : -1);
}

} // namespace rump::ffs
