// Reading directories.
//
// Cookies. A directory that has an index, or may get one while it is read (one block, feature
// dir_index), is read in order of hash, because splitting a leaf moves entries: bit 62, 31 bits of
// the hash of the index, 31 bits of another hash of the name. Others are read in order of place,
// and entries never move: the byte offset. "." and ".." come first, with cookies 0 and 1 or their
// place. A directory that loses its index goes on to understand cookies of both kinds.
#include "kernel/fs/ext2fs/htree.h"

#include <algorithm>

namespace rump::ext2 {

namespace {

constexpr uint64_t hash_mark = uint64_t{1} << 62;
constexpr uint32_t cookie_bits = 31;

using Sink = FunctionRef<bool(const DirEntry&)>;

uint64_t first_cookie_of(uint32_t hash) { return hash_mark | uint64_t{hash >> 1} << cookie_bits; }
uint32_t hash_of_cookie(uint64_t cookie) {
    return static_cast<uint32_t>((cookie & ~hash_mark) >> cookie_bits) << 1;
}

class Reader {
public:
    Reader(const Directory& dir, Sink sink, bool& damaged)
        : dir_(dir), sink_(sink), damaged_(damaged) {}

    Result<bool> by_place(uint64_t cookie) {
        const uint32_t shift = dir_.volume.geometry.block_shift;
        for (uint64_t n = cookie >> shift; n < dir_.blocks(); ++n) {
            const Buf buf = TRY(block(n));
            if (!buf) continue;
            const uint64_t base = n << shift;
            DirBlockWalk walk(buf.bytes());
            EntryView e;
            while (walk.next(e)) {
                if (base + e.offset < cookie || !good(e, n)) continue;
                if (!hand_out(e, base + e.offset + e.rec_len)) return false;
            }
            check(walk, n);
        }
        return true;
    }

    Result<bool> by_hash(uint64_t cookie) {
        if (cookie < hash_mark) {
            if (cookie > 1) return Errno::inval;
            if (cookie == 0 && !hand_out_dot()) return false;
            const auto dotdot = find_dotdot(dir_);
            if (!dotdot && dotdot.error() != Errno::uclean) return dotdot.error();
            damaged_ |= !dotdot;
            if (dotdot && !sink_({InodeNumber(dotdot->inode), FileType::dir, "..", hash_mark}))
                return false;
            cookie = hash_mark;
        }
        auto kind = hash_of(dir_);
        if (!kind && kind.error() != Errno::uclean && kind.error() != Errno::opnotsupp)
            return kind.error();
        const bool use_index = dir_.indexed() && kind.ok();
        if (!use_index) return everything(dir_.hash, cookie);
        for (;;) {
            const auto range = leaves_from(dir_, hash_of_cookie(cookie));
            if (!range) {
                if (range.error() != Errno::uclean) return range.error();
                damaged_ = true;
                return everything(*kind, cookie);
            }
            if (!TRY(sorted(*kind, range->blocks, cookie))) return false;
            if (range->next_hash == UINT32_MAX) return true;
            cookie = first_cookie_of(range->next_hash);
        }
    }

private:
    struct Item {
        uint64_t key;
        EntryView entry;
    };

    /// A block without a place is damage, not an end.
    Result<Buf> block(uint64_t n) {
        auto buf = dir_.block(n);
        if (!buf && buf.error() != Errno::uclean) return buf;
        if (!buf || !*buf) {
            damaged_ = true;
            return Buf();
        }
        return buf;
    }

    void check(const DirBlockWalk& walk, uint64_t n) {
        if (walk.damage().empty()) return;
        (void)dir_.damaged(n, walk.damage());
        damaged_ = true;
    }

    bool good(const EntryView& e, uint64_t n) {
        if (!e.used()) return false;
        const char* problem = bad_name(e.name);
        if (!problem && !dir_.volume.geometry.inode_usable(e.inode))
            problem = "an inode number that cannot be";
        if (!problem) return true;
        (void)dir_.damaged(n, fmt::format("offset {}: {}", e.offset, problem));
        damaged_ = true;
        return false;
    }

    bool hand_out(const EntryView& e, uint64_t next) {
        const FileType type = dir_.volume.geometry.has_filetype() ? file_type_from_code(e.file_type)
                                                                  : FileType::unknown;
        return sink_({InodeNumber(e.inode), type, e.name, next});
    }

    bool hand_out_dot() { return sink_({InodeNumber(dir_.inode.number), FileType::dir, ".", 1}); }

    /// Where there is no index to go by: all blocks at once.
    Result<bool> everything(const HashKind& kind, uint64_t cookie) {
        std::vector<uint64_t> blocks(dir_.blocks());
        for (uint64_t n = 0; n < blocks.size(); ++n) blocks[n] = n;
        return sorted(kind, blocks, cookie);
    }

    Result<bool> sorted(const HashKind& kind, std::span<const uint64_t> blocks, uint64_t cookie) {
        std::vector<Buf> held; // names are views of these
        std::vector<Item> items;
        for (uint64_t n : blocks) {
            Buf buf = TRY(block(n));
            if (!buf) continue;
            DirBlockWalk walk(buf.bytes());
            EntryView e;
            while (walk.next(e)) {
                if (!good(e, n) || e.name == "." || e.name == "..") continue;
                const uint64_t key = first_cookie_of(name_hash(kind, e.name)) |
                                     DirHash::hash(e.name) >> (32 - cookie_bits);
                if (key >= cookie) items.push_back({key, e});
            }
            check(walk, n);
            held.push_back(std::move(buf));
        }
        std::sort(items.begin(), items.end(),
                  [](const Item& a, const Item& b) { return a.key < b.key; });
        for (const Item& item : items)
            if (!hand_out(item.entry, item.key + 1)) return false;
        return true;
    }

    const Directory& dir_;
    Sink sink_;
    bool& damaged_;
};

} // namespace

Result<bool> read_directory(const Directory& dir, uint64_t cookie, Sink sink, bool& damaged) {
    Reader reader(dir, sink, damaged);
    if (cookie >= hash_mark << 1) return Errno::inval;
    const bool may_have_index = dir.volume.geometry.has_dir_index() &&
                                (dir.inode.flags & disk::inode_flag::index || dir.blocks() == 1);
    if (may_have_index || cookie >= hash_mark) return reader.by_hash(cookie);
    return reader.by_place(cookie);
}

} // namespace rump::ext2
