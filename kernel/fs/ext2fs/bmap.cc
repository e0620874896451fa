// Walking, growing and cutting the tree of indirect blocks.
#include "kernel/fs/ext2fs/bmap.h"

#include "kernel/vfs/buffer_cache.h"

#include <algorithm>
#include <array>

namespace rump::ext2 {

namespace {

/// Blocks that one pointer of a tree of `depth` levels covers.
uint64_t span_of(const Geometry& g, unsigned depth) {
    uint64_t span = 1;
    for (unsigned i = 0; i < depth; ++i) span *= g.pointers();
    return span;
}

/// Where the trees begin: inode.block[12 + depth - 1] covers span_of(depth) blocks from here.
uint64_t tree_base(const Geometry& g, unsigned depth) {
    uint64_t base = disk::direct_blocks;
    for (unsigned i = 1; i < depth; ++i) base += span_of(g, i);
    return base;
}

uint32_t pointer_at(const Buf& buf, uint64_t index) { return buf.as<le32>(index * 4); }

/// An indirect block's number, or the report that there is none such.
Result<BlockNumber> indirect(const Volume& v, const Inode& inode, uint32_t raw, uint64_t base) {
    if (auto block = v.file_block(raw)) return *block;
    return v.corrupt("inode {}: indirect block {} of file block {} is none of a file's",
                     inode.number, raw, base);
}

/// Hands out runs, neighbours merged.
class Merger {
public:
    explicit Merger(RunSink sink) : sink_(sink) {}
    ~Merger() { flush(); }
    Merger(const Merger&) = delete;
    Merger& operator=(const Merger&) = delete;
    void add(uint64_t first, uint64_t count, std::optional<BlockNumber> start) {
        if (run_.count && run_.start.has_value() == start.has_value() &&
            (!start || *run_.start + run_.count == *start)) {
            run_.count += count;
            return;
        }
        flush();
        run_ = {first, count, start};
    }

private:
    void flush() {
        if (run_.count) sink_(run_);
    }
    RunSink sink_;
    FileRun run_;
};

/// Reads of [first, last). `reads` bounds them: a tree has no more indirect blocks than the file
/// system has blocks.
struct Walk {
    const Volume& volume;
    const Inode& inode;
    uint64_t first;
    uint64_t last;
    Merger& out;
    uint64_t reads = 0;

    /// `count` pointers from `pointer(0)` on, for the blocks of the file from `at` on.
    template<class F>
    Result<void> data(uint64_t at, uint64_t count, F pointer) {
        for (uint64_t i = 0; i < count;) {
            const uint64_t raw = pointer(i);
            uint64_t n = 1;
            while (i + n < count && pointer(i + n) == (raw ? raw + n : 0)) ++n;
            if (raw == 0) {
                out.add(at + i, n, std::nullopt);
            } else {
                const uint64_t good = volume.file_blocks(raw, n);
                if (good) out.add(at + i, good, BlockNumber(raw));
                if (good < n)
                    return volume.corrupt("inode {}: file block {} points to block {}, which is "
                                          "none of a file's",
                                          inode.number, at + i + good, raw + good);
            }
            i += n;
        }
        return {};
    }

    Result<void> tree(uint32_t raw, unsigned depth, uint64_t base) {
        const uint64_t child_span = span_of(volume.geometry, depth - 1);
        const uint64_t low = std::max(first, base);
        const uint64_t high = std::min(last, base + child_span * volume.geometry.pointers());
        if (raw == 0) {
            out.add(low, high - low, std::nullopt);
            return {};
        }
        const BlockNumber block = TRY(indirect(volume, inode, raw, base));
        if (++reads > volume.geometry.block_count)
            return volume.corrupt("inode {}: more indirect blocks than the file system has blocks",
                                  inode.number);
        const Buf buf = TRY(volume.read(block));
        if (depth == 1)
            return data(low, high - low,
                        [&](uint64_t i) -> uint64_t { return pointer_at(buf, low - base + i); });
        for (uint64_t i = (low - base) / child_span; base + i * child_span < high; ++i)
            TRY(tree(pointer_at(buf, i), depth - 1, base + i * child_span));
        return {};
    }
};

/// The way to one block: an index into inode.block, then one a level.
struct Path {
    unsigned depth = 0;
    std::array<uint32_t, 4> index{};
    uint64_t leaf_room = 0; // blocks from this one to the end of its leaf
};

Path path_to(const Geometry& g, uint64_t block) {
    Path path;
    if (block < disk::direct_blocks) {
        path.index[0] = static_cast<uint32_t>(block);
        path.leaf_room = disk::direct_blocks - block;
        return path;
    }
    path.depth = 1;
    while (path.depth < 3 && block >= tree_base(g, path.depth + 1)) ++path.depth;
    uint64_t rest = block - tree_base(g, path.depth);
    path.index[0] = disk::direct_blocks + path.depth - 1;
    for (unsigned level = 1; level <= path.depth; ++level) {
        const uint64_t span = span_of(g, path.depth - level);
        path.index[level] = static_cast<uint32_t>(rest / span);
        rest %= span;
    }
    path.leaf_room = g.pointers() - path.index[path.depth];
    return path;
}

/// Growing: finds or makes the indirect blocks on the way.
class Grower {
public:
    Grower(Volume& volume, Allocator& allocator, Transaction& tx, Inode& inode, Claim& claim,
           BlockNumber goal)
        : volume_(volume), allocator_(allocator), tx_(tx), inode_(inode), claim_(claim),
          goal_(goal) {}

