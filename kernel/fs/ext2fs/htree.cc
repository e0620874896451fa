// Searching and growing hash trees of directories.
#include "kernel/fs/ext2fs/htree.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

namespace rump::ext2 {

namespace {

constexpr uint32_t info_length = sizeof(disk::IndexRoot);
constexpr unsigned max_levels = 2; // tables on the way, without the feature large_dir

uint32_t table_limit(const Directory& dir, uint32_t table) {
    return (dir.volume.geometry.block_size - table) /
           static_cast<uint32_t>(sizeof(disk::IndexEntry));
}

/// A table, and the entry that the way goes through.
struct Frame {
    Buf buf;
    uint32_t table = 0; // byte offset
    uint32_t at = 0;

    uint32_t count() const { return buf.as<disk::IndexCount>(table).count; }
    uint32_t limit() const { return buf.as<disk::IndexCount>(table).limit; }
    const disk::IndexEntry& entry(uint32_t i) const {
        return buf.as<disk::IndexEntry>(table + i * sizeof(disk::IndexEntry));
    }
    uint32_t hash(uint32_t i) const { return i == 0 ? 0 : entry(i).hash.get(); }
    bool full() const { return count() >= limit(); }
};

/// The way from the root to a leaf.
struct Way {
    HashKind kind;
    uint32_t hash = 0;
    unsigned levels = 1; // frames in use
    Frame frames[max_levels];

    Frame& last() { return frames[levels - 1]; }
    const Frame& last() const { return frames[levels - 1]; }
    uint32_t leaf() const { return last().entry(last().at).block; }
};

class HashTree {
public:
    explicit HashTree(const Directory& dir) : dir_(dir) {}

    /// The root, checked. EOPNOTSUPP: a hash that we do not know.
    Result<Way> open() const {
        Way way;
        Frame& root = way.frames[0];
        root.buf = TRY(dir_.block(0));
        if (!root.buf) return Errno::uclean;
        const auto& info = root.buf.as<disk::IndexRoot>(disk::index_root_offset);
        if (info.reserved != 0 || info.info_length != info_length)
            return damaged(0, fmt::format("index root: information length {}", info.info_length));
        if (info.hash_version >= hash_versions) return Errno::opnotsupp;
        if (info.indirect_levels >= max_levels)
            return damaged(0, fmt::format("index root: {} indirect levels", info.indirect_levels));
        way.kind = dir_.hash;
        way.kind.version = info.hash_version % 3;
        if (info.hash_version >= 3) way.kind.is_unsigned = true;
        way.levels = info.indirect_levels + 1u;
        root.table = disk::index_root_table;
        TRY(check_table(root, 0));
        return way;
    }

    Result<void> descend(Way& way, uint32_t hash) const {
        way.hash = hash;
        for (unsigned level = 0;; ++level) {
            Frame& frame = way.frames[level];
            frame.at = search(frame, hash);
            if (level + 1 == way.levels) break;
            TRY(load_child(way, level));
        }
        return check_leaf(way.leaf());
    }

    /// The next leaf in order of hash; false: there is none. `hash` becomes where it begins.
    Result<bool> advance(Way& way, uint32_t& hash) const {
        unsigned level = way.levels;
        while (level > 0 && way.frames[level - 1].at + 1 >= way.frames[level - 1].count()) --level;
        if (level == 0) return false;
        Frame& turn = way.frames[level - 1];
        ++turn.at;
        hash = turn.hash(turn.at);
        for (; level < way.levels; ++level) {
            TRY(load_child(way, level - 1));
            way.frames[level].at = 0;
        }
        TRY(check_leaf(way.leaf()));
        return true;
    }

private:
    Errno damaged(uint64_t block, const std::string& what) const {
        return dir_.damaged(block, what);
    }

    Result<void> check_table(const Frame& frame, uint64_t block) const {
        if (frame.limit() != table_limit(dir_, frame.table))
            return damaged(block, fmt::format("index limit {}", frame.limit()));
        if (frame.count() == 0 || frame.count() > frame.limit())
            return damaged(block,
                           fmt::format("index count {} of {}", frame.count(), frame.limit()));
        return {};
    }

