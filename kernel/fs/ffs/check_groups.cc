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

uint32_t howmany(uint32_t n, uint32_t unit) { return (n + unit - 1) / unit; }

} // namespace

/// The group as it should be, but for its maps and counts. What only the group knows, as times and
/// rotors, is taken from `is` where it can be so. Empty: the superblock leaves no room for it.
std::vector<std::byte> Checker::expected_group(uint32_t cg, std::span<const std::byte> is) const {
    const ByteOrder o = geo_.order;
    std::vector<std::byte> block(is.size());
    auto& h = *reinterpret_cast<CylinderGroup*>(block.data());
    std::memcpy(&h, is.data(), sizeof h);
    // NetBSD's fsck_ffs wants zeros in what nobody uses.
    o.set(h.firstfield, 0);
    o.set(h.spare32, 0);
    for (raw64& spare : h.spare64) o.set(spare, 0);
    if (!geo_.freebsd) {
        o.set(h.unrefs, 0);
        o.set(h.ckhash, 0);
    }
    const uint32_t frags = geo_.cg_frags(cg);
    o.set(h.magic, disk::cg_magic);
    o.set(h.cgx, cg);
    o.set(h.ndblk, frags);
    for (raw32* rotor : {&h.rotor, &h.frotor})
        if (o.get(*rotor) >= frags) o.set(*rotor, 0);
    if (o.get(h.irotor) >= geo_.ipg) o.set(h.irotor, 0);
    uint64_t at = sizeof h;
    const auto place = [&](raw32& field, uint64_t bytes) {
        o.set(field, static_cast<uint32_t>(at));
        at += bytes;
    };
    if (geo_.ufs2) {
        o.set(h.old_ncyl, 0);
        o.set(h.old_niblk, 0);
        o.set(h.niblk, geo_.ipg);
        o.set(h.initediblk, inodes_.written(cg));
        o.set(h.old_btotoff, 0);
        o.set(h.old_boff, 0);
    } else {
        const uint32_t cpg = std::max(1u, o.get(sb_.old_cpg));
        const bool last = cg == geo_.ncg - 1;
        uint32_t cylinders = cpg;
        if (last)
            cylinders = geo_.updated ? howmany(frags, std::max(1u, geo_.fpg / cpg))
                                     : o.get(sb_.old_ncyl) % cpg;
        o.set(h.old_ncyl, static_cast<uint16_t>(cylinders));
        o.set(h.old_niblk, static_cast<uint16_t>(geo_.ipg));
        o.set(h.niblk, 0);
        o.set(h.initediblk, 0);
        place(h.old_btotoff, uint64_t{o.get(sb_.old_cpg)} * 4);
        place(h.old_boff,
              uint64_t{o.get(sb_.old_cpg)} * std::min(o.get(sb_.old_nrpos), geo_.bsize) * 2);
    }
    place(h.iusedoff, howmany(geo_.ipg, 8));
    place(h.freeoff, howmany(geo_.fpg, 8));
    if (geo_.contigsumsize > 0) {
        // The sums are counted from 1: the place of the first overlaps the map, but for Apple's.
        if (geo_.dirblk != disk::dirblk_apple) at -= 4;
        at = (at + 3) & ~uint64_t{3};
        place(h.clustersumoff, (geo_.contigsumsize + uint64_t{1}) * 4);
        place(h.clusteroff, howmany(geo_.fpg >> geo_.fragshift, 8));
        o.set(h.nclusterblks, frags >> geo_.fragshift);
    } else {
        o.set(h.clustersumoff, 0);
        o.set(h.clusteroff, 0);
        o.set(h.nclusterblks, 0);
    }
    o.set(h.nextfreeoff, static_cast<uint32_t>(at));
    if (at > block.size()) block.clear();
    // Nobody keeps the rotational tables of a file system that was updated.
    if (!block.empty() && !geo_.old_tables())
        std::copy(is.begin() + sizeof h, is.begin() + o.get(h.iusedoff), block.begin() + sizeof h);
    return block;
}

/// The fields of the header that disagree, but for counts; empty: none.
std::string Checker::wrong_header(const CylinderGroup& is, const CylinderGroup& should) const {
    using G = CylinderGroup;
    static constexpr std::pair<raw32 G::*, std::string_view> fields[] = {
        {&G::magic, "magic"},
        {&G::cgx, "cgx"},
        {&G::ndblk, "ndblk"},
        {&G::rotor, "rotor"},
        {&G::frotor, "frotor"},
        {&G::irotor, "irotor"},
        {&G::old_btotoff, "old_btotoff"},
        {&G::old_boff, "old_boff"},
        {&G::iusedoff, "iusedoff"},
        {&G::freeoff, "freeoff"},
        {&G::nextfreeoff, "nextfreeoff"},
        {&G::clustersumoff, "clustersumoff"},
        {&G::clusteroff, "clusteroff"},
        {&G::nclusterblks, "nclusterblks"},
        {&G::niblk, "niblk"},
        {&G::initediblk, "initediblk"},
    };
    const ByteOrder o = geo_.order;
    std::string wrong;
    for (const auto& [field, name] : fields)
        if (o.get(is.*field) != o.get(should.*field))
            wrong += fmt::format("{}{}", wrong.empty() ? "" : ", ", name);
    for (const auto& [field, name] :
         {std::pair(&G::old_ncyl, "old_ncyl"), std::pair(&G::old_niblk, "old_niblk")})
        if (o.get(is.*field) != o.get(should.*field))
            wrong += fmt::format("{}{}", wrong.empty() ? "" : ", ", name);
    return wrong;
}