    /// The leaf that holds the pointer of the last index of `path`, which has at least one level.
    Result<Buf> leaf(const Path& path) {
        uint32_t raw = inode_.block[path.index[0]];
        Buf buf;
        if (raw == 0) {
            buf = TRY(make(raw));
            inode_.block[path.index[0]] = raw;
        } else {
            buf = TRY(volume_.read(TRY(indirect(volume_, inode_, raw, path.index[0]))));
        }
        for (unsigned level = 1; level < path.depth; ++level) {
            raw = pointer_at(buf, path.index[level]);
            if (raw != 0) {
                buf = TRY(volume_.read(TRY(indirect(volume_, inode_, raw, path.index[level]))));
                continue;
            }
            Buf child = TRY(make(raw));
            tx_.modify_as<le32>(buf, size_t{path.index[level]} * 4, WritePhase::inode) = raw;
            buf = std::move(child);
        }
        return buf;
    }

private:
    Result<Buf> make(uint32_t& raw) {
        if (claim_.left() == 0) return Errno::nospc;
        const BlockRun run =
            TRY(allocator_.allocate(tx_, claim_, {inode_.number, goal_, 1, false}));
        raw = static_cast<uint32_t>(run.start.value());
        inode_.sectors += volume_.sectors_per_block();
        const std::vector<std::byte> zeros(volume_.geometry.block_size);
        return volume_.init_block(tx_, run.start, zeros, WritePhase::inode);
    }

    Volume& volume_;
    Allocator& allocator_;
    Transaction& tx_;
    Inode& inode_;
    Claim& claim_;
    const BlockNumber goal_;
};

/// Cutting [first, last) out.
struct Cutter {
    Volume& volume;
    Transaction& tx;
    const Inode& inode;
    uint64_t first;
    uint64_t last;
    FreeList& freed;
    uint64_t count = 0; // freed blocks

    Result<void> free(uint32_t raw, bool metadata, uint64_t at) {
        if (++count > volume.geometry.block_count)
            return volume.corrupt("inode {}: more blocks than the file system has", inode.number);
        if (auto block = volume.file_block(raw))
            freed.add(*block, metadata);
        else // the pointer goes, what it points to stays
            (void)volume.corrupt("inode {}: file block {} points to block {}, which is none of a "
                                 "file's",
                                 inode.number, at, raw);
        return {};
    }

