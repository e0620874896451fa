// Reading directories and finding names in them.
#include "kernel/fs/ffs/dir.h"

#include "kernel/fs/ffs/dirindex.h"

#include <fmt/format.h>

#include <algorithm>

namespace rump::ffs {

Result<bool> ChunkWalk::next(DirRecord& out) {
    const auto bad = [&](std::string_view why) {
        reason_ = why;
        return Errno::uclean;
    };
    if (at_ == chunk_.size()) return false;
    if (chunk_.size() - at_ < sizeof(disk::Dirent)) return bad("record crosses the chunk's end");
    const ByteOrder o = geo_.order;
    const auto& d = *reinterpret_cast<const disk::Dirent*>(chunk_.data() + at_);
    out.at = at_;
    out.reclen = o.get(d.reclen);
    out.ino = o.get(d.ino);
    uint32_t namlen = d.namlen;
    out.type = static_cast<FileType>(d.type);
    if (geo_.old_dirs) {
        const auto& old = *reinterpret_cast<const disk::OldDirent*>(chunk_.data() + at_);
        namlen = o.get(old.namlen);
        out.type = FileType::unknown;
    }
    if (out.reclen == 0) return bad("record length 0");
    if (out.reclen % 4 != 0) return bad("record length is no multiple of 4");
    if (out.reclen > chunk_.size() - at_) return bad("record crosses the chunk's end");
    if (out.ino == 0) {
        // The name of a free record means nothing.
        if (out.reclen < sizeof(disk::Dirent)) return bad("record length");
        out.name = {};
        at_ += out.reclen;
        return true;
    }
    if (namlen == 0 || namlen > name_max) return bad("name length");
    if (out.reclen < disk::dirent_size(namlen)) return bad("name longer than its record");
    out.name = {reinterpret_cast<const char*>(chunk_.data()) + at_ + sizeof(disk::Dirent), namlen};
    at_ += out.reclen;
    return true;
}

bool is_bad_name(std::string_view name) {
    return std::any_of(name.begin(), name.end(), [](char c) { return c == '/' || c == '\0'; });
}

void put_record(const Geometry& geo, std::span<std::byte> chunk, uint32_t at, uint32_t reclen,
                uint64_t ino, FileType type, std::string_view name) {
    ASSERT(at + reclen <= chunk.size() && disk::dirent_size(name.size()) <= reclen);
    auto& d = *reinterpret_cast<disk::Dirent*>(chunk.data() + at);
    geo.order.set(d.ino, static_cast<uint32_t>(ino));
    geo.order.set(d.reclen, static_cast<uint16_t>(reclen));
    if (geo.old_dirs) {
        auto& old = *reinterpret_cast<disk::OldDirent*>(chunk.data() + at);
        geo.order.set(old.namlen, static_cast<uint16_t>(name.size()));
    } else {
        d.type = static_cast<uint8_t>(type);
        d.namlen = static_cast<uint8_t>(name.size());
    }
    const uint32_t used = disk::dirent_size(name.size());
    auto rest = chunk.subspan(at + sizeof d, used - sizeof d);
    std::fill(rest.begin(), rest.end(), std::byte{0});
    if (!name.empty()) std::memcpy(rest.data(), name.data(), name.size());
}

void put_reclen(const Geometry& geo, std::span<std::byte> chunk, uint32_t at, uint32_t reclen) {
    auto& d = *reinterpret_cast<disk::Dirent*>(chunk.data() + at);
    geo.order.set(d.reclen, static_cast<uint16_t>(reclen));
}

void put_dots(const Geometry& geo, std::span<std::byte> chunk, uint64_t self, uint64_t parent) {
    std::fill(chunk.begin(), chunk.end(), std::byte{0});
    const uint32_t dot = disk::dirent_size(1);
    put_record(geo, chunk, 0, dot, self, FileType::dir, ".");
    put_record(geo, chunk, dot, geo.dirblk - dot, parent, FileType::dir, "..");
}

Errno bad_chunk(Inode& dir, uint64_t offset, std::string_view why) {
    return dir.volume().mount.corrupt(
        fmt::format("directory inode {}, offset {}: {}", dir.number(), offset, why));
}

Result<void> each_chunk(Inode& dir, uint64_t from, ChunkVisit visit) {
    const Geometry& geo = dir.volume().geo;
    MapCursor cursor(dir);
    Buf buf;
    uint64_t have = UINT64_MAX;
    for (uint64_t offset = from & ~uint64_t{geo.dirblk - 1}; offset < dir.state.size;
         offset += geo.dirblk) {
        if (const uint64_t unit = offset / geo.dir_unit(); unit != have) {
            buf = TRY(read_dir_unit(dir, cursor, offset));
            have = unit;
        }
        if (!TRY(visit(offset, buf, geo.in_dir_unit(offset)))) return {};
    }
    return {};
}

namespace {

/// Does the record at `offset` carry `name`?
Result<std::optional<FoundEntry>> entry_at(Inode& dir, uint64_t offset, std::string_view name) {
    const Geometry& geo = dir.volume().geo;
    MapCursor cursor(dir);
    if (offset >= dir.state.size) return std::optional<FoundEntry>{};
    const Buf buf = TRY(read_dir_unit(dir, cursor, offset));
    const uint32_t start = geo.in_dir_unit(offset) & ~(geo.dirblk - 1);
    const uint32_t within = geo.in_dir_unit(offset) - start;
    const auto chunk = buf.bytes().subspan(start + within, geo.dirblk - within);
    ChunkWalk walk(geo, chunk);
    DirRecord r;
    auto more = walk.next(r);
    if (!more) return bad_chunk(dir, offset, walk.reason());
    if (!*more || r.ino == 0 || r.name != name) return std::optional<FoundEntry>{};
    return std::optional(FoundEntry{r.ino, r.type, offset});
}

} // namespace

namespace {

/// What ChunkWalk does, for one name and in few steps: most time of a lookup in a directory without
/// index goes here.
struct ChunkSearch {
    const Geometry& geo;
    const std::string_view name;
    bool whiteouts = false; // were passed
    bool refused = false;   // the chunk cannot be read to its end

