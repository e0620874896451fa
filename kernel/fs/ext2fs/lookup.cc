// Entries of directories.
#include "kernel/fs/ext2fs/lookup.h"

#include "kernel/fs/ext2fs/htree.h"

#include <algorithm>
#include <cstring>

namespace rump::ext2 {

namespace {

/// From this many blocks on a directory deserves an in-memory hash.
constexpr uint64_t dirhash_blocks = 3;

bool wants_hash(const Directory& dir) {
    return dir.cache && !dir.indexed() && dir.blocks() >= dirhash_blocks &&
           dir.inode.size < UINT32_MAX / 2;
}

/// One pass over the directory. A damaged block makes the hash useless: an answer of "not there"
/// would be a guess.
DirHashPool::Use build_hash(const Directory& dir) {
    DirHashPool::Use hash = dir.volume.mount().dirhashes().make(dir.cache->handle);
    if (!hash) return hash;
    const uint32_t shift = dir.volume.geometry.block_shift;
    for (uint64_t n = 0; n < dir.blocks(); ++n) {
        auto buf = dir.block(n);
        if (!buf || !*buf) return DirHashPool::Use();
        DirBlockWalk walk(buf->bytes());
        EntryView e;
        uint32_t room = 0;
        while (walk.next(e)) {
            if (e.used())
                hash->add(DirHash::hash(e.name), static_cast<uint32_t>(n << shift) + e.offset);
            room = std::max(room, e.room());
        }
        if (!walk.damage().empty()) return DirHashPool::Use();
        hash->set_room(static_cast<uint32_t>(n), room);
    }
    return hash;
}

/// Where the entry at byte `offset` of the directory is; none: the hash was wrong about it.
Result<std::optional<EntryPlace>> place_at(const Directory& dir, uint32_t offset,
                                           std::string_view name) {
    const uint64_t n = offset >> dir.volume.geometry.block_shift;
    Buf buf = TRY(dir.block(n));
    if (!buf) return std::optional<EntryPlace>();
    bool damaged = false;
    return find_in_block(dir, buf, n, name, damaged);
}

struct HashAnswer {
    bool known = false; // by the hash; else: read on
    std::optional<EntryPlace> place;
};

Result<HashAnswer> ask_hash(const Directory& dir, std::string_view name) {
    HashAnswer answer;
    const auto ask = [&](const DirHash& hash) -> Result<void> {
        Result<void> failed;
        answer.known = true;
        hash.find(DirHash::hash(name), [&](uint32_t offset) {
            auto found = place_at(dir, offset, name);
            if (!found) {
                failed = found.error();
                return true;
            }
            answer.place = std::move(*found);
            return answer.place.has_value();
        });
        return failed;
    };
    {
        host::SharedGuard guard(dir.cache->lock);
        if (auto hash = dir.cache->handle.get()) {
            TRY(ask(*hash));
            return answer;
        }
    }
    host::ExclusiveGuard guard(dir.cache->lock);
    auto hash = dir.cache->handle.get();
    if (!hash) hash = build_hash(dir);
    if (hash)
        TRY(ask(*hash));
    else
        dir.cache->handle.drop();
    return answer;
}

/// Tells the hash, if there is one, what changed in a block.
template<class F>
void update_hash(const Directory& dir, F change) {
    if (!dir.cache) return;
    host::ExclusiveGuard guard(dir.cache->lock);
    if (auto hash = dir.cache->handle.get()) change(*hash);
}

void note_block(const Directory& dir, const EntryPlace& place, std::string_view name, bool added) {
    update_hash(dir, [&](DirHash& hash) {
        const auto offset =
            static_cast<uint32_t>((place.block << dir.volume.geometry.block_shift) + place.offset);
        if (added)
            hash.add(DirHash::hash(name), offset);
        else
            hash.remove(DirHash::hash(name), offset);
        hash.set_room(static_cast<uint32_t>(place.block), largest_room(place.buf.bytes()));
    });
}

Result<EntryPlace> placed(const Directory& dir, Buf buf, uint64_t block, uint32_t offset,
                          InodeNumber number, std::string_view name) {
    EntryPlace place{
        std::move(buf), block, offset, std::nullopt, static_cast<uint32_t>(number.value()), 0};
    note_block(dir, place, name, true);
    return place;
}

/// Tries one block; none: no room. Damaged blocks take nothing.
Result<std::optional<EntryPlace>> add_to_block(Transaction& tx, Directory& dir, uint64_t n,
                                               std::string_view name, InodeNumber number,
                                               FileType type) {
    Buf buf = TRY(dir.block(n));
    if (!buf || largest_room(buf.bytes()) < entry_size(name.size()))
        return std::optional<EntryPlace>();
    const auto offset =
        insert_entry(tx, buf, name, static_cast<uint32_t>(number.value()), dir.type_code(type));
    if (!offset) return std::optional<EntryPlace>();
    return std::optional(TRY(placed(dir, buf, n, *offset, number, name)));
}

Result<EntryPlace> add_linear(Transaction& tx, Directory& dir, std::string_view name,
                              InodeNumber number, FileType type, bool privileged) {
    bool known = false;
    std::optional<uint32_t> roomy;
    if (wants_hash(dir)) {
        host::ExclusiveGuard guard(dir.cache->lock);
        auto hash = dir.cache->handle.get();
        if (!hash) hash = build_hash(dir);
        if (hash) {
            known = true;
            roomy = hash->find_room(entry_size(name.size()));
        }
    }
    if (roomy)
        if (auto place = TRY(add_to_block(tx, dir, *roomy, name, number, type))) return *place;
    if (!known)
        for (uint64_t n = 0; n < dir.blocks(); ++n)
            if (auto place = TRY(add_to_block(tx, dir, n, name, number, type))) return *place;
    std::vector<std::byte> contents(dir.volume.geometry.block_size);
    put_entry(contents, 0, dir.volume.geometry.block_size, static_cast<uint32_t>(number.value()),
              dir.type_code(type), name);
    NewBlock fresh = TRY(append_block(tx, dir, contents, privileged));
    return placed(dir, fresh.buf, fresh.number, 0, number, name);
}

} // namespace

Result<Buf> Directory::block(uint64_t n) const {
    const auto where = TRY(map_block(volume, inode, n));
    if (!where) {
        (void)damaged(n, "a hole");
        return Buf();
    }
    return volume.read(*where);
}

Errno Directory::damaged(uint64_t block, std::string_view what) const {
    return volume.corrupt("directory inode {}, block {} of it, {}", inode.number, block, what);
}

std::optional<EntryPlace> find_in_block(const Directory& dir, const Buf& buf, uint64_t block,
                                        std::string_view name, bool& damaged) {
    DirBlockWalk walk(buf.bytes());
    EntryView e;
    std::optional<uint32_t> previous;
    while (walk.next(e)) {
        if (e.used() && e.name == name)
            return EntryPlace{buf, block, e.offset, previous, e.inode, e.file_type};
        previous = e.offset;
    }
    if (!walk.damage().empty()) {
        (void)dir.damaged(block, walk.damage());
        damaged = true;
    }
    return std::nullopt;
}

Result<std::optional<EntryPlace>> find_entry(const Directory& dir, std::string_view name) {
    if (dir.indexed() && name != "." && name != "..") {
        auto found = find_indexed(dir, name);
        if (found || found.error() != Errno::uclean) return found;
        // The index lies, and that is reported: the entries themselves may still be good.
    } else if (wants_hash(dir)) {
        HashAnswer answer = TRY(ask_hash(dir, name));
        if (answer.known) return std::move(answer.place);
    }
    bool damaged = false;
    for (uint64_t n = 0; n < dir.blocks(); ++n) {
        auto buf = dir.block(n);
        if (!buf && buf.error() != Errno::uclean) return buf.error();
        if (!buf || !*buf) {
            damaged = true;
            continue;
        }
        if (auto place = find_in_block(dir, *buf, n, name, damaged)) return place;
    }
    if (damaged) return Errno::uclean;
    return std::optional<EntryPlace>();
}

Result<NewBlock> append_block(Transaction& tx, Directory& dir, std::span<const std::byte> contents,
                              bool privileged) {
    Volume& v = dir.volume;
    const uint64_t n = dir.blocks();
    if ((n + 1) << v.geometry.block_shift > UINT32_MAX) return Errno::nospc;
    const uint32_t indirect = TRY(missing_indirect(v, dir.inode, n, 1));
    Claim claim = TRY(dir.allocator.claim(1 + indirect, 1 + indirect, privileged));
    BlockNumber goal = v.geometry.first_block(v.geometry.group_of(InodeNumber(dir.inode.number)));
    bool sequential = false;
    if (n > 0)
        if (auto last = TRY(map_block(v, dir.inode, n - 1))) {
            goal = *last + 1;
            sequential = v.geometry.dir_prealloc > 0;
        }
    const BlockRun run =
        TRY(dir.allocator.allocate(tx, claim, {dir.inode.number, goal, 1, sequential}));
    TRY(install_run(v, dir.allocator, tx, dir.inode, n, run, claim, run.end()));
    Buf buf = TRY(v.init_block(tx, run.start, contents, WritePhase::directory));
    dir.inode.size += v.geometry.block_size;
    return NewBlock{n, std::move(buf)};
}

Result<EntryPlace> add_entry(Transaction& tx, Directory& dir, std::string_view name,
                             InodeNumber number, FileType type, bool privileged) {
    if (dir.indexed()) {
        // None: the index holds no more, and was dropped.
        if (auto place = TRY(add_indexed(tx, dir, name, number, type, privileged)))
            return std::move(*place);
    }
    if (dir.inode.flags & disk::inode_flag::index && !dir.indexed())
        dir.inode.flags &= ~disk::inode_flag::index;
    if (dir.volume.geometry.has_dir_index() && dir.blocks() == 1) {
        if (auto place = TRY(add_to_block(tx, dir, 0, name, number, type))) return *place;
        if (TRY(make_index(tx, dir, privileged)))
            return add_entry(tx, dir, name, number, type, privileged);
    }
    return add_linear(tx, dir, name, number, type, privileged);
}

void remove_entry(Transaction& tx, Directory& dir, EntryPlace& place, std::string_view name) {
    erase_entry(tx, place.buf, place.offset, place.previous);
    note_block(dir, place, name, false);
}

void replace_entry(Transaction& tx, Directory& dir, EntryPlace& place, InodeNumber number,
                   FileType type) {
    auto& d = tx.modify_as<disk::DirEntry>(place.buf, place.offset, WritePhase::directory);
    d.inode = static_cast<uint32_t>(number.value());
    d.file_type = dir.type_code(type);
}

Result<bool> is_empty(const Directory& dir) {
    for (uint64_t n = 0; n < dir.blocks(); ++n) {
        const Buf buf = TRY(dir.block(n));
        if (!buf) return Errno::uclean;
        DirBlockWalk walk(buf.bytes());
        EntryView e;
        while (walk.next(e))
            if (e.used() && e.name != "." && e.name != "..") return false;
        if (!walk.damage().empty()) return dir.damaged(n, walk.damage());
    }
    return true;
}

std::vector<std::byte> first_block(const Directory& dir, InodeNumber self, InodeNumber parent) {
    const uint32_t size = dir.volume.geometry.block_size;
    std::vector<std::byte> out(size);
    const uint8_t code = dir.type_code(FileType::dir);
    put_entry(out, 0, 12, static_cast<uint32_t>(self.value()), code, ".");
    put_entry(out, 12, size - 12, static_cast<uint32_t>(parent.value()), code, "..");
    return out;
}

Result<EntryPlace> find_dotdot(const Directory& dir) {
    const Buf buf = TRY(dir.block(0));
    if (!buf) return Errno::uclean;
    bool damaged = false;
    if (auto place = find_in_block(dir, buf, 0, "..", damaged)) return std::move(*place);
    return dir.damaged(0, "no entry \"..\"");
}

} // namespace rump::ext2
