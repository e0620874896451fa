// The index of big directories. The first lookup builds it; several lookups run
// at a time, so building has a lock of its own and the index is used only when
// it is complete.
#include "kernel/fs/ffs/dirindex.h"

#include <algorithm>

namespace rump::ffs {

namespace {
/// Smaller directories are read faster than an index.
constexpr uint64_t index_from_bytes = 4096;
} // namespace

uint32_t chunk_room(const Geometry& geo, std::span<const std::byte> chunk) {
    ChunkWalk walk(geo, chunk);
    DirRecord r;
    uint32_t room = 0;
    for (;;) {
        auto more = walk.next(r);
        if (!more) return 0;
        if (!*more) return room;
        room = std::max(room, r.slack());
    }
}

void drop_directory_hash(Inode& dir) {
    dir.dirhash.drop();
    dir.index_built.store(false, std::memory_order_relaxed);
}

Result<DirHashPool::Use> directory_hash(Inode& dir, bool exclusive) {
    if (dir.state.size < index_from_bytes) {
        // What changes from now on, the index of a directory that was bigger would not know.
        if (exclusive) drop_directory_hash(dir);
        return DirHashPool::Use();
    }
    const bool built = dir.index_built.load(std::memory_order_acquire);
    if (built) {
        DirHashPool::Use use = dir.dirhash.get();
        if (use || !exclusive) return use;
    }
    host::MutexGuard guard(dir.index_mutex);
    if (!exclusive && dir.index_built.load(std::memory_order_acquire)) return dir.dirhash.get();
    dir.index_built.store(false, std::memory_order_relaxed);
    const Geometry& geo = dir.volume().geo;
    DirHashPool::Use hash = dir.volume().mount.dirhashes().make(dir.dirhash);
    if (!hash) return hash;
    bool whiteouts = false;
    auto filled =
        each_chunk(dir, 0, [&](uint64_t offset, const Buf& buf, uint32_t at) -> Result<bool> {
            const auto chunk = buf.bytes().subspan(at, geo.dirblk);
            ChunkWalk walk(geo, chunk);
            DirRecord r;
            for (;;) {
                auto more = walk.next(r);
                if (!more) return bad_chunk(dir, offset + walk.at(), walk.reason());
                if (!*more) break;
                if (r.ino == disk::whiteout_inode) whiteouts = true;
                if (r.ino != 0)
                    hash->add(DirHash::hash(r.name), static_cast<uint32_t>(offset + r.at));
            }
            hash->set_room(static_cast<uint32_t>(offset / geo.dirblk), chunk_room(geo, chunk));
            return true;
        });
    if (!filled) {
        hash = DirHashPool::Use();
        drop_directory_hash(dir);
        return filled.error();
    }
    if (!whiteouts) dir.without_whiteouts.store(true, std::memory_order_relaxed);
    dir.index_built.store(true, std::memory_order_release);
    return hash;
}

} // namespace rump::ffs
