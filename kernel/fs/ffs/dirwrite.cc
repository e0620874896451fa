// Changing directories: new names in free room, growth by a chunk, removal, and
// giving back what is empty at the end.
#include "kernel/fs/ffs/dirindex.h"

#include "kernel/vfs/epoch.h"

#include <fmt/format.h>

#include <algorithm>

namespace rump::ffs {

namespace {

/// Where a new record goes.
struct Room {
    uint64_t chunk = 0;         // offset of the chunk
    std::optional<uint32_t> at; // the record to be split; none: compact the chunk
};

/// Looks for `needed` bytes in one chunk. A whiteout of the name itself is
/// reused by the caller.
std::optional<Room> room_in(const Geometry& geo, std::span<const std::byte> chunk, uint64_t offset,
                            uint32_t needed, bool may_compact) {
    ChunkWalk walk(geo, chunk);
    DirRecord r;
    uint32_t total = 0;
    for (;;) {
        auto more = walk.next(r);
        if (!more || !*more) break;
        if (r.slack() >= needed) return Room{offset, r.at};
        total += r.slack();
    }
    if (walk.at() == chunk.size() && may_compact && total >= needed) return Room{offset, {}};
    return std::nullopt;
}

/// Moves the live records of a chunk together; the last one takes all free
/// bytes.
void compact(Inode& dir, std::span<std::byte> chunk, uint64_t offset, DirHash* hash) {
    const Geometry& geo = dir.volume().geo;
    std::vector<std::byte> old(chunk.begin(), chunk.end());
    ChunkWalk walk(geo, old);
    DirRecord r;
    uint32_t to = 0, last = 0;
    for (;;) {
        auto more = walk.next(r);
        if (!more || !*more) break;
        if (r.ino == 0) continue;
        const uint32_t size = disk::dirent_size(r.name.size());
        put_record(geo, chunk, to, size, r.ino, r.type, r.name);
        if (hash != nullptr && to != r.at)
            hash->move(DirHash::hash(r.name), static_cast<uint32_t>(offset + r.at),
                       static_cast<uint32_t>(offset + to));
        last = to;
        to += size;
    }
    put_reclen(geo, chunk, last, static_cast<uint32_t>(chunk.size()) - last);
}

void note_room(Inode& dir, DirHash* hash, uint64_t offset, std::span<const std::byte> chunk) {
    const Geometry& geo = dir.volume().geo;
    if (hash != nullptr)
        hash->set_room(static_cast<uint32_t>(offset / geo.dirblk), chunk_room(geo, chunk));
}

/// The scan without an index goes on where the last one ended, and around the end once.
Result<std::optional<Room>> scan_for_room(Inode& dir, uint32_t needed, bool may_compact) {
    const Geometry& geo = dir.volume().geo;
    std::optional<Room> found;
    const uint64_t start = dir.room_from < dir.state.size ? dir.room_from : 0;
    const auto scan = [&](uint64_t from, uint64_t to) {
        return each_chunk(
            dir, from, [&](uint64_t offset, const Buf& buf, uint32_t at) -> Result<bool> {
                if (offset >= to) return false;
                found =
                    room_in(geo, buf.bytes().subspan(at, geo.dirblk), offset, needed, may_compact);
                return !found;
            });
    };
    TRY(scan(start, dir.state.size));
    if (!found && start != 0) TRY(scan(0, start));
    return found;
}

Result<std::optional<Room>> find_room(Inode& dir, DirHash* hash, uint32_t needed) {
    const Geometry& geo = dir.volume().geo;
    std::optional<Room> found;
    const bool may_compact = !dir.cookies_inside;
    if (hash != nullptr) {
        const auto block = hash->find_room(needed);
        if (!block) return found;
        const uint64_t offset = uint64_t{*block} * geo.dirblk;
        if (offset >= dir.state.size) return found;
        const Buf buf = TRY(entry_block(dir, offset));
        return room_in(geo, buf.bytes().subspan(geo.in_dir_unit(offset), geo.dirblk), offset,
                       needed, may_compact);
    }
    return scan_for_room(dir, needed, may_compact);
}

/// A new chunk at the end. Its bytes reach the device before the inode that
/// counts it; where the directory had a chunk before, that one's are there, and stay until the
/// commit, as the names in it may not be gone on disk.
Result<void> append_chunk(Transaction& tx, Inode& dir, std::span<const std::byte> chunk,
                          bool privileged) {
    Volume& volume = dir.volume();
    const Geometry& geo = volume.geo;
    const uint64_t offset = dir.state.size;
    if (offset + geo.dirblk > UINT32_MAX) return Errno::fbig;
    uint64_t device = 0;
    const uint64_t blocks = dir.state.blocks;
    TRY(allocate_file(tx, dir, offset, geo.dirblk, privileged,
                      [&](const Piece& piece) { device = *piece.device_offset; }));
    if (dir.state.blocks != blocks) dir.cut_begin = dir.cut_end = 0;
    dir.state.size = offset + geo.dirblk;
    const bool had_chunk = device >= dir.cut_begin && device < dir.cut_end;
    if (!had_chunk) {
        // With a log, too: the block may be read back before it is written.
        if (auto written = volume.mount.device().write(device, chunk); !written)
            return volume.mount.io_error("a directory's new block", written.error());
        volume.mount.epoch().note_data_written();
    }
    Buf buf = TRY(entry_block(dir, offset));
    auto bytes = tx.modify(buf, geo.in_dir_unit(offset), geo.dirblk, WritePhase::directory);
    std::copy(chunk.begin(), chunk.end(), bytes.begin());
    return {};
}

Result<Room> grow(Transaction& tx, Inode& dir, bool privileged) {
    const Geometry& geo = dir.volume().geo;
    const uint64_t offset = dir.state.size;
    std::vector<std::byte> empty(geo.dirblk);
    put_record(geo, empty, 0, geo.dirblk, 0, FileType::unknown, {});
    TRY(append_chunk(tx, dir, empty, privileged));
    return Room{offset, 0};
}

/// The index follows changes that an abort takes back; it is simply built anew
/// then.
void drop_index_on_abort(Transaction& tx, Inode& dir) {
    tx.on_abort([&dir] { drop_directory_hash(dir); });
}

/// Notes what was taken off the last block when the size was `old`.
Result<void> note_cut(Inode& dir, uint64_t old) {
    const Geometry& geo = dir.volume().geo;
    const uint64_t size = dir.state.size, last = geo.block_of(size - 1);
    MapCursor cursor(dir);
    const uint64_t block = geo.bytes(FragNumber(TRY(cursor.at(last)).address));
    const uint64_t begin = block + (size - (last << geo.bshift));
    const uint64_t end =
        block + std::min<uint64_t>(old - (last << geo.bshift), geo.block_size(size, last));
    // What was taken off before may come behind it, there again or not.
    const bool more = dir.cut_begin <= end && dir.cut_end > end && dir.cut_begin >= block;
    dir.cut_end = more ? dir.cut_end : end;
    dir.cut_begin = begin;
    return {};
}

/// Takes empty chunks off the end, as many as a log has room for.
Result<void> shrink(Transaction& tx, Inode& dir, DirHash* hash) {
    const Geometry& geo = dir.volume().geo;
    uint64_t size = dir.state.size;
    const uint64_t step = dir.volume().free_step_bytes();
    const uint64_t least = size > step ? size - step : geo.dirblk;
    while (size > least) {
        const uint64_t offset = size - geo.dirblk;
        const Buf buf = TRY(entry_block(dir, offset));
        const auto chunk = buf.bytes().subspan(geo.in_dir_unit(offset), geo.dirblk);
        ChunkWalk walk(geo, chunk);
        DirRecord r;
        auto first = walk.next(r);
        if (!first || !*first || r.ino != 0 || r.reclen != geo.dirblk) break;
        size = offset;
    }
    if (size == dir.state.size) return {};
    if (hash != nullptr) hash->truncate(static_cast<uint32_t>(size / geo.dirblk));
    const uint64_t old = dir.state.size;
    TRY(set_size(tx, dir, size, true));
    return note_cut(dir, old);
}

} // namespace

Result<void> enter_name(Transaction& tx, Inode& dir, std::string_view name, uint64_t ino,
                        FileType type, bool privileged, Buf* after) {
    const Geometry& geo = dir.volume().geo;
    dir.begin_change(tx);
    if (!dir.without_whiteouts.load(std::memory_order_relaxed)) {
        if (const auto whiteout = TRY(find_entry(dir, name))) {
            if (whiteout->ino != disk::whiteout_inode) // there is also a whiteout of it
                return bad_chunk(dir, whiteout->offset, "the name is there twice");
            return retarget_name(tx, dir, name, ino, type, after);
        }
    }
    const uint32_t needed = disk::dirent_size(name.size());
    const auto use = TRY(directory_hash(dir, true));
    DirHash* hash = pointer(use);
    if (hash != nullptr) drop_index_on_abort(tx, dir);
    auto room = TRY(find_room(dir, hash, needed));
    if (!room) room = TRY(grow(tx, dir, privileged));
    dir.room_from = room->chunk;
    Buf buf = TRY(entry_block(dir, room->chunk));
    if (after != nullptr) TRY(tx.order(buf, *after));
    auto chunk = tx.modify(buf, geo.in_dir_unit(room->chunk), geo.dirblk, WritePhase::directory);
    if (!room->at) {
        compact(dir, chunk, room->chunk, hash);
        room = room_in(geo, chunk, room->chunk, needed, false);
        ASSERT(room && room->at);
    }
    ChunkWalk walk(geo, chunk.subspan(*room->at));
    DirRecord r;
    if (!walk.next(r).value_or(false)) return bad_chunk(dir, room->chunk, walk.reason());
    uint32_t at = *room->at;
    uint32_t reclen = r.reclen;
    if (r.ino != 0) {
        const uint32_t used = disk::dirent_size(r.name.size());
        put_reclen(geo, chunk, at, used);
        at += used;
        reclen -= used;
    }
    put_record(geo, chunk, at, reclen, ino, type, name);
    if (hash != nullptr) hash->add(DirHash::hash(name), static_cast<uint32_t>(room->chunk + at));
    note_room(dir, hash, room->chunk, chunk);
    return {};
}

Result<void> make_dots(Transaction& tx, Inode& dir, uint64_t parent, bool privileged) {
    std::vector<std::byte> chunk(dir.volume().geo.dirblk);
    put_dots(dir.volume().geo, chunk, dir.number(), parent);
    return append_chunk(tx, dir, chunk, privileged);
}

Result<void> remove_name(Transaction& tx, Inode& dir, std::string_view name) {
    const Geometry& geo = dir.volume().geo;
    const auto found = TRY(find_entry(dir, name));
    if (!found) return bad_chunk(dir, 0, "an entry has vanished");
    dir.begin_change(tx);
    const auto use = TRY(directory_hash(dir, true));
    DirHash* hash = pointer(use);
    if (hash != nullptr) drop_index_on_abort(tx, dir);
    const uint64_t offset = found->offset & ~uint64_t{geo.dirblk - 1};
    const auto target = static_cast<uint32_t>(found->offset - offset);
    Buf buf = TRY(entry_block(dir, offset));
    auto chunk = tx.modify(buf, geo.in_dir_unit(offset), geo.dirblk, WritePhase::directory);
    ChunkWalk walk(geo, chunk);
    DirRecord r, previous;
    do {
        previous = r;
        auto more = walk.next(r);
        if (!more) return bad_chunk(dir, offset + walk.at(), walk.reason());
        if (!*more) return bad_chunk(dir, offset, "an entry has vanished");
    } while (r.at != target);
    if (target == 0)
        put_record(geo, chunk, 0, r.reclen, 0, FileType::unknown, {});
    else
        put_reclen(geo, chunk, previous.at, previous.reclen + r.reclen);
    if (hash != nullptr) hash->remove(DirHash::hash(name), static_cast<uint32_t>(found->offset));
    note_room(dir, hash, offset, chunk);
    dir.room_from = std::min(dir.room_from, offset);
    if (offset + geo.dirblk == dir.state.size) return shrink(tx, dir, hash);
    return {};
}

Result<void> retarget_name(Transaction& tx, Inode& dir, std::string_view name, uint64_t ino,
                           FileType type, Buf* after) {
    const Geometry& geo = dir.volume().geo;
    const auto found = TRY(find_entry(dir, name));
    if (!found) return bad_chunk(dir, 0, "an entry has vanished");
    dir.begin_change(tx);
    Buf buf = TRY(entry_block(dir, found->offset));
    if (after != nullptr) TRY(tx.order(buf, *after));
    auto& d =
        tx.modify_as<disk::Dirent>(buf, geo.in_dir_unit(found->offset), WritePhase::directory);
    geo.order.set(d.ino, static_cast<uint32_t>(ino));
    if (!geo.old_dirs) d.type = static_cast<uint8_t>(type);
    return {};
}

} // namespace rump::ffs