    /// True: nothing is left of the tree, it is freed, and the pointer to it must go.
    Result<bool> tree(uint32_t raw, unsigned depth, uint64_t base) {
        if (raw == 0) return true;
        if (depth == 0) {
            TRY(free(raw, inode.is_dir(), base));
            return true;
        }
        const auto block = volume.file_block(raw);
        if (!block) {
            TRY(free(raw, true, base)); // reports it
            return true;
        }
        const uint64_t child_span = span_of(volume.geometry, depth - 1);
        const uint32_t pointers = volume.geometry.pointers();
        const uint64_t end = base + child_span * pointers;
        const bool whole = first <= base && last >= end;
        Buf buf = TRY(volume.read(*block));
        bool empty = true;
        for (uint32_t i = 0; i < pointers; ++i) {
            const uint32_t child = pointer_at(buf, i);
            if (child == 0) continue;
            const uint64_t low = base + i * child_span;
            if (low + child_span <= first || low >= last) {
                empty = false;
                continue;
            }
            if (!TRY(tree(child, depth - 1, low)))
                empty = false;
            else if (!whole)
                tx.modify_as<le32>(buf, size_t{i} * 4, WritePhase::inode) = 0;
        }
        if (!empty) return false;
        TRY(free(raw, true, base));
        return true;
    }
};

} // namespace

Result<void> map_blocks(const Volume& volume, const Inode& inode, uint64_t first, uint64_t count,
                        RunSink sink) {
    const Geometry& g = volume.geometry;
    Merger merger(sink);
    Walk walk{volume, inode, first, first + count, merger};
    if (first < disk::direct_blocks)
        TRY(walk.data(first, std::min<uint64_t>(walk.last, disk::direct_blocks) - first,
                      [&](uint64_t i) -> uint64_t { return inode.block[first + i]; }));
    for (unsigned depth = 1; depth <= 3; ++depth) {
        const uint64_t base = tree_base(g, depth);
        if (walk.last <= base) return {};
        if (first >= base + span_of(g, depth)) continue;
        TRY(walk.tree(inode.block[disk::direct_blocks + depth - 1], depth, base));
    }
    return {};
}

Result<std::optional<BlockNumber>> map_block(const Volume& volume, const Inode& inode,
                                             uint64_t block) {
    std::optional<BlockNumber> found;
    TRY(map_blocks(volume, inode, block, 1, [&](const FileRun& run) { found = run.start; }));
    return found;
}

Result<uint32_t> missing_indirect(const Volume& volume, const Inode& inode, uint64_t first,
                                  uint64_t count) {
    const Geometry& g = volume.geometry;
    uint32_t missing = 0;
    uint64_t at = first;
    // Interior blocks that are missing above several missing leaves count once.
    std::array<uint64_t, 4> counted{UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX};
    while (at < first + count) {
        const Path path = path_to(g, at);
        if (path.depth > 0) {
            uint32_t raw = inode.block[path.index[0]];
            uint64_t key = path.index[0];
            for (unsigned level = 1; level <= path.depth; ++level) {
                if (raw == 0) {
                    if (counted[level] != key) ++missing;
                    counted[level] = key;
                } else {
                    const Buf buf =
                        TRY(volume.read(TRY(indirect(volume, inode, raw, path.index[0]))));
                    raw = pointer_at(buf, path.index[level]);
                }
                key = key * g.pointers() + path.index[level];
            }
        }
        at += path.leaf_room;
    }
    return missing;
}

Result<void> install_run(Volume& volume, Allocator& allocator, Transaction& tx, Inode& inode,
                         uint64_t first, BlockRun run, Claim& claim, BlockNumber goal) {
    Grower grower(volume, allocator, tx, inode, claim, goal);
    auto next = static_cast<uint32_t>(run.start.value());
    uint64_t at = first;
    uint64_t left = run.count;
    while (left) {
        const Path path = path_to(volume.geometry, at);
        const uint64_t count = std::min(left, path.leaf_room);
        if (path.depth == 0) {
            for (uint64_t i = 0; i < count; ++i) inode.block[path.index[0] + i] = next++;
        } else {
            Buf leaf = TRY(grower.leaf(path));
            const size_t offset = size_t{path.index[path.depth]} * 4;
            auto bytes = tx.modify(leaf, offset, count * 4, WritePhase::inode);
            auto* pointers = reinterpret_cast<le32*>(bytes.data());
            for (uint64_t i = 0; i < count; ++i) pointers[i] = next++;
        }
        inode.sectors += static_cast<uint32_t>(count) * volume.sectors_per_block();
        at += count;
        left -= count;
    }
    return {};
}

Result<void> free_blocks(Volume& volume, Transaction& tx, Inode& inode, uint64_t first,
                         uint64_t last, FreeList& freed) {
    const Geometry& g = volume.geometry;
    Cutter cut{volume, tx, inode, first, last, freed};
    for (uint64_t at = first; at < std::min<uint64_t>(last, disk::direct_blocks); ++at) {
        TRY(cut.tree(inode.block[at], 0, at));
        inode.block[at] = 0;
    }
    for (unsigned depth = 1; depth <= 3; ++depth) {
        const uint64_t base = tree_base(g, depth);
        if (last <= base || first >= base + span_of(g, depth)) continue;
        le32& root = inode.block[disk::direct_blocks + depth - 1];
        if (root != 0 && TRY(cut.tree(root, depth, base))) root = 0;
    }
    const uint64_t sectors = cut.count * volume.sectors_per_block();
    inode.sectors -= static_cast<uint32_t>(std::min<uint64_t>(inode.sectors, sectors));
    return {};
}

} // namespace rump::ext2
