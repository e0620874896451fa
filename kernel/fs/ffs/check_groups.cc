// Phase 5, cylinder groups: maps and counts against what phase 1 and 4 found in
// use.
#include "kernel/fs/ffs/check.h"

#include "kernel/fs/ffs/group.h"

#include <fmt/format.h>

#include <algorithm>

namespace rump::ffs {

using disk::CylinderGroup;

namespace {

void put_bit(std::span<std::byte> map, uint32_t i, bool on) {
    const auto mask = static_cast<std::byte>(1 << i % 8);
    map[i / 8] = on ? map[i / 8] | mask : map[i / 8] & ~mask;
}

/// How many bits of two maps differ, one way and the other.
std::pair<uint32_t, uint32_t> compare_maps(std::span<const std::byte> is,
                                           std::span<const std::byte> should) {
    uint32_t extra = 0, missing = 0;
    for (size_t i = 0; i < is.size(); ++i) {
        const auto a = static_cast<unsigned>(is[i]), b = static_cast<unsigned>(should[i]);
        extra += static_cast<uint32_t>(std::popcount(a & ~b));
        missing += static_cast<uint32_t>(std::popcount(b & ~a));
    }
    return {extra, missing};
}

} // namespace

/// Fills maps and counts anew; header, rotors and offsets stay.
void Checker::rebuild_group(uint32_t cg, std::span<std::byte> block) const {
    const ByteOrder o = geo_.order;
    auto& h = *reinterpret_cast<CylinderGroup*>(block.data());
    const uint32_t frags = geo_.cg_frags(cg);
    auto inode_map = block.subspan(o.get(h.iusedoff), (geo_.ipg + 7) / 8);
    auto frag_map = block.subspan(o.get(h.freeoff), (geo_.fpg + 7) / 8);
    std::fill(inode_map.begin(), inode_map.end(), std::byte{0});
    std::fill(frag_map.begin(), frag_map.end(), std::byte{0});
    uint32_t ndir = 0, nifree = 0, nbfree = 0, nffree = 0;
    for (uint32_t i = 0; i < geo_.ipg; ++i) {
        const uint64_t n = uint64_t{cg} * geo_.ipg + i;
        const bool in_use = n < disk::root_inode || inodes_[n].state != CheckedInode::State::free;
        put_bit(inode_map, i, in_use);
        nifree += in_use ? 0 : 1;
        ndir += n >= disk::root_inode && inodes_[n].state == CheckedInode::State::dir ? 1 : 0;
    }
    std::array<uint32_t, disk::max_frag> runs{};
    std::vector<bool> whole(geo_.fpg >> geo_.fragshift);
    const uint64_t base = geo_.cg_base(cg);
    for (uint32_t b = 0; b < frags; b += geo_.frag) {
        uint32_t free = 0, run = 0;
        std::array<uint32_t, disk::max_frag + 1> mine{};
        for (uint32_t k = 0; k <= geo_.frag; ++k) {
            const bool is_free = k < geo_.frag && b + k < frags && !used(base + b + k);
            if (is_free) {
                put_bit(frag_map, b + k, true);
                ++free;
                ++run;
            } else if (run != 0) {
                ++mine[run];
                run = 0;
            }
        }
        if (free == geo_.frag) {
            ++nbfree;
            whole[b >> geo_.fragshift] = true;
            continue;
        }
        nffree += free;
        for (uint32_t k = 1; k < geo_.frag; ++k) runs[k] += mine[k];
    }
    o.set(h.cs.ndir, ndir);
    o.set(h.cs.nifree, nifree);
    o.set(h.cs.nbfree, nbfree);
    o.set(h.cs.nffree, nffree);
    for (uint32_t k = 1; k < geo_.frag; ++k) o.set(h.frsum[k], runs[k]);
    const uint32_t blocks = frags >> geo_.fragshift;
    if (geo_.contigsumsize > 0) {
        auto cluster_map = block.subspan(o.get(h.clusteroff), (blocks + 7) / 8);
        auto* sums = reinterpret_cast<raw32*>(block.data() + o.get(h.clustersumoff));
        std::fill(cluster_map.begin(), cluster_map.end(), std::byte{0});
        std::vector<uint32_t> counts(geo_.contigsumsize + 1);
        uint32_t run = 0;
        for (uint32_t b = 0; b <= blocks; ++b) {
            if (b < blocks && whole[b]) {
                put_bit(cluster_map, b, true);
                ++run;
            } else if (run != 0) {
                ++counts[std::min(run, geo_.contigsumsize)];
                run = 0;
            }
        }
        for (uint32_t k = 1; k <= geo_.contigsumsize; ++k) o.set(sums[k], counts[k]);
    }
    if (!geo_.old_tables() || geo_.old_spc == 0 || geo_.old_nsect == 0 || geo_.old_npsect == 0)
        return;
    auto* totals = reinterpret_cast<raw32*>(block.data() + o.get(h.old_btotoff));
    auto* table = reinterpret_cast<raw16*>(block.data() + o.get(h.old_boff));
    std::vector<uint32_t> per_cylinder(geo_.old_cpg);
    std::vector<uint32_t> per_position(size_t{geo_.old_cpg} * geo_.old_nrpos);
    for (uint32_t b = 0; b < blocks; ++b) {
        const uint64_t sector = uint64_t{b} * geo_.frag * geo_.old_nspf;
        const uint64_t cylinder = sector / geo_.old_spc;
        if (!whole[b] || cylinder >= geo_.old_cpg) continue;
        ++per_cylinder[cylinder];
        const uint64_t in = sector % geo_.old_spc;
        const uint64_t turned =
            in / geo_.old_nsect * geo_.old_trackskew + in % geo_.old_nsect * geo_.old_interleave;
        const uint64_t position = turned % geo_.old_nsect * geo_.old_nrpos / geo_.old_npsect;
        if (position < geo_.old_nrpos) ++per_position[cylinder * geo_.old_nrpos + position];
    }
    for (size_t i = 0; i < per_cylinder.size(); ++i) o.set(totals[i], per_cylinder[i]);
    for (size_t i = 0; i < per_position.size(); ++i)
        o.set(table[i], static_cast<uint16_t>(per_position[i]));
}

Result<void> Checker::group(uint32_t cg) {
    const ByteOrder o = geo_.order;
    const std::string place = fmt::format("cylinder group {}", cg);
    std::vector<std::byte> block(geo_.frag_round(geo_.cgsize));
    TRY(read(geo_.cg_block(cg).value(), block));
    std::string_view wrong;
    if (auto maps = check_group(geo_, cg, block, wrong); !maps) {
        found("group-header", place, fmt::format("{} is wrong", wrong), false, Severity::fatal);
        totals_known_ = false;
        return {};
    }
    bool fix = false;
    if (!group_hash_ok(geo_, block))
        fix = found("group-check-hash", place, "check hash is wrong", true) || fix;
    std::vector<std::byte> should = block;
    rebuild_group(cg, should);
    const auto& is = *reinterpret_cast<const CylinderGroup*>(block.data());
    const auto& be = *reinterpret_cast<const CylinderGroup*>(should.data());
    const auto map_of = [&](const std::vector<std::byte>& from, uint32_t at, uint32_t bits) {
        return std::span(from).subspan(at, (bits + 7) / 8);
    };
    const uint32_t inodes_at = o.get(is.iusedoff), frags_at = o.get(is.freeoff);
    const auto inodes =
        compare_maps(map_of(block, inodes_at, geo_.ipg), map_of(should, inodes_at, geo_.ipg));
    const auto frags =
        compare_maps(map_of(block, frags_at, geo_.fpg), map_of(should, frags_at, geo_.fpg));
    const auto report = [&](uint32_t n, std::string code, std::string_view what) {
        if (n != 0) fix = found(std::move(code), place, fmt::format("{} {}", n, what), true) || fix;
    };
    report(inodes.first, "inode-leaked", "inodes are marked used and are not");
    report(inodes.second, "inode-map", "inodes are in use and not marked so");
    report(frags.first, "block-map", "fragments are in use and marked free");
    report(frags.second, "block-leaked", "fragments are marked used and are not");
    const bool maps_differ = inodes.first + inodes.second + frags.first + frags.second != 0;
    if (!maps_differ && std::memcmp(block.data(), should.data(), block.size()) != 0)
        fix = found("group-counts", place, "counts disagree with the maps", true) || fix;
    if (fix) {
        set_group_hash(geo_, should);
        TRY(write(geo_.cg_block(cg).value(), should));
    }
    const auto& counts = options_.repair ? be.cs : is.cs;
    totals_[0] += o.get(counts.ndir);
    totals_[1] += o.get(counts.nbfree);
    totals_[2] += o.get(counts.nifree);
    totals_[3] += o.get(counts.nffree);
    report_.blocks_used +=
        geo_.cg_frags(cg) - (o.get(be.cs.nbfree) << geo_.fragshift) - o.get(be.cs.nffree);
    // The summary area repeats the group's counts.
    const uint64_t at = geo_.bytes(geo_.csaddr) + uint64_t{cg} * sizeof(disk::Csum);
    disk::Csum summary;
    TRY(device_.read(at, std::as_writable_bytes(std::span(&summary, 1))));
    if (std::memcmp(&summary, &counts, sizeof summary) != 0 &&
        found("summary", place, "the summary area disagrees with the group", true))
        TRY(device_.write(at, std::as_bytes(std::span(&counts, 1))));
    return {};
}

Result<void> Checker::cylinder_groups() {
    for (uint32_t cg = 0; cg < geo_.ncg; ++cg) TRY(group(cg));
    return {};
}

} // namespace rump::ffs