    /// The place of the record with the name.
    std::optional<uint32_t> in(std::span<const std::byte> chunk) {
        const ByteOrder o = geo.order;
        const char last = name.back();
        for (uint32_t at = 0; at < chunk.size();) {
            const auto left = static_cast<uint32_t>(chunk.size()) - at;
            const auto& d = *reinterpret_cast<const disk::Dirent*>(chunk.data() + at);
            if (left < sizeof d) break;
            const uint32_t reclen = o.get(d.reclen), ino = o.get(d.ino);
            const uint32_t namlen =
                geo.old_dirs ? o.get(reinterpret_cast<const disk::OldDirent&>(d).namlen) : d.namlen;
            if (reclen < sizeof d || reclen % 4 != 0 || reclen > left) break;
            if (ino != 0) {
                if (namlen == 0 || namlen > name_max || reclen < disk::dirent_size(namlen)) break;
                if (ino == disk::whiteout_inode) whiteouts = true;
                const char* text = reinterpret_cast<const char*>(&d + 1);
                if (namlen == name.size() && text[namlen - 1] == last &&
                    std::memcmp(text, name.data(), namlen) == 0)
                    return at;
            }
            at += reclen;
            if (at == chunk.size()) return std::nullopt;
        }
        refused = true;
        return std::nullopt;
    }
};

/// Where and why a chunk cannot be read.
Errno refused_chunk(Inode& dir, uint64_t offset, std::span<const std::byte> chunk) {
    ChunkWalk walk(dir.volume().geo, chunk);
    DirRecord r;
    for (;;)
        if (auto more = walk.next(r); !more || !*more)
            return bad_chunk(dir, offset + walk.at(), walk.reason());
}

} // namespace

Result<std::optional<FoundEntry>> find_entry(Inode& dir, std::string_view name) {
    const Geometry& geo = dir.volume().geo;
    if (const auto hash = TRY(directory_hash(dir, false))) {
        std::optional<FoundEntry> found;
        Result<void> failed;
        hash->find(DirHash::hash(name), [&](uint32_t offset) {
            auto there = entry_at(dir, offset, name);
            if (!there) {
                failed = there.error();
                return true;
            }
            found = *there;
            return found.has_value();
        });
        TRY(std::move(failed));
        return found;
    }
    std::optional<FoundEntry> found;
    ChunkSearch search{geo, name};
    TRY(each_chunk(dir, 0, [&](uint64_t offset, const Buf& buf, uint32_t at) -> Result<bool> {
        const auto chunk = buf.bytes().subspan(at, geo.dirblk);
        if (const auto place = search.in(chunk)) {
            const auto& d = *reinterpret_cast<const disk::Dirent*>(chunk.data() + *place);
            const auto type = geo.old_dirs ? FileType::unknown : static_cast<FileType>(d.type);
            found = FoundEntry{geo.order.get(d.ino), type, offset + *place};
        }
        if (search.refused) return refused_chunk(dir, offset, chunk);
        return !found;
    }));
    if (!found && !search.whiteouts) dir.without_whiteouts.store(true, std::memory_order_relaxed);
    return found;
}

Result<void> each_entry(Inode& dir, uint64_t cookie, EntrySink sink) {
    const Geometry& geo = dir.volume().geo;
    return each_chunk(
        dir, cookie, [&](uint64_t offset, const Buf& buf, uint32_t at) -> Result<bool> {
            ChunkWalk walk(geo, buf.bytes().subspan(at, geo.dirblk));
            DirRecord r;
            for (;;) {
                auto more = walk.next(r);
                if (!more) return bad_chunk(dir, offset + walk.at(), walk.reason());
                if (!*more) return true;
                if (offset + r.at < cookie || r.ino == 0 || r.ino == disk::whiteout_inode) continue;
                if (is_bad_name(r.name)) return bad_chunk(dir, offset + r.at, bad_name_reason);
                if (!sink(r, offset + r.at + r.reclen)) return false;
            }
        });
}

Result<uint64_t> parent_of(Inode& dir) {
    const auto found = TRY(find_entry(dir, ".."));
    if (!found) return bad_chunk(dir, 0, "no entry \"..\"");
    if (!dir.volume().geo.is_inode(found->ino)) return bad_chunk(dir, found->offset, "\"..\"");
    return found->ino;
}

Result<bool> is_empty(Inode& dir) {
    bool empty = true;
    TRY(each_entry(dir, 0, [&](const DirRecord& r, uint64_t) {
        if (r.name != "." && r.name != "..") empty = false;
        return empty;
    }));
    return empty;
}

Result<Buf> entry_block(Inode& dir, uint64_t offset) {
    MapCursor cursor(dir);
    return read_dir_unit(dir, cursor, offset);
}

} // namespace rump::ffs
