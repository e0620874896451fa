// The allocator. Policy: McKusick et al., section 3.3 and fs(5); the counts
// that it keeps are those that fsck_ffs(8) recomputes.
#include "kernel/fs/ffs/alloc.h"

#include "kernel/fs/ffs/volume.h"

#include "kernel/kern/kernel.h"

#include <fmt/format.h>

#include <algorithm>

namespace rump::ffs {

using host::MutexGuard;

Allocator::Allocator(Volume& volume)
    : volume_(volume), group_count_(volume.geo.ncg), table_(volume.geo.frag),
      groups_(std::make_unique<GroupState[]>(volume.geo.ncg)), optim_(volume.geo.optim) {}

Allocator::~Allocator() = default;

Result<void> Allocator::load_summary() {
    const Geometry& geo = volume_.geo;
    const uint32_t per_block = geo.bsize / sizeof(disk::Csum);
    Totals sum;
    summary_.clear();
    for (uint32_t cg = 0; cg < geo.ncg; ++cg) {
        const uint32_t at = cg % per_block;
        if (at == 0) {
            const uint32_t done = cg * static_cast<uint32_t>(sizeof(disk::Csum));
            const uint32_t length = geo.frag_round(std::min(geo.bsize, geo.cssize - done));
            summary_.push_back(TRY(volume_.read(geo.csaddr + (done >> geo.fshift), length)));
        }
        const auto& cs = summary_.back().as<disk::Csum>(at * sizeof(disk::Csum));
        GroupState& g = groups_[cg];
        sum.ndir += g.ndir = geo.order.get(cs.ndir);
        sum.nbfree += g.nbfree = geo.order.get(cs.nbfree);
        sum.nifree += g.nifree = geo.order.get(cs.nifree);
        sum.nffree += g.nffree = geo.order.get(cs.nffree);
    }
    MutexGuard guard(mutex_);
    totals_ = sum;
    return {};
}

Result<void> Allocator::recount() {
    Totals sum;
    for (uint32_t cg = 0; cg < volume_.geo.ncg; ++cg) {
        GroupMaps maps;
        Buf buf = TRY(read_group(cg, maps));
        const auto& cs = buf.as<disk::CylinderGroup>().cs;
        const ByteOrder o = volume_.geo.order;
        GroupState& g = groups_[cg];
        sum.ndir += g.ndir = o.get(cs.ndir);
        sum.nbfree += g.nbfree = o.get(cs.nbfree);
        sum.nifree += g.nifree = o.get(cs.nifree);
        sum.nffree += g.nffree = o.get(cs.nffree);
        g.changed = true;
    }
    counts_changed_ = true;
    MutexGuard guard(mutex_);
    totals_ = sum;
    return {};
}

Totals Allocator::totals() const {
    MutexGuard guard(mutex_);
    return totals_;
}

// --- one group
// --------------------------------------------------------------------------------------

Result<Buf> Allocator::read_group(uint32_t cg, GroupMaps& maps) {
    const Geometry& geo = volume_.geo;
    Buf buf = TRY(volume_.read(geo.cg_block(cg), geo.frag_round(geo.cgsize)));
    std::string_view wrong;
    auto checked = check_group(geo, cg, buf.bytes(), wrong);
    if (!checked)
        return volume_.mount.corrupt(fmt::format("cylinder group {}: {} is wrong", cg, wrong));
    if (!groups_[cg].hash_checked) {
        if (!group_hash_ok(geo, buf.bytes()))
            return volume_.mount.corrupt(fmt::format("cylinder group {}: check hash", cg));
        groups_[cg].hash_checked = true;
    }
    maps = *checked;
    return buf;
}

/// Runs `change` on the locked group. Its block is marked changed without
/// saving bytes: transactions share groups, so each change registers its own
/// undo.
Result<void> Allocator::with_group(Transaction& tx, uint32_t cg, Change change) {
    GroupMaps maps;
    MutexGuard guard(groups_[cg].mutex);
    Buf buf = TRY(read_group(cg, maps));
    std::byte* bytes = tx.modify(buf, 0, 0, WritePhase::allocation).data();
    Group group(volume_.geo, table_, {bytes, buf.size()}, maps);
    TRY(change(group, buf, maps));
    account(cg, group);
    return {};
}

void Allocator::account(uint32_t cg, const Group& group) {
    const auto& cs = group.header().cs;
    GroupState& g = groups_[cg];
    const auto update = [&](std::atomic<uint32_t>& hint, const raw32& field) {
        const uint32_t now = group.count(field);
        return int64_t{static_cast<int32_t>(now - hint.exchange(now, std::memory_order_relaxed))};
    };
    const int64_t ndir = update(g.ndir, cs.ndir), nbfree = update(g.nbfree, cs.nbfree);
    const int64_t nifree = update(g.nifree, cs.nifree), nffree = update(g.nffree, cs.nffree);
    g.changed.store(true, std::memory_order_relaxed);
    counts_changed_.store(true, std::memory_order_relaxed);
    MutexGuard guard(mutex_);
    totals_.ndir += ndir;
    totals_.nbfree += nbfree;
    totals_.nifree += nifree;
    totals_.nffree += nffree;
}

bool Allocator::embargoed(uint32_t cg, uint32_t f, uint32_t frags) const {
    const auto& embargo = groups_[cg].embargo;
    if (embargo.empty()) return false;
    for (uint32_t i = 0; i < frags; ++i)
        if (embargo[f + i]) return true;
    return false;
}

bool Allocator::usable(const Group& g, uint32_t cg, uint32_t b) const {
    return g.block_free(b) && !embargoed(cg, b << volume_.geo.fragshift, volume_.geo.frag);
}

/// The first run of `want` free blocks at or after `from`, around the end; else
/// the longest.
std::optional<uint32_t> Allocator::find_run(const Group& g, uint32_t cg, uint32_t from,
                                            uint32_t want, uint32_t& got) const {
    const uint32_t count = g.blocks();
    std::optional<uint32_t> best;
    got = 0;
    uint32_t run = 0;
    if (from >= count) from = 0;
    for (uint32_t step = 0; step < count; ++step) {
        const uint32_t b = from + step < count ? from + step : from + step - count;
        if (b == 0) run = 0; // runs do not wrap
        run = usable(g, cg, b) ? run + 1 : 0;
        if (run > got) {
            got = run;
            best = b + 1 - run;
            if (got == want) break;
        }
    }
    return best;
}

void Allocator::undo_take(Transaction& tx, uint32_t cg, Buf buf, const GroupMaps& maps, uint32_t f,
                          uint32_t frags) {
    tx.on_abort([this, cg, buf = std::move(buf), maps, f, frags]() mutable {
        const Geometry& geo = volume_.geo;
        // What was put into buffers of these blocks must never reach their next
        // owner.
        volume_.buffers().forget(geo.bytes(FragNumber(geo.cg_base(cg) + f)),
                                 uint64_t{frags} << geo.fshift);
        MutexGuard guard(groups_[cg].mutex);
        // The block is dirty already; these are the bytes that modify() gave out.
        auto* bytes = const_cast<std::byte*>(buf.bytes().data());
        Group group(geo, table_, {bytes, buf.size()}, maps);
        for (uint32_t at = f; at < f + frags;) {
            const uint32_t n = std::min(geo.frag - (at & (geo.frag - 1)), f + frags - at);
            group.give_frags(at, n);
            at += n;
        }
        account(cg, group);
    });
}

// --- blocks and fragments
// ---------------------------------------------------------------------------

bool Allocator::may_use(uint32_t frags, bool privileged) const {
    const Geometry& geo = volume_.geo;
    MutexGuard guard(mutex_);
    const int64_t left = (totals_.nbfree << geo.fragshift) + totals_.nffree;
    if (left < frags) return false;
    if (privileged) return true;
    return left - static_cast<int64_t>(geo.dsize * geo.minfree / 100) > 0;
}

Result<FragRun> Allocator::blocks_in(Transaction& tx, uint32_t cg, uint64_t pref, uint32_t want) {
    const Geometry& geo = volume_.geo;
    if (groups_[cg].nbfree.load(std::memory_order_relaxed) == 0) return Errno::nospc;
    FragRun result;
    TRY(with_group(tx, cg, [&](Group& g, Buf& buf, const GroupMaps& maps) -> Result<void> {
        std::optional<uint32_t> start;
        uint32_t got = 0;
        if (pref != 0 && geo.cg_of(FragNumber(pref)) == cg) {
            const uint32_t b = geo.cg_offset(FragNumber(pref)) >> geo.fragshift;
            while (got < want && b + got < g.blocks() && usable(g, cg, b + got)) ++got;
            if (got > 0)
                start = b;
            else
                start = find_run(g, cg, b, want, got);
        } else {
            start = find_run(g, cg, g.count(g.header().rotor) >> geo.fragshift, want, got);
        }
        if (!start) return Errno::nospc;
        for (uint32_t i = 0; i < got; ++i) g.take_block(*start + i);
        const uint32_t f = *start << geo.fragshift;
        g.set(g.header().rotor, f);
        undo_take(tx, cg, buf, maps, f, got << geo.fragshift);
        result = {FragNumber(geo.cg_base(cg) + f), got << geo.fragshift};
        return {};
    }));
    return result;
}

Result<FragRun> Allocator::alloc_blocks(Transaction& tx, uint64_t pref, uint32_t cg, uint32_t want,
                                        bool privileged) {
    const Geometry& geo = volume_.geo;
    ASSERT(want > 0);
    if (!may_use(geo.frag, privileged)) return Errno::nospc;
    if (!privileged) {
        // A long request stops at the reserve, not beyond it.
        const Totals t = totals();
        const int64_t left = (t.nbfree << geo.fragshift) + t.nffree -
                             static_cast<int64_t>(geo.dsize * geo.minfree / 100);
        want = static_cast<uint32_t>(
            std::clamp<int64_t>((left + geo.frag - 1) >> geo.fragshift, 1, want));
    }
    if (pref >= geo.size) pref = 0;
    const uint32_t first = pref != 0 ? geo.cg_of(FragNumber(pref)) : cg % geo.ncg;
    return try_groups<FragRun>(first, [&](uint32_t g) { return blocks_in(tx, g, pref, want); });
}

/// The smallest run that is large enough, from where the last one was found.
std::optional<uint32_t> Allocator::find_frags(const Group& g, uint32_t cg, uint32_t frags) const {
    const Geometry& geo = volume_.geo;
    const uint32_t from = g.count(g.header().frotor) >> geo.fragshift;
    for (uint32_t length = frags; length < geo.frag; ++length) {
        if (g.count(g.header().frsum[length]) == 0) continue;
        for (uint32_t step = 0; step < g.blocks(); ++step) {
            const uint32_t b = (from + step) % g.blocks();
            const uint32_t bits = g.block_bits(b);
            if ((table_.runs(bits) >> length & 1) == 0) continue;
            const uint32_t f = (b << geo.fragshift) + FragTable::find(bits, geo.frag, length);
            if (!embargoed(cg, f, frags)) return f;
        }
    }
    return std::nullopt;
}

Result<FragNumber> Allocator::frags_in(Transaction& tx, uint32_t cg, uint64_t pref, uint32_t frags,
                                       bool roomy) {
    const Geometry& geo = volume_.geo;
    const GroupState& state = groups_[cg];
    if (state.nbfree.load(std::memory_order_relaxed) == 0 &&
        state.nffree.load(std::memory_order_relaxed) < frags)
        return Errno::nospc;
    FragNumber result;
    TRY(with_group(tx, cg, [&](Group& g, Buf& buf, const GroupMaps& maps) -> Result<void> {
        std::optional<uint32_t> f;
        if (!roomy) f = find_frags(g, cg, frags);
        if (!f) {
            uint32_t got = 0;
            const bool near = pref != 0 && geo.cg_of(FragNumber(pref)) == cg;
            const uint32_t from =
                near ? geo.cg_offset(FragNumber(pref)) : g.count(g.header().rotor);
            if (const auto b = find_run(g, cg, from >> geo.fragshift, 1, got))
                f = *b << geo.fragshift;
        }
        if (!f) f = find_frags(g, cg, frags);
        if (!f) return Errno::nospc;
        g.take_frags(*f, frags);
        g.set(g.header().frotor, *f);
        undo_take(tx, cg, buf, maps, *f, frags);
        result = FragNumber(geo.cg_base(cg) + *f);
        return {};
    }));
    return result;
}

Result<FragNumber> Allocator::alloc_frags(Transaction& tx, uint64_t pref, uint32_t cg,
                                          uint32_t frags, bool roomy, bool privileged) {
    const Geometry& geo = volume_.geo;
    ASSERT(frags > 0 && frags < geo.frag);
    if (!may_use(frags, privileged)) return Errno::nospc;
    if (pref >= geo.size) pref = 0;
    const uint32_t first = pref != 0 ? geo.cg_of(FragNumber(pref)) : cg % geo.ncg;
    return try_groups<FragNumber>(first,
                                  [&](uint32_t g) { return frags_in(tx, g, pref, frags, roomy); });
}

Result<bool> Allocator::extend(Transaction& tx, FragNumber f, uint32_t old_frags,
                               uint32_t new_frags, bool privileged) {
    const Geometry& geo = volume_.geo;
    const uint32_t more = new_frags - old_frags;
    const uint32_t offset = geo.cg_offset(f);
    if ((offset & (geo.frag - 1)) + new_frags > geo.frag) return false;
    if (!may_use(more, privileged)) return Errno::nospc;
    const uint32_t cg = geo.cg_of(f);
    bool grown = false;
    TRY(with_group(tx, cg, [&](Group& g, Buf& buf, const GroupMaps& maps) -> Result<void> {
        if (offset + new_frags > maps.frag_count) return {};
        for (uint32_t i = old_frags; i < new_frags; ++i)
            if (!g.frag_free(offset + i)) return {};
        if (embargoed(cg, offset + old_frags, more)) return {};
        g.take_frags(offset + old_frags, more);
        undo_take(tx, cg, buf, maps, offset + old_frags, more);
        grown = true;
        return {};
    }));
    return grown;
}

bool Allocator::growth_is_roomy() {
    const Geometry& geo = volume_.geo;
    const int64_t nffree = totals().nffree;
    const auto dsize = static_cast<int64_t>(geo.dsize);
    if (optimisation() == 1) { // space
        if (geo.minfree >= 5 && nffree <= dsize * geo.minfree / 200)
            optim_.store(0, std::memory_order_relaxed);
        return false;
    }
    if (geo.minfree >= 2 && nffree >= dsize * (int64_t{geo.minfree} - 2) / 100)
        optim_.store(1, std::memory_order_relaxed);
    return true;
}

std::pair<uint64_t, uint32_t> Allocator::preference(uint64_t inode_number, uint64_t lbn,
                                                    uint64_t previous) {
    const Geometry& geo = volume_.geo;
    const uint32_t home = geo.cg_of_inode(inode_number);
    if (previous != 0 && lbn % geo.maxbpg != 0) return {previous, home};
    if (lbn < disk::direct_count + geo.nindir) return {0, home};
    // A big file moves on to a group with more than its share of free blocks.
    const int64_t average = totals().nbfree / geo.ncg;
    const uint32_t start = previous != 0 && previous < geo.size
                               ? geo.cg_of(FragNumber(previous)) + 1
                               : home + static_cast<uint32_t>(lbn / geo.maxbpg);
    for (uint32_t i = 0; i < geo.ncg; ++i) {
        const uint32_t cg = (start + i) % geo.ncg;
        if (groups_[cg].nbfree.load(std::memory_order_relaxed) >= average) return {0, cg};
    }
    return {0, home};
}

Result<void> Allocator::release_frags(Transaction& tx, FragNumber f, uint32_t frags, bool embargo) {
    const Geometry& geo = volume_.geo;
    const uint32_t cg = geo.cg_of(f);
    const uint32_t offset = geo.cg_offset(f);
    return with_group(tx, cg, [&](Group& g, Buf&, const GroupMaps& maps) -> Result<void> {
        for (uint32_t i = 0; i < frags; ++i)
            if (offset + i >= maps.frag_count || g.frag_free(offset + i))
                return volume_.mount.corrupt(
                    fmt::format("cylinder group {}: fragment {} is freed twice", cg, offset + i));
        for (uint32_t at = offset; at < offset + frags;) {
            const uint32_t n = std::min(geo.frag - (at & (geo.frag - 1)), offset + frags - at);
            g.give_frags(at, n);
            at += n;
        }
        if (embargo) {
            auto& list = groups_[cg].embargo;
            if (list.empty()) list.resize(maps.frag_count);
            for (uint32_t i = 0; i < frags; ++i) list[offset + i] = true;
        }
        return {};
    });
}

void Allocator::lift_embargo() {
    for (uint32_t cg = 0; cg < volume_.geo.ncg; ++cg) {
        MutexGuard guard(groups_[cg].mutex);
        groups_[cg].embargo.clear();
    }
}

Result<bool> Allocator::is_taken(FragNumber f, uint32_t frags) {
    const Geometry& geo = volume_.geo;
    const uint32_t cg = geo.cg_of(f);
    GroupMaps maps;
    MutexGuard guard(groups_[cg].mutex);
    Buf buf = TRY(read_group(cg, maps));
    for (uint32_t i = 0; i < frags; ++i) {
        const uint32_t at = geo.cg_offset(f) + i;
        if (at >= maps.frag_count) return false;
        if ((static_cast<uint8_t>(buf.bytes()[maps.frags + at / 8]) >> at % 8 & 1) != 0)
            return false;
    }
    return true;
}

// --- the end of an epoch
// ----------------------------------------------------------------------------

Result<void> Allocator::collect(Transaction& tx) {
    const Geometry& geo = volume_.geo;
    const ByteOrder o = geo.order;
    const int64_t now = volume_.now().sec;
    const uint32_t per_block = geo.bsize / sizeof(disk::Csum);
    for (uint32_t cg = 0; cg < geo.ncg; ++cg) {
        GroupState& state = groups_[cg];
        if (!state.changed.exchange(false, std::memory_order_relaxed)) continue;
        GroupMaps maps;
        MutexGuard guard(state.mutex);
        Buf buf = TRY(read_group(cg, maps));
        auto bytes = tx.modify(buf, 0, 0, WritePhase::allocation).data();
        auto& h = *reinterpret_cast<disk::CylinderGroup*>(bytes);
        o.set(h.old_time, static_cast<uint32_t>(now));
        if (geo.updated) o.set(h.time, static_cast<uint64_t>(now));
        set_group_hash(geo, {bytes, buf.size()});
        auto& cs = tx.modify_as<disk::Csum>(
            summary_[cg / per_block], cg % per_block * sizeof(disk::Csum), WritePhase::allocation);
        cs = h.cs;
    }
    return {};
}

} // namespace rump::ffs
