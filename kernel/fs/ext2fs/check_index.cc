// check: the hash tree of a directory says of each entry where it is ("Indexed Directory Format").
// Without its index a directory is searched from its beginning to its end, so a wrong one is mended
// by taking it away: all of it looks like unused entries.
#include "kernel/fs/ext2fs/check.h"
#include "kernel/fs/ext2fs/hash.h"

#include <algorithm>
#include <cstring>

namespace rump::ext2 {

namespace {

constexpr uint32_t levels_max = 2;

/// Where entries of some hashes are, by one table.
struct Range {
    uint32_t low;
    uint32_t high; // the first behind
    uint32_t block;
};

/// Reads one directory's tree through `read`, which gives a block of the directory or nothing.
class IndexCheck {
public:
    /// By block of the directory and its level: 0 the root, then nodes, then leaves. The bytes are
    /// good until another of that level is asked for.
    using Blocks = FunctionRef<std::span<const std::byte>(uint32_t, unsigned)>;
    IndexCheck(const Geometry& g, const HashKind& kind, Blocks blocks, size_t count)
        : g_(g), kind_(kind), blocks_(blocks), seen_(count) {}

    /// Empty: nothing is wrong.
    std::string run() {
        const auto root = blocks_(0, 0);
        if (root.empty()) return "no first block";
        disk::IndexRoot info;
        std::memcpy(&info, root.data() + disk::index_root_offset, sizeof info);
        if (info.reserved != 0u || info.info_length != sizeof info)
            return fmt::format("information length {}", info.info_length);
        if (info.hash_version >= hash_versions)
            return fmt::format("hash version {}", info.hash_version);
        if (info.indirect_levels >= levels_max)
            return fmt::format("{} indirect levels", info.indirect_levels);
        kind_.version = info.hash_version % 3;
        if (info.hash_version >= 3) kind_.is_unsigned = true;
        seen_[0] = true;
        table(root, disk::index_root_table, {0, UINT32_MAX, 0}, info.indirect_levels);
        if (problem_.empty())
            if (const auto missing = std::find(seen_.begin(), seen_.end(), false);
                missing != seen_.end())
                problem_ = fmt::format("block {} is not in it", missing - seen_.begin());
        return problem_;
    }

private:
    void table(std::span<const std::byte> block, uint32_t at, Range all, unsigned levels) {
        const auto slot = [&](uint32_t i) {
            disk::IndexEntry e;
            std::memcpy(&e, block.data() + at + i * sizeof e, sizeof e);
            return e;
        };
        disk::IndexCount count;
        std::memcpy(&count, block.data() + at, sizeof count);
        const uint32_t limit =
            (g_.block_size - at) / static_cast<uint32_t>(sizeof(disk::IndexEntry));
        if (count.limit != limit || count.count == 0u || count.count > limit) {
            problem_ = fmt::format("block {}: count {}, limit {}", all.block, count.count.get(),
                                   count.limit.get());
            return;
        }
        for (uint32_t i = 0; i < count.count && problem_.empty(); ++i) {
            const uint32_t low = i == 0 ? all.low : slot(i).hash.get();
            const uint32_t high = i + 1u < count.count ? slot(i + 1).hash.get() : all.high;
            if ((low & ~1u) > high || (i > 0 && (low & ~1u) < all.low)) {
                problem_ = fmt::format("block {}: hashes out of order", all.block);
                return;
            }
            child({low, high, slot(i).block & 0x0fffffff}, levels);
        }
    }

    void child(Range range, unsigned levels) {
        if (range.block >= seen_.size() || seen_[range.block]) {
            problem_ = fmt::format("leads to block {}", range.block);
            return;
        }
        seen_[range.block] = true;
        const auto block = blocks_(range.block, levels > 0 ? 1 : 2);
        if (block.empty()) return; // reported as a hole
        if (levels > 0)
            table(block, disk::index_node_offset, range, levels - 1);
        else
            leaf(block, range);
    }

    void leaf(std::span<const std::byte> block, Range range) {
        DirBlockWalk walk(block);
        EntryView e;
        while (walk.next(e)) {
            if (!e.used()) continue;
            const uint32_t hash = name_hash(kind_, e.name);
            // An odd bound: entries of that hash begin in one block and go on in the next.
            if (hash >= (range.low & ~1u) && hash < range.high) continue;
            problem_ = fmt::format("\"{}\" is not where its hash says", e.name);
            return;
        }
    }

    const Geometry& g_;
    HashKind kind_;
    Blocks blocks_;
    std::vector<bool> seen_;
    std::string problem_;
};

} // namespace

Result<void> Checker::check_index(const DirectoryBlocks& dir) {
    Result<void> failed;
    Block at_level[levels_max + 1];
    const auto blocks = [&](uint32_t n, unsigned level) -> std::span<const std::byte> {
        if (n >= dir.blocks.size() || dir.blocks[n] == 0) return {};
        auto bytes = read(dir.blocks[n]);
        if (!bytes) failed = bytes.error();
        if (!bytes) return {};
        at_level[level] = bytes.release_value();
        return at_level[level];
    };
    const std::string problem = IndexCheck(g_, HashKind::of(sb_), blocks, dir.blocks.size()).run();
    TRY(std::move(failed));
    if (!problem.empty() && mend("index", inode_place_text(dir.number), "hash tree: {}", problem))
        TRY(change_inode(dir.number, [](disk::Inode& raw) {
            raw.flags = raw.flags & ~disk::inode_flag::index;
        }));
    return {};
}

} // namespace rump::ext2