/// Inodes and fragments, and the counts that follow from them.
void Checker::fill_maps(uint32_t cg, std::span<std::byte> block) const {
    const ByteOrder o = geo_.order;
    auto& h = *reinterpret_cast<CylinderGroup*>(block.data());
    const uint32_t frags = geo_.cg_frags(cg);
    auto inode_map = block.subspan(o.get(h.iusedoff), howmany(geo_.ipg, 8));
    auto frag_map = block.subspan(o.get(h.freeoff), howmany(geo_.fpg, 8));
    uint32_t ndir = 0, nifree = 0, nbfree = 0, nffree = 0;
    for (uint32_t i = 0; i < geo_.ipg; ++i) {
        const uint64_t n = uint64_t{cg} * geo_.ipg + i;
        const bool used = n < disk::root_inode || inodes_.known(n).state != State::free;
        put_bit(inode_map, i, used);
        nifree += used ? 0 : 1;
        ndir += n >= disk::root_inode && inodes_.known(n).state == State::dir ? 1 : 0;
    }
    std::array<uint32_t, disk::max_frag> runs{};
    std::vector<bool> whole(geo_.fpg >> geo_.fragshift);
    const uint64_t base = geo_.cg_base(cg);
    const uint32_t all = (1u << geo_.frag) - 1;
    for (uint32_t b = 0; b < frags; b += geo_.frag) {
        // A block is in one byte of either map.
        const uint32_t taken = used_[(base + b) / 8] >> (base + b) % 8 & all;
        if (taken == all) continue;
        if (taken == 0 && b + geo_.frag <= frags) {
            frag_map[b / 8] |= static_cast<std::byte>(all << b % 8);
            ++nbfree;
            whole[b >> geo_.fragshift] = true;
            continue;
        }
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
        nffree += free;
        for (uint32_t k = 1; k < geo_.frag; ++k) runs[k] += mine[k];
    }
    o.set(h.cs.ndir, ndir);
    o.set(h.cs.nifree, nifree);
    o.set(h.cs.nbfree, nbfree);
    o.set(h.cs.nffree, nffree);
    for (uint32_t k = 0; k < disk::max_frag; ++k) o.set(h.frsum[k], runs[k]);
    fill_clusters(block, whole);
    fill_cylinders(block, whole);
}

/// Runs of free blocks, by length.
void Checker::fill_clusters(std::span<std::byte> block, const std::vector<bool>& whole) const {
    if (geo_.contigsumsize == 0) return;
    const ByteOrder o = geo_.order;
    const auto& h = *reinterpret_cast<const CylinderGroup*>(block.data());
    const uint32_t blocks = o.get(h.nclusterblks);
    auto cluster_map = block.subspan(o.get(h.clusteroff), howmany(blocks, 8));
    auto* sums = reinterpret_cast<raw32*>(block.data() + o.get(h.clustersumoff));
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

/// Free blocks by cylinder and rotational position, which only file systems that were never
/// updated keep.
void Checker::fill_cylinders(std::span<std::byte> block, const std::vector<bool>& whole) const {
    if (!geo_.old_tables() || geo_.old_spc == 0 || geo_.old_nsect == 0 || geo_.old_npsect == 0)
        return;
    const ByteOrder o = geo_.order;
    const auto& h = *reinterpret_cast<const CylinderGroup*>(block.data());
    auto* totals = reinterpret_cast<raw32*>(block.data() + o.get(h.old_btotoff));
    auto* table = reinterpret_cast<raw16*>(block.data() + o.get(h.old_boff));
    std::vector<uint32_t> per_cylinder(geo_.old_cpg);
    std::vector<uint32_t> per_position(size_t{geo_.old_cpg} * geo_.old_nrpos);
    for (uint32_t b = 0; b < whole.size(); ++b) {
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
    const auto& is = *reinterpret_cast<const CylinderGroup*>(block.data());
    std::vector<std::byte> should = expected_group(cg, block);
    if (should.empty()) {
        found("group-size", place, "cgsize is too small for its maps", false, Severity::fatal);
        return {};
    }
    fill_maps(cg, should);
    const auto& be = *reinterpret_cast<const CylinderGroup*>(should.data());
    const std::string wrong = wrong_header(is, be);
    bool fix = false;
    if (!wrong.empty()) {
        fix = found("group-header", place, fmt::format("{} is wrong", wrong), true);
    } else if (!group_hash_ok(geo_, block)) {
        fix = found("group-check-hash", place, "check hash is wrong", true);
    }
    const auto compare = [&](uint32_t at, uint32_t bits) {
        const uint32_t bytes = howmany(bits, 8);
        return compare_maps(std::span(block).subspan(at, bytes),
                            std::span(should).subspan(at, bytes));
    };
    const auto inodes = compare(o.get(be.iusedoff), geo_.ipg);
    const auto frags = compare(o.get(be.freeoff), geo_.fpg);
    const auto report = [&](uint32_t n, std::string code, std::string_view what) {
        if (n != 0) fix = found(std::move(code), place, fmt::format("{} {}", n, what), true) || fix;
    };
    if (wrong.empty()) { // else the maps may be anywhere
        report(inodes.first, "inode-leaked", "inodes are marked used and are not");
        report(inodes.second, "inode-map", "inodes are in use and not marked so");
        report(frags.first, "block-map", "fragments are in use and marked free");
        report(frags.second, "block-leaked", "fragments are marked used and are not");
        const bool maps_differ = inodes.first + inodes.second + frags.first + frags.second != 0;
        const uint32_t used_bytes = o.get(be.nextfreeoff);
        if (!maps_differ && std::memcmp(block.data(), should.data(), used_bytes) != 0)
            fix = found("group-counts", place, "counts disagree with the maps", true) || fix;
    }
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
