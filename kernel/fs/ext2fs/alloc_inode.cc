// Allocation of inodes, and where directories go: the idea of Orlov's allocator (directories of the
// root spread over the groups, others near their parent while there is room).
#include "kernel/fs/ext2fs/alloc.h"
#include "kernel/fs/ext2fs/bitmap.h"
#include "kernel/kern/kernel.h"

#include <algorithm>

namespace rump::ext2 {

using host::MutexGuard;

Result<Buf> Allocator::inode_bitmap(Group& group, uint32_t number) {
    const Geometry& g = volume_.geometry;
    const GroupPlace& place = volume_.groups[number];
    if (place.bad) return Errno::uclean;
    Buf buf = TRY(volume_.read(place.inode_bitmap));
    if (group.inodes_checked) return buf;
    const uint32_t first_number = number * g.inodes_per_group + 1;
    if (first_number < g.first_inode) {
        const uint32_t reserved = std::min(g.first_inode - first_number, g.inodes_per_group);
        if (next_free(buf.bytes(), 0, reserved) != reserved) {
            give_up(group, number);
            return volume_.corrupt("inode bitmap of group {}: reserved inode {} is marked free",
                                   number, first_number + next_free(buf.bytes(), 0, reserved));
        }
    }
    group.inodes_checked = true;
    const uint32_t really_free = count_free(buf.bytes(), g.inodes_per_group);
    const uint32_t said = group.free_inodes.load();
    if (said == really_free) return buf;
    inodes_left_.fetch_add(int64_t{really_free} - int64_t{said}, std::memory_order_relaxed);
    group.free_inodes = really_free;
    group.dirty = true;
    if (was_clean_)
        return volume_.corrupt("descriptor of group {}: {} free inodes, the bitmap has {}", number,
                               said, really_free);
    volume_.mount().kernel().log().warning(
        "ext2fs: group {}: {} free inodes counted, {} are; corrected", number, said, really_free);
    return buf;
}

uint32_t Allocator::directory_group(InodeNumber parent, bool spread) const {
    const Geometry& g = volume_.geometry;
    const uint32_t groups = g.group_count;
    const uint32_t home = g.group_of(parent).value();
    if (groups == 1) return 0;
    const auto average = [&](int64_t total) {
        return static_cast<uint32_t>(std::max<int64_t>(0, total) / groups);
    };
    const uint32_t inodes = average(inodes_left_.load(std::memory_order_relaxed));
    const uint32_t blocks = average(unclaimed_.load(std::memory_order_relaxed));
    if (spread) {
        const uint32_t start =
            static_cast<uint32_t>(volume_.mount().kernel().random().below(groups));
        uint32_t best = UINT32_MAX, fewest = UINT32_MAX;
        for (uint32_t i = 0; i < groups; ++i) {
            const Group& group = groups_[(start + i) % groups];
            if (group.bad || group.free_inodes == 0 || group.free_inodes < inodes ||
                group.free_blocks < blocks || group.directories >= fewest)
                continue;
            best = (start + i) % groups;
            fewest = group.directories;
        }
        if (best != UINT32_MAX) return best;
    }
    const uint32_t least_inodes = std::max(1u, inodes - std::min(inodes, g.inodes_per_group / 4));
    const uint32_t least_blocks = blocks - std::min(blocks, g.blocks_per_group / 4);
    for (uint32_t i = 0; i < groups; ++i) {
        const Group& group = groups_[(home + i) % groups];
        if (!group.bad && group.free_inodes >= least_inodes && group.free_blocks >= least_blocks)
            return (home + i) % groups;
    }
    return home;
}

/// The directory's group, else one found by steps that double, so that the files of directories
/// that share a full group do not all go to the next one; it has a free block, too.
std::optional<uint32_t> Allocator::file_group(uint32_t parent_group) const {
    const uint32_t groups = volume_.geometry.group_count;
    const auto good = [&](uint32_t n) {
        return !groups_[n].bad && groups_[n].free_inodes > 0 && groups_[n].free_blocks > 0;
    };
    if (good(parent_group)) return parent_group;
    uint32_t n = parent_group;
    for (uint32_t step = 1; step < groups; step <<= 1) {
        n = (n + step) % groups;
        if (good(n)) return n;
    }
    return std::nullopt;
}

Result<std::optional<InodeNumber>> Allocator::allocate_inode_in(Transaction& tx, uint32_t number,
                                                                bool directory) {
    const Geometry& g = volume_.geometry;
    Group& group = groups_[number];
    MutexGuard guard(group.lock);
    if (group.bad || group.free_inodes == 0) return std::optional<InodeNumber>();
    Buf buf = TRY(inode_bitmap(group, number));
    const uint32_t bit = next_free(buf.bytes(), group.inode_hint, g.inodes_per_group);
    if (bit == g.inodes_per_group) return std::optional<InodeNumber>();
    std::byte* map = tx.modify(buf, 0, 0, WritePhase::allocation).data();
    set_bit(map, bit);
    group.inode_hint = bit + 1;
    group.free_inodes.fetch_sub(1, std::memory_order_relaxed);
    inodes_left_.fetch_sub(1, std::memory_order_relaxed);
    if (directory) group.directories.fetch_add(1, std::memory_order_relaxed);
    group.dirty.store(true, std::memory_order_relaxed);
    tx.on_abort([this, buf, map, number, bit, directory] {
        Group& owner = groups_[number];
        MutexGuard undo(owner.lock);
        clear_bit(map, bit);
        owner.inode_hint = std::min(owner.inode_hint, bit);
        owner.free_inodes.fetch_add(1, std::memory_order_relaxed);
        inodes_left_.fetch_add(1, std::memory_order_relaxed);
        if (directory) owner.directories.fetch_sub(1, std::memory_order_relaxed);
    });
    return std::optional(InodeNumber(uint64_t{number} * g.inodes_per_group + bit + 1));
}

Result<InodeNumber> Allocator::allocate_inode(Transaction& tx, InodeNumber parent, bool directory,
                                              bool spread) {
    const Geometry& g = volume_.geometry;
    if (inodes_left_.load(std::memory_order_relaxed) <= 0) return Errno::nospc;
    const uint32_t home = g.group_of(parent).value();
    const uint32_t start =
        directory ? directory_group(parent, spread) : file_group(home).value_or(home);
    for (uint32_t i = 0; i < g.group_count; ++i)
        if (auto number = TRY(allocate_inode_in(tx, (start + i) % g.group_count, directory)))
            return *number;
    return Errno::nospc;
}

void Allocator::release_inode(InodeNumber number, bool directory) {
    MutexGuard guard(pending_lock_);
    open_.inodes.emplace_back(number, directory);
    pending_inodes_.fetch_add(1, std::memory_order_relaxed);
}

void Allocator::clear_inode(Transaction& tx, InodeNumber number, bool directory) {
    const Geometry& g = volume_.geometry;
    const uint32_t n = g.group_of(number).value();
    const uint32_t bit = g.bit_of(number);
    Group& group = groups_[n];
    MutexGuard guard(group.lock);
    auto buf = inode_bitmap(group, n);
    if (!buf || group.bad) return; // reported; it stays used
    if (!test_bit(buf->bytes(), bit)) {
        (void)volume_.corrupt("inode bitmap of group {}: inode {} freed twice", n, number.value());
        return;
    }
    clear_bit(tx.modify(*buf, 0, 0, WritePhase::allocation).data(), bit);
    group.inode_hint = std::min(group.inode_hint, bit);
    group.free_inodes.fetch_add(1, std::memory_order_relaxed);
    inodes_left_.fetch_add(1, std::memory_order_relaxed);
    if (directory && group.directories > 0)
        group.directories.fetch_sub(1, std::memory_order_relaxed);
    group.dirty.store(true, std::memory_order_relaxed);
}

uint64_t Allocator::free_inodes() const {
    return static_cast<uint64_t>(std::max<int64_t>(0, inodes_left_.load())) +
           pending_inodes_.load(std::memory_order_relaxed);
}

uint32_t Allocator::mapped_free_inodes() const {
    uint32_t sum = 0;
    for (uint32_t n = 0; n < volume_.geometry.group_count; ++n) sum += groups_[n].free_inodes;
    return sum;
}

} // namespace rump::ext2
