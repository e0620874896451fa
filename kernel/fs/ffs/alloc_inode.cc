// Allocation of inodes: which group a new directory or file goes to, and UFS2's
// inodes that are not written before they are needed.
#include "kernel/fs/ffs/alloc.h"
#include "kernel/fs/ffs/volume.h"

#include "kernel/kern/kernel.h"

#include <fmt/format.h>

#include <algorithm>

namespace rump::ffs {

using host::MutexGuard;

namespace {
/// Bytes of inodes that are initialised at a time, at least; later as many as there are, since each
/// time costs a flush.
constexpr uint32_t bytes_per_init = 65536;
} // namespace

/// Directories are spread over the groups, but those below one directory stay
/// together as long as there is room for their files (Orlov's placement; fs(5),
/// avgfilesize and avgfpdir).
uint32_t Allocator::directory_group(uint64_t parent) {
    const Geometry& geo = volume_.geo;
    const Totals t = totals();
    const auto ncg = static_cast<int64_t>(geo.ncg);
    const int64_t avgifree = t.nifree / ncg, avgbfree = t.nbfree / ncg, avgndir = t.ndir / ncg;
    if (parent == disk::root_inode) {
        const auto start = static_cast<uint32_t>(volume_.mount.kernel().random().below(geo.ncg));
        uint32_t best = start;
        uint32_t fewest = geo.ipg;
        for (uint32_t i = 0; i < geo.ncg; ++i) {
            const uint32_t cg = (start + i) % geo.ncg;
            const GroupState& g = groups_[cg];
            if (g.ndir < fewest && g.nifree >= avgifree && g.nbfree >= avgbfree) {
                best = cg;
                fewest = g.ndir;
            }
        }
        return best;
    }
    const uint32_t home = geo.cg_of_inode(parent);
    const int64_t maxndir = std::min<int64_t>(avgndir + geo.ipg / 16, geo.ipg);
    const int64_t minifree = std::max<int64_t>(1, avgifree - avgifree / 4);
    const int64_t minbfree = std::max<int64_t>(1, avgbfree - avgbfree / 4);
    int64_t dirsize = int64_t{geo.avgfilesize} * geo.avgfpdir;
    const int64_t group_bytes = int64_t{geo.fsize} * geo.fpg;
    const int64_t used = avgndir != 0 ? (group_bytes - avgbfree * geo.bsize) / avgndir : 0;
    dirsize = std::max<int64_t>({dirsize, used, 1});
    int64_t maxcontig = std::min<int64_t>(avgbfree * geo.bsize / dirsize, 255);
    maxcontig = std::max<int64_t>(1, std::min<int64_t>(maxcontig, geo.ipg / geo.avgfpdir));
    for (uint32_t i = 0; i < geo.ncg; ++i) {
        const uint32_t cg = (home + i) % geo.ncg;
        const GroupState& g = groups_[cg];
        if (g.ndir < maxndir && g.nifree >= minifree && g.nbfree >= minbfree &&
            g.contigdirs < maxcontig)
            return cg;
    }
    for (uint32_t i = 0; i < geo.ncg; ++i) {
        const uint32_t cg = (home + i) % geo.ncg;
        if (groups_[cg].nifree >= avgifree) return cg;
    }
    return home;
}

/// Writes the inode blocks up to the one of `index`, each inode zero but for
/// its generation, and only then lets the group say so: what the group calls
/// initialised must never be garbage.
Result<void> Allocator::init_inodes(const Group& group, uint32_t cg, uint32_t index) {
    const Geometry& geo = volume_.geo;
    if (!geo.ufs2) return {};
    uint32_t inited = group.count(group.header().initediblk);
    if (index + geo.inopb <= inited || inited >= geo.ipg) return {};
    std::vector<std::byte> block(geo.bsize);
    const uint32_t done = inited / geo.inopb;
    uint32_t todo = std::max({index / geo.inopb + 1 - done, done, bytes_per_init / geo.bsize});
    while (todo-- > 0 && inited < geo.ipg) {
        std::fill(block.begin(), block.end(), std::byte{0});
        for (uint32_t i = 0; i < geo.inopb; ++i) {
            auto& d = *reinterpret_cast<disk::Dinode2*>(block.data() + i * sizeof(disk::Dinode2));
            geo.order.set(d.gen, volume_.mount.kernel().random().next32() / 2 + 1);
        }
        const uint64_t at = geo.bytes(geo.inode_block(uint64_t{cg} * geo.ipg + inited));
        volume_.buffers().forget(at, geo.bsize); // a wrong name may have led here
        TRY(volume_.mount.device().write(at, block));
        inited += geo.inopb;
    }
    TRY(volume_.mount.device().flush());
    group.set(group.header().initediblk, inited);
    return {};
}

Result<uint64_t> Allocator::inode_in(Transaction& tx, uint32_t cg, uint32_t wanted, bool dir) {
    const Geometry& geo = volume_.geo;
    if (groups_[cg].nifree.load(std::memory_order_relaxed) == 0) return Errno::nospc;
    uint64_t result = 0;
    TRY(with_group(tx, cg, [&](Group& g, Buf& buf, const GroupMaps& maps) -> Result<void> {
        std::optional<uint32_t> found;
        if (wanted < geo.ipg && !g.inode_used(wanted)) found = wanted;
        const uint32_t from = g.count(g.header().irotor);
        for (uint32_t step = 0; step < geo.ipg && !found; ++step) {
            const uint32_t i = from + step < geo.ipg ? from + step : from + step - geo.ipg;
            if (!g.inode_used(i) && uint64_t{cg} * geo.ipg + i > disk::root_inode) found = i;
        }
        if (!found) return Errno::nospc;
        TRY(init_inodes(g, cg, *found));
        g.set_inode(*found, true, dir);
        g.set(g.header().irotor, *found);
        result = uint64_t{cg} * geo.ipg + *found;
        tx.on_abort([this, cg, buf, maps, index = *found, dir] {
            MutexGuard guard(groups_[cg].mutex);
            auto* bytes = const_cast<std::byte*>(buf.bytes().data());
            Group group(volume_.geo, table_, {bytes, buf.size()}, maps);
            group.set_inode(index, false, dir);
            account(cg, group);
        });
        return {};
    }));
    auto& contig = groups_[cg].contigdirs;
    if (dir && contig < 255)
        contig.fetch_add(1, std::memory_order_relaxed);
    else if (!dir && contig > 0)
        contig.fetch_sub(1, std::memory_order_relaxed);
    return result;
}

Result<uint64_t> Allocator::alloc_inode(Transaction& tx, uint64_t parent, bool dir) {
    const uint32_t first = dir ? directory_group(parent) : volume_.geo.cg_of_inode(parent);
    return try_groups<uint64_t>(first,
                                [&](uint32_t cg) { return inode_in(tx, cg, UINT32_MAX, dir); });
}

Result<void> Allocator::release_inode(Transaction& tx, uint64_t number, bool was_dir) {
    const Geometry& geo = volume_.geo;
    const uint32_t cg = geo.cg_of_inode(number);
    const auto index = static_cast<uint32_t>(number % geo.ipg);
    return with_group(tx, cg, [&](Group& g, Buf&, const GroupMaps&) -> Result<void> {
        if (!g.inode_used(index))
            return volume_.mount.corrupt(fmt::format("inode {} is freed twice", number));
        g.set_inode(index, false, was_dir);
        if (index < g.count(g.header().irotor)) g.set(g.header().irotor, index);
        return {};
    });
}

} // namespace rump::ffs