    /// The last entry whose hash is not above; entry 0 stands for everything below entry 1.
    static uint32_t search(const Frame& frame, uint32_t hash) {
        uint32_t low = 1, high = frame.count();
        while (low < high) {
            const uint32_t middle = low + (high - low) / 2;
            if (frame.hash(middle) > hash)
                high = middle;
            else
                low = middle + 1;
        }
        return low - 1;
    }

    Result<void> load_child(Way& way, unsigned level) const {
        const uint32_t block = way.frames[level].entry(way.frames[level].at).block;
        if (block == 0 || block >= dir_.blocks())
            return damaged(0, fmt::format("index node {} outside of the directory", block));
        Frame& child = way.frames[level + 1];
        child.buf = TRY(dir_.block(block));
        if (!child.buf) return Errno::uclean;
        child.table = disk::index_node_offset;
        child.at = 0;
        return check_table(child, block);
    }

    Result<void> check_leaf(uint32_t block) const {
        if (block == 0 || block >= dir_.blocks())
            return damaged(0, fmt::format("index leaf {} outside of the directory", block));
        return {};
    }

    const Directory& dir_;
};

/// An entry of a leaf with its hash.
struct Hashed {
    uint32_t hash;
    EntryView entry;
};

Result<std::vector<Hashed>> hashed_entries(const Directory& dir, const Way& way, const Buf& buf) {
    std::vector<Hashed> out;
    DirBlockWalk walk(buf.bytes());
    EntryView e;
    while (walk.next(e))
        if (e.used()) out.push_back({name_hash(way.kind, e.name), e});
    if (!walk.damage().empty()) return dir.damaged(way.leaf(), walk.damage());
    std::stable_sort(out.begin(), out.end(),
                     [](const Hashed& a, const Hashed& b) { return a.hash < b.hash; });
    return out;
}

std::vector<EntryView> views(std::span<const Hashed> entries) {
    std::vector<EntryView> out;
    out.reserve(entries.size());
    for (const Hashed& h : entries) out.push_back(h.entry);
    return out;
}

/// Makes room in leaves and tables.
class Splitter {
public:
    Splitter(Transaction& tx, Directory& dir, Way& way, bool privileged)
        : tx_(tx), dir_(dir), way_(way), privileged_(privileged) {}

    /// The last table takes one more entry afterwards. False: the tree is as big as it can be.
    Result<bool> make_table_room() {
        if (!way_.last().full()) return true;
        if (way_.levels < max_levels) {
            TRY(deepen());
            return true;
        }
        if (way_.frames[0].full()) return false;
        TRY(split_node());
        return true;
    }

    /// Moves the upper half of the leaf into a new block; the way leads to the half for its hash.
    Result<void> split_leaf() {
        Buf old = TRY(dir_.block(way_.leaf()));
        if (!old) return Errno::uclean;
        const auto entries = TRY(hashed_entries(dir_, way_, old));
        if (entries.size() < 2) return dir_.damaged(way_.leaf(), "an index leaf without entries");
        const size_t split = split_point(entries);
        const uint32_t hash = entries[split].hash;
        const uint32_t goes_on = hash == entries[split - 1].hash ? 1 : 0;
        const uint32_t size = dir_.volume.geometry.block_size;
        const std::span<const Hashed> all(entries);
        const auto upper = pack_block(size, views(all.subspan(split)));
        const auto lower = pack_block(size, views(all.first(split)));
        const NewBlock fresh = TRY(append_block(tx_, dir_, upper, privileged_));
        std::memcpy(tx_.modify(old, 0, size, WritePhase::directory).data(), lower.data(), size);
        insert(way_.last(), hash + goes_on, static_cast<uint32_t>(fresh.number));
        if (way_.hash >= hash) ++way_.last().at;
        return {};
    }

private:
    /// About half of the bytes go, at least one entry stays and one goes.
    size_t split_point(const std::vector<Hashed>& entries) const {
        const uint32_t half = dir_.volume.geometry.block_size / 2;
        uint32_t moved = 0;
        size_t split = entries.size();
        while (split > 1) {
            const uint32_t size = entry_size(entries[split - 1].entry.name.size());
            if (moved + size / 2 > half) break;
            moved += size;
            --split;
        }
        return split == entries.size() ? entries.size() - 1 : split;
    }

