// Volume: a mounted ext2 as the format's code sees it: geometry, where each group's maps are,
// blocks through the buffer cache, and one place to report damage. Knows no vnodes.
#pragma once

#include "kernel/fs/ext2fs/geometry.h"
#include "kernel/sys/buf.h"
#include "kernel/sys/mount.h"
#include "kernel/sys/transaction.h"

#include <fmt/format.h>

#include <vector>

namespace rump::ext2 {

/// Where a group keeps its maps, checked to lie within the group.
struct GroupPlace {
    BlockNumber block_bitmap{};
    BlockNumber inode_bitmap{};
    BlockNumber inode_table{};
    bool bad = false; // the descriptor lies: nothing of the group may be used
};

/// What an operation frees. Taken over by the allocator when the operation can fail no more.
struct FreeList {
    struct Run {
        BlockRun blocks;
        bool metadata; // was read through the buffer cache
    };
    std::vector<Run> runs;
    void add(BlockNumber block, bool metadata) {
        if (!runs.empty() && runs.back().metadata == metadata &&
            runs.back().blocks.end() == block && runs.back().blocks.count < UINT32_MAX)
            ++runs.back().blocks.count;
        else
            runs.push_back({{block, 1}, metadata});
    }
};

class Volume {
public:
    Volume(Mount& mount, const Geometry& geometry) : geometry(geometry), mount_(mount) {}

    const Geometry geometry;
    std::vector<GroupPlace> groups; // constant after load_groups

    /// Reads and checks the descriptors; a bad one is reported and marked. EIO.
    Result<void> load_groups(FunctionRef<void(GroupNumber, const disk::GroupDescriptor&)> each);

    Mount& mount() const { return mount_; }
    Timespec now() const;
    uint32_t sectors_per_block() const { return geometry.block_size / 512; }

    /// EIO, EUCLEAN (beyond the device), reported.
    Result<Buf> read(BlockNumber block) const;
    /// A block that was allocated just now: filled with `contents`, under `tx`, and written to the
    /// device at once: it may reach the device after what points to it, and must not show then what
    /// an earlier owner left there. EIO.
    Result<Buf> init_block(Transaction& tx, BlockNumber block, std::span<const std::byte> contents,
                           WritePhase phase) const;

    /// Bitmaps, inode tables, superblocks and descriptors: never a file's.
    bool is_metadata(BlockNumber block) const;
    /// A pointer from the disk. None: it cannot be a file's block.
    std::optional<BlockNumber> file_block(uint64_t raw) const {
        if (!geometry.block_in_range(raw) || is_metadata(BlockNumber(raw))) return std::nullopt;
        return BlockNumber(raw);
    }
    /// How many of the `count` blocks from `raw` on, from the first, can be a file's.
    uint64_t file_blocks(uint64_t raw, uint64_t count) const;
    BlockNumber inode_table_block(InodeNumber number, uint32_t table_block) const {
        return groups[geometry.group_of(number).value()].inode_table + table_block;
    }

    template<class... A>
    [[nodiscard]] Errno corrupt(fmt::format_string<A...> format, A&&... args) const {
        return mount_.corrupt(fmt::format(format, std::forward<A>(args)...));
    }

private:
    Mount& mount_;
};

} // namespace rump::ext2
