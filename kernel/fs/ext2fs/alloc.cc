// Allocation of blocks.
#include "kernel/fs/ext2fs/alloc.h"

#include "kernel/fs/ext2fs/bitmap.h"
#include "kernel/kern/kernel.h"
#include "kernel/vfs/buffer_cache.h"

#include <algorithm>

namespace rump::ext2 {

using host::MutexGuard;

namespace {

constexpr uint32_t groups_searched_for_a_run = 32;
constexpr size_t windows_per_group = 32;
constexpr uint32_t window_bytes_max = 8u << 20;
constexpr uint32_t window_bytes_min = 64u << 10;

} // namespace

Claim::~Claim() {
    if (left_) owner_->unclaim(left_);
}

Allocator::Allocator(Volume& volume, uint32_t reserved_blocks, bool was_clean)
    : volume_(volume), reserved_blocks_(reserved_blocks), was_clean_(was_clean),
      groups_(new Group[volume.geometry.group_count]) {}

void Allocator::set_counts(GroupNumber number, const disk::GroupDescriptor& d) {
    const Geometry& g = volume_.geometry;
    Group& group = groups_[number.value()];
    // Counts above what a group can hold are found out when its map is first looked at.
    group.free_blocks = std::min<uint32_t>(d.free_blocks, g.blocks_in(number));
    group.free_inodes = std::min<uint32_t>(d.free_inodes, g.inodes_per_group);
    group.directories = d.used_directories;
}

void Allocator::finish_loading() {
    int64_t blocks = 0, inodes = 0;
    for (uint32_t n = 0; n < volume_.geometry.group_count; ++n) {
        groups_[n].bad = volume_.groups[n].bad;
        blocks += groups_[n].free_blocks;
        inodes += groups_[n].free_inodes;
    }
    unclaimed_ = blocks;
    inodes_left_ = inodes;
}

/// Nothing more is allocated from the group; what it had free is not there for anybody.
void Allocator::give_up(Group& group, uint32_t number) {
    group.bad = true;
    unclaimed_.fetch_sub(group.free_blocks.exchange(0), std::memory_order_relaxed);
    inodes_left_.fetch_sub(group.free_inodes.exchange(0), std::memory_order_relaxed);
    (void)number;
}

Result<Buf> Allocator::block_bitmap(Group& group, uint32_t number) {
    const Geometry& g = volume_.geometry;
    const GroupPlace& place = volume_.groups[number];
    if (place.bad) return Errno::uclean;
    Buf buf = TRY(volume_.read(place.block_bitmap));
    if (group.blocks_checked) return buf;
    const GroupNumber id(number);
    const auto map = buf.bytes();
    const auto all_used = [&](uint32_t first, uint32_t count) {
        return next_free(map, first, first + count) == first + count;
    };
    if (!all_used(0, g.head_blocks(id)) || !all_used(g.bit_of(place.block_bitmap), 1) ||
        !all_used(g.bit_of(place.inode_bitmap), 1) ||
        !all_used(g.bit_of(place.inode_table), g.inode_table_blocks)) {
        give_up(group, number);
        return volume_.corrupt("block bitmap of group {}: metadata is marked free", number);
    }
    group.blocks_checked = true;
    const uint32_t really_free = count_free(map, g.blocks_in(id));
    const uint32_t said = group.free_blocks.load();
    if (said == really_free) return buf;
    unclaimed_.fetch_add(int64_t{really_free} - int64_t{said}, std::memory_order_relaxed);
    group.free_blocks = really_free;
    group.dirty = true;
    if (was_clean_) {
        group.blocks_checked = true;
        return volume_.corrupt("descriptor of group {}: {} free blocks, the bitmap has {}", number,
                               said, really_free);
    }
    volume_.mount().kernel().log().warning(
        "ext2fs: group {}: {} free blocks counted, {} are; corrected", number, said, really_free);
    return buf;
}

Result<Claim> Allocator::claim(uint32_t want, uint32_t least, bool privileged) {
    const int64_t keep = privileged ? 0 : int64_t{reserved_blocks_};
    int64_t seen = unclaimed_.load(std::memory_order_relaxed);
    for (;;) {
        const int64_t available = seen - keep;
        if (available < int64_t{least} || available <= 0) return Errno::nospc;
        const int64_t granted = std::min<int64_t>(available, want);
        if (unclaimed_.compare_exchange_weak(seen, seen - granted, std::memory_order_relaxed))
            return Claim(*this, static_cast<uint32_t>(granted));
    }
}

/// Free blocks from `from` on, up to `want`, that are nobody else's window.
Allocator::Span Allocator::span_at(const Group& group, std::span<const std::byte> map,
                                   uint32_t limit, uint32_t from, uint32_t want, uint32_t owner,
                                   bool ignore_windows) const {
    for (;;) {
        uint32_t first = next_free(map, from, limit);
        if (first == limit) return {limit, 0};
        uint32_t last = limit;
        if (!ignore_windows) {
            const uint32_t before = first;
            for (const Window& w : group.windows) {
                if (w.owner == owner) continue;
                if (first >= w.first && first < w.last)
                    first = w.last;
                else if (w.first > first)
                    last = std::min(last, w.first);
            }
            if (first != before) {
                from = first;
                continue;
            }
        }
        last = next_used(map, first, std::min<uint64_t>(last, uint64_t{first} + want));
        return {first, last - first};
    }
}

/// The goal itself, else the first run that is long enough behind it, then before it, else the
/// longest.
Allocator::Span Allocator::find_span(const Group& group, std::span<const std::byte> map,
                                     uint32_t limit, uint32_t from, const BlockWish& wish,
                                     bool ignore_windows) const {
    Span best;
    const auto look = [&](uint32_t begin, uint32_t end) REQUIRES(group.lock) {
        while (begin < end) {
            const Span span =
                span_at(group, map, limit, begin, wish.count, wish.owner, ignore_windows);
            if (span.count == 0 || span.first >= end) return;
            if (span.count > best.count) best = span;
            if (best.count >= wish.count) return;
            begin = span.first + span.count;
        }
    };
    from = std::max(from, group.block_hint);
    const Span here = span_at(group, map, limit, from, wish.count, wish.owner, ignore_windows);
    if (here.count && here.first == from && wish.sequential) return here;
    look(from, limit);
    if (best.count < wish.count) look(group.block_hint, std::min(from, limit));
    return best;
}

void Allocator::move_window(Group& group, std::span<const std::byte> map, uint32_t limit,
                            Span taken, const BlockWish& wish) {
    const uint32_t end = taken.first + taken.count;
    auto own = std::find_if(group.windows.begin(), group.windows.end(),
                            [&](const Window& w) { return w.owner == wish.owner; });
    if (own != group.windows.end()) {
        if (taken.first >= own->first && end < own->last) {
            own->first = end;
            return;
        }
        group.windows.erase(own);
    }
    if (!wish.sequential) return;
    const uint32_t shift = volume_.geometry.block_shift;
    const uint32_t size = std::min(std::max(wish.count * 4, window_bytes_min >> shift),
                                   std::max(1u, window_bytes_max >> shift));
    if (end >= limit) return;
    const Span free = span_at(group, map, limit, end, size, wish.owner, false);
    if (free.count == 0 || free.first != end) return;
    if (group.windows.size() >= windows_per_group) group.windows.erase(group.windows.begin());
    group.windows.push_back({wish.owner, end, end + free.count});
}

Result<BlockRun> Allocator::allocate_in(Transaction& tx, uint32_t number, const BlockWish& wish,
                                        uint32_t least, bool ignore_windows) {
    const Geometry& g = volume_.geometry;
    Group& group = groups_[number];
    const GroupNumber id(number);
    const bool has_goal = g.block_in_range(wish.goal.value()) && g.group_of(wish.goal) == id;
    MutexGuard guard(group.lock);
    if (group.bad || group.free_blocks == 0) return BlockRun{};
    Buf buf = TRY(block_bitmap(group, number));
    const uint32_t limit = g.blocks_in(id);
    const Span span = find_span(group, buf.bytes(), limit, has_goal ? g.bit_of(wish.goal) : 0, wish,
                                ignore_windows);
    if (span.count == 0 || span.count < least) {
        // Windows and hints aside, a count that promises blocks must be true.
        if (span.count == 0 && ignore_windows && next_free(buf.bytes(), 0, limit) == limit) {
            give_up(group, number);
            return volume_.corrupt("descriptor of group {}: free blocks that the bitmap lacks",
                                   number);
        }
        return BlockRun{};
    }
    std::byte* map = tx.modify(buf, 0, 0, WritePhase::allocation).data();
    for (uint32_t i = 0; i < span.count; ++i) set_bit(map, span.first + i);
    group.free_blocks.fetch_sub(span.count, std::memory_order_relaxed);
    group.dirty.store(true, std::memory_order_relaxed);
    if (group.block_hint == span.first) group.block_hint = span.first + span.count;
    if (wish.sequential || !group.windows.empty())
        move_window(group, buf.bytes(), limit, span, wish);
    tx.on_abort([this, buf, map, number, span] {
        Group& owner = groups_[number];
        MutexGuard undo(owner.lock);
        for (uint32_t i = 0; i < span.count; ++i) clear_bit(map, span.first + i);
        owner.free_blocks.fetch_add(span.count, std::memory_order_relaxed);
        owner.block_hint = std::min(owner.block_hint, span.first);
        unclaim(span.count);
    });
    return BlockRun{g.first_block(id) + span.first, span.count};
}

Result<BlockRun> Allocator::allocate(Transaction& tx, Claim& claim, const BlockWish& wish) {
    const Geometry& g = volume_.geometry;
    ASSERT(claim.left_ > 0);
    BlockWish bounded = wish;
    bounded.count = std::min(wish.count, claim.left_);
    const uint32_t start = g.block_in_range(wish.goal.value()) ? g.group_of(wish.goal).value() : 0;
    // The goal's group takes what it has near; then a run as long as wished; then any; then the
    // windows of others.
    for (int pass = 0; pass < 4; ++pass) {
        const uint32_t groups = pass == 0   ? 1
                                : pass == 1 ? std::min(groups_searched_for_a_run, g.group_count)
                                            : g.group_count;
        for (uint32_t i = 0; i < groups; ++i) {
            const uint32_t number = (start + i) % g.group_count;
            const uint32_t least = pass == 0 ? (wish.sequential ? 1 : std::min(bounded.count, 16u))
                                   : pass == 1 ? bounded.count
                                               : 1;
            const Group& group = groups_[number];
            if (group.bad || group.free_blocks.load(std::memory_order_relaxed) < least) continue;
            const BlockRun run =
                TRY(allocate_in(tx, number, bounded, least, /*ignore_windows=*/pass == 3));
            if (run.count == 0) continue;
            claim.left_ -= run.count;
            return run;
        }
    }
    return Errno::nospc; // only where a count lied, and was reported
}

void Allocator::release(FreeList&& list) {
    if (list.runs.empty()) return;
    uint64_t blocks = 0;
    for (const FreeList::Run& run : list.runs) blocks += run.blocks.count;
    MutexGuard guard(pending_lock_);
    if (open_.runs.empty())
        open_.runs = std::move(list.runs);
    else
        open_.runs.insert(open_.runs.end(), list.runs.begin(), list.runs.end());
    pending_blocks_.fetch_add(blocks, std::memory_order_relaxed);
}

void Allocator::expect(const FreeList& list, uint64_t inodes) {
    for (const FreeList::Run& run : list.runs)
        pending_blocks_.fetch_add(run.blocks.count, std::memory_order_relaxed);
    pending_inodes_.fetch_add(inodes, std::memory_order_relaxed);
}

void Allocator::unexpect(const FreeList& list, uint64_t inodes) {
    for (const FreeList::Run& run : list.runs)
        pending_blocks_.fetch_sub(run.blocks.count, std::memory_order_relaxed);
    pending_inodes_.fetch_sub(inodes, std::memory_order_relaxed);
}

uint64_t Allocator::free_blocks() const {
    return static_cast<uint64_t>(std::max<int64_t>(0, unclaimed_.load())) +
           pending_blocks_.load(std::memory_order_relaxed);
}

uint32_t Allocator::mapped_free_blocks() const {
    uint32_t sum = 0;
    for (uint32_t n = 0; n < volume_.geometry.group_count; ++n) sum += groups_[n].free_blocks;
    return sum;
}

// --- commits ------------------------------------------------------------------------------------

Result<void> Allocator::collect(Transaction& tx) {
    const Geometry& g = volume_.geometry;
    for (uint32_t n = 0; n < g.group_count; ++n) {
        Group& group = groups_[n];
        if (!group.dirty.exchange(false, std::memory_order_relaxed) || volume_.groups[n].bad)
            continue;
        Buf buf =
            TRY(volume_.read(g.descriptor_block(GroupNumber(0), n / g.descriptors_per_block())));
        const size_t at = n % g.descriptors_per_block() * sizeof(disk::GroupDescriptor);
        auto& d = tx.modify_as<disk::GroupDescriptor>(buf, at, WritePhase::allocation);
        d.free_blocks = static_cast<uint16_t>(group.free_blocks);
        d.free_inodes = static_cast<uint16_t>(group.free_inodes);
        d.used_directories = static_cast<uint16_t>(group.directories);
    }
    MutexGuard guard(pending_lock_);
    // What an earlier commit could not finish stays on the list.
    committing_.runs.insert(committing_.runs.end(), open_.runs.begin(), open_.runs.end());
    committing_.inodes.insert(committing_.inodes.end(), open_.inodes.begin(), open_.inodes.end());
    open_ = {};
    return {};
}

void Allocator::committed(Transaction& tx) {
    Pending done;
    {
        MutexGuard guard(pending_lock_);
        done = std::exchange(committing_, {});
    }
    uint64_t blocks = 0;
    for (const FreeList::Run& run : done.runs) {
        blocks += run.blocks.count;
        clear_blocks(tx, run);
    }
    for (const auto& [number, directory] : done.inodes) clear_inode(tx, number, directory);
    pending_blocks_.fetch_sub(blocks, std::memory_order_relaxed);
    pending_inodes_.fetch_sub(done.inodes.size(), std::memory_order_relaxed);
}

void Allocator::clear_blocks(Transaction& tx, const FreeList::Run& run) {
    const Geometry& g = volume_.geometry;
    if (run.metadata)
        volume_.mount().buffers().forget(g.offset_of(run.blocks.start),
                                         uint64_t{run.blocks.count} << g.block_shift);
    BlockNumber at = run.blocks.start;
    uint32_t left = run.blocks.count;
    while (left) {
        const GroupNumber id = g.group_of(at);
        const uint32_t first = g.bit_of(at);
        const uint32_t count = std::min(left, g.blocks_in(id) - first);
        at += count;
        left -= count;
        Group& group = groups_[id.value()];
        MutexGuard guard(group.lock);
        auto buf = block_bitmap(group, id.value());
        if (!buf || group.bad) continue; // reported; the blocks stay used
        uint32_t cleared = 0;
        std::byte* map = tx.modify(*buf, 0, 0, WritePhase::allocation).data();
        for (uint32_t bit = first; bit < first + count; ++bit) {
            if (!test_bit(buf->bytes(), bit)) continue;
            clear_bit(map, bit);
            ++cleared;
        }
        group.free_blocks.fetch_add(cleared, std::memory_order_relaxed);
        group.dirty.store(true, std::memory_order_relaxed);
        group.block_hint = std::min(group.block_hint, first);
        unclaim(cleared);
        if (cleared != count)
            (void)volume_.corrupt("block bitmap of group {}: {} blocks from {} on freed twice",
                                  id.value(), count - cleared, g.first_block(id).value() + first);
    }
}

Result<uint64_t> Allocator::trim(uint64_t offset, uint64_t length, uint64_t minimum) {
    const Geometry& g = volume_.geometry;
    const uint64_t low = offset >> g.block_shift;
    const uint64_t high = length > UINT64_MAX - offset ? UINT64_MAX : offset + length;
    const uint64_t least = std::max<uint64_t>(1, minimum >> g.block_shift);
    uint64_t bytes = 0;
    for (uint32_t n = 0; n < g.group_count; ++n) {
        Group& group = groups_[n];
        const uint64_t start = g.first_block(GroupNumber(n)).value();
        MutexGuard guard(group.lock); // held while discarding: nobody may allocate these meanwhile
        if (group.bad || group.free_blocks == 0) continue;
        Buf buf = TRY(block_bitmap(group, n));
        uint64_t limit = g.blocks_in(GroupNumber(n));
        if (high >> g.block_shift <= start) break;
        limit = std::min(limit, (high >> g.block_shift) - start);
        uint32_t at = low > start ? static_cast<uint32_t>(std::min(low - start, limit)) : 0;
        while ((at = next_free(buf.bytes(), at, static_cast<uint32_t>(limit))) < limit) {
            const uint32_t end = next_used(buf.bytes(), at, static_cast<uint32_t>(limit));
            if (end - at >= least) {
                const uint64_t size = uint64_t{end - at} << g.block_shift;
                TRY(volume_.mount().device().discard((start + at) << g.block_shift, size));
                bytes += size;
            }
            at = end;
        }
    }
    return bytes;
}

} // namespace rump::ext2