    /// A new entry behind frame.at.
    void insert(Frame& frame, uint32_t hash, uint32_t block) {
        const uint32_t count = frame.count();
        ASSERT(count < frame.limit());
        const size_t slot = frame.table + (frame.at + 1) * sizeof(disk::IndexEntry);
        const size_t moved = (count - frame.at - 1) * sizeof(disk::IndexEntry);
        auto bytes =
            tx_.modify(frame.buf, slot, moved + sizeof(disk::IndexEntry), WritePhase::directory);
        std::memmove(bytes.data() + sizeof(disk::IndexEntry), bytes.data(), moved);
        disk::IndexEntry entry;
        entry.hash = hash;
        entry.block = block;
        std::memcpy(bytes.data(), &entry, sizeof entry);
        set_count(frame, count + 1);
    }

    void set_count(Frame& frame, uint32_t count) {
        tx_.modify_as<disk::IndexCount>(frame.buf, frame.table, WritePhase::directory).count =
            static_cast<uint16_t>(count);
    }

    /// A node block with entries [first, last) of a table.
    std::vector<std::byte> node_block(const Frame& from, uint32_t first, uint32_t last) const {
        const uint32_t size = dir_.volume.geometry.block_size;
        std::vector<std::byte> out(size);
        put_entry(out, 0, size, 0, 0, {});
        std::memcpy(out.data() + disk::index_node_offset, &from.entry(first),
                    (last - first) * sizeof(disk::IndexEntry));
        disk::IndexCount head;
        head.limit = static_cast<uint16_t>(table_limit(dir_, disk::index_node_offset));
        head.count = static_cast<uint16_t>(last - first);
        std::memcpy(out.data() + disk::index_node_offset, &head, sizeof head);
        return out;
    }

    /// The root's table moves into a node of its own.
    Result<void> deepen() {
        Frame& root = way_.frames[0];
        const NewBlock node =
            TRY(append_block(tx_, dir_, node_block(root, 0, root.count()), privileged_));
        way_.frames[1] = {node.buf, disk::index_node_offset, root.at};
        way_.levels = 2;
        tx_.modify_as<disk::IndexRoot>(root.buf, disk::index_root_offset, WritePhase::directory)
            .indirect_levels = 1;
        set_count(root, 1);
        root.at = 0;
        tx_.modify_as<disk::IndexEntry>(root.buf, root.table, WritePhase::directory).block =
            static_cast<uint32_t>(node.number);
        return {};
    }

    Result<void> split_node() {
        Frame& root = way_.frames[0];
        Frame& node = way_.frames[1];
        const uint32_t count = node.count();
        const uint32_t keep = count / 2;
        const uint32_t hash = node.hash(keep);
        const NewBlock fresh =
            TRY(append_block(tx_, dir_, node_block(node, keep, count), privileged_));
        set_count(node, keep);
        insert(root, hash, static_cast<uint32_t>(fresh.number));
        if (node.at >= keep) {
            ++root.at;
            node = {fresh.buf, disk::index_node_offset, node.at - keep};
        }
        return {};
    }

    Transaction& tx_;
    Directory& dir_;
    Way& way_;
    const bool privileged_;
};

Result<std::optional<EntryPlace>> insert_in_leaf(Transaction& tx, Directory& dir, const Way& way,
                                                 std::string_view name, InodeNumber number,
                                                 FileType type) {
    Buf buf = TRY(dir.block(way.leaf()));
    if (!buf) return Errno::uclean;
    const auto offset =
        insert_entry(tx, buf, name, static_cast<uint32_t>(number.value()), dir.type_code(type));
    if (!offset) return std::optional<EntryPlace>();
    return std::optional(EntryPlace{buf, way.leaf(), *offset, std::nullopt,
                                    static_cast<uint32_t>(number.value()), 0});
}

} // namespace

Result<std::optional<EntryPlace>> find_indexed(const Directory& dir, std::string_view name) {
    const HashTree tree(dir);
    auto opened = tree.open();
    if (!opened) return opened.error() == Errno::opnotsupp ? Errno::uclean : opened.error();
    Way& way = *opened;
    TRY(tree.descend(way, name_hash(way.kind, name)));
    // Leaves that go on with the same hash are next to each other; the directory bounds their
    // number.
    for (uint64_t n = 0; n < dir.blocks(); ++n) {
        const Buf buf = TRY(dir.block(way.leaf()));
        if (!buf) return Errno::uclean;
        bool damaged = false;
        if (auto place = find_in_block(dir, buf, way.leaf(), name, damaged)) return place;
        if (damaged) return Errno::uclean;
        uint32_t next = 0;
        if (!TRY(tree.advance(way, next)) || next != (way.hash | 1)) break;
    }
    return std::optional<EntryPlace>();
}

Result<std::optional<EntryPlace>> add_indexed(Transaction& tx, Directory& dir,
                                              std::string_view name, InodeNumber number,
                                              FileType type, bool privileged) {
    const auto drop = [&] {
        dir.inode.flags &= ~disk::inode_flag::index;
        return std::optional<EntryPlace>();
    };
    const HashTree tree(dir);
    auto opened = tree.open();
    if (!opened && opened.error() == Errno::opnotsupp) return drop();
    Way way = TRY(std::move(opened));
    TRY(tree.descend(way, name_hash(way.kind, name)));
    Splitter splitter(tx, dir, way, privileged);
    // One split leaves room for the longest name, but where the block was full of long ones.
    for (int attempt = 0; attempt < 4; ++attempt) {
        if (auto place = TRY(insert_in_leaf(tx, dir, way, name, number, type))) return place;
        if (!TRY(splitter.make_table_room())) return drop();
        TRY(splitter.split_leaf());
    }
    return dir.damaged(way.leaf(), "an index leaf that splitting does not empty");
}

Result<bool> make_index(Transaction& tx, Directory& dir, bool privileged) {
    Buf root = TRY(dir.block(0));
    if (!root) return Errno::uclean;
    const uint32_t size = dir.volume.geometry.block_size;
    std::vector<EntryView> entries;
    DirBlockWalk walk(root.bytes());
    EntryView e;
    size_t seen = 0;
    uint32_t parent = 0;
    while (walk.next(e)) {
        const size_t n = seen++;
        if (n == 0 && !(e.used() && e.name == "." && e.rec_len == 12)) return false;
        if (n == 1) {
            if (!e.used() || e.name != "..") return false;
            parent = e.inode;
        }
        if (n >= 2 && e.used()) entries.push_back(e);
    }
    if (!walk.damage().empty()) return dir.damaged(0, walk.damage());
    if (entries.empty()) return false;
    const NewBlock leaf = TRY(append_block(tx, dir, pack_block(size, entries), privileged));
    const uint8_t code = dir.type_code(FileType::dir);
    std::vector<std::byte> contents(size);
    put_entry(contents, 0, 12, dir.inode.number, code, ".");
    put_entry(contents, 12, size - 12, parent, code, "..");
    disk::IndexRoot info{};
    info.hash_version = dir.hash.version;
    info.info_length = info_length;
    std::memcpy(contents.data() + disk::index_root_offset, &info, sizeof info);
    disk::IndexCount head;
    head.limit = static_cast<uint16_t>(table_limit(dir, disk::index_root_table));
    head.count = 1;
    std::memcpy(contents.data() + disk::index_root_table, &head, sizeof head);
    disk::IndexEntry first;
    std::memcpy(&first, contents.data() + disk::index_root_table, sizeof first);
    first.block = static_cast<uint32_t>(leaf.number);
    std::memcpy(contents.data() + disk::index_root_table, &first, sizeof first);
    std::memcpy(tx.modify(root, 0, size, WritePhase::directory).data(), contents.data(), size);
    dir.inode.flags |= disk::inode_flag::index;
    return true;
}

Result<LeafRange> leaves_from(const Directory& dir, uint32_t hash) {
    const HashTree tree(dir);
    Way way = TRY(tree.open());
    TRY(tree.descend(way, hash));
    LeafRange range;
    // A table whose hashes do not rise would lead in a circle: the end comes at the latest after
    // as many leaves as the directory has blocks.
    for (uint64_t n = 0; n < dir.blocks(); ++n) {
        range.blocks.push_back(way.leaf());
        uint32_t next = 0;
        if (!TRY(tree.advance(way, next))) return range;
        if (!(next & 1)) {
            if (next <= hash) return dir.damaged(0, "index hashes that do not rise");
            range.next_hash = next;
            return range;
        }
    }
    return dir.damaged(0, "index leaves without an end");
}

Result<HashKind> hash_of(const Directory& dir) {
    if (!dir.indexed()) return dir.hash;
    return TRY(HashTree(dir).open()).kind;
}

} // namespace rump::ext2
