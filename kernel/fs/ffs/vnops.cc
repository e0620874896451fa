// Attributes, data and the end of files: the part of the operation table that
// is not about names.
#include "kernel/fs/ffs/vnops.h"

#include "kernel/fs/ffs/bmap.h"
#include "kernel/fs/ffs/vfsops.h"

#include "kernel/vfs/epoch.h"

#include <algorithm>
#include <array>

namespace rump::ffs {

namespace {

/// BSD flag, the project's.
struct FlagPair {
    uint32_t bsd;
    FileFlags ours;
};
constexpr std::array<FlagPair, 9> flag_pairs{{
    {disk::uf_nodump, file_flag::nodump},
    {disk::sf_immutable, file_flag::immutable},
    {disk::sf_append, file_flag::append},
    {disk::uf_opaque, file_flag::opaque},
    {disk::uf_immutable, file_flag::user_immutable},
    {disk::uf_append, file_flag::user_append},
    {disk::sf_archived, file_flag::archived},
    {disk::sf_nounlink, file_flag::nounlink},
    {disk::sf_snapshot, file_flag::snapshot},
}};

FileFlags flags_from_disk(uint32_t bsd) {
    FileFlags flags = 0;
    if (bsd == 0) return flags;
    for (const FlagPair& p : flag_pairs)
        if ((bsd & p.bsd) != 0) flags |= p.ours;
    return flags;
}

constexpr FileFlags known_flags() {
    FileFlags flags = 0;
    for (const FlagPair& p : flag_pairs) flags |= p.ours;
    return flags;
}

/// Flags that have no name here stay as they are, and so does the mark of a
/// snapshot.
uint32_t flags_to_disk(FileFlags flags, uint32_t old) {
    uint32_t bsd = old;
    for (const FlagPair& p : flag_pairs) {
        if (p.bsd == disk::sf_snapshot) continue;
        bsd = (flags & p.ours) != 0 ? bsd | p.bsd : bsd & ~p.bsd;
    }
    return bsd;
}

/// UFS1 holds 32 bits of seconds; a time beyond is the nearest one.
Timespec storable(const Geometry& geo, Timespec t) {
    if (geo.ufs2 || (t.sec >= INT32_MIN && t.sec <= INT32_MAX)) return t;
    return {std::clamp<int64_t>(t.sec, INT32_MIN, INT32_MAX), 0};
}

/// NetBSD's and FreeBSD's device numbers agree while both parts are below 256;
/// beyond it is NetBSD's.
DeviceNumber device_from_disk(uint64_t raw) {
    const auto d = static_cast<uint32_t>(raw);
    return {(d >> 8) & 0xfff, ((d >> 12) & 0xfff00) | (d & 0xff)};
}

} // namespace

FfsVnode::FfsVnode(FfsMount& mount, uint64_t number, const InodeState& state)
    : Vnode(mount, InodeNumber(number), state.gen, mode_to_type(state.mode)),
      gone_(state.nlink == 0), inode_(mount.volume(), number) {
    inode_.state = state;
}

void FfsVnode::publish_links() { gone_.store(inode_.state.nlink == 0, std::memory_order_release); }

bool FfsVnode::make_space() {
    if (!volume().has_pending()) return false;
    return mount().epoch().commit(true).ok();
}

Result<Attr> FfsVnode::getattr() {
    ASSERT(lock.held());
    const InodeState& s = inode_.state;
    Attr a;
    a.number = number();
    a.generation = generation();
    a.type = type();
    a.mode = s.mode & mode_permissions;
    a.nlink = s.nlink;
    a.uid = s.uid;
    a.gid = s.gid;
    if (s.is_device()) a.rdev = device_from_disk(inode_.pointer(0));
    a.size = s.is_device() ? 0 : s.size;
    a.blocks = s.blocks;
    a.block_size = volume().geo.bsize;
    a.atime = s.atime;
    a.mtime = s.mtime;
    a.ctime = s.ctime;
    if (volume().geo.ufs2) a.btime = s.btime;
    a.flags = flags_from_disk(s.flags);
    return a;
}

Result<void> FfsVnode::setattr(const AttrChange& change) {
    ASSERT(lock.held_exclusive());
    if (change.size && is_reg()) TRY(volume().shrink_in_steps(inode_, *change.size));
    return with_space([&]() -> Result<void> {
        // What has no bit on the disk cannot be kept.
        if (change.flags && (*change.flags & ~known_flags()) != 0) return Errno::opnotsupp;
        Transaction tx = TRY(mount().begin());
        const bool resized = change.size && *change.size != inode_.state.size;
        inode_.begin_change(tx);
        if (resized) {
            if (!is_reg()) return Errno::inval;
            TRY(set_size(tx, inode_, *change.size, true));
        }
        const Geometry& geo = volume().geo;
        InodeState& s = inode_.state;
        const Timespec now = volume().now();
        const uint32_t most = geo.old_inodes ? UINT16_MAX : UINT32_MAX;
        if (change.mode)
            s.mode = static_cast<uint16_t>((s.mode & ~mode_permissions) |
                                           (*change.mode & mode_permissions));
        if (change.uid) s.uid = std::min(*change.uid, most);
        if (change.gid) s.gid = std::min(*change.gid, most);
        if (change.atime) s.atime = storable(geo, *change.atime);
        if (change.mtime)
            s.mtime = storable(geo, *change.mtime);
        else if (change.size)
            s.mtime = now;
        if (change.btime) s.btime = *change.btime;
        if (change.flags) s.flags = flags_to_disk(*change.flags, s.flags);
        s.ctime = storable(geo, change.ctime.value_or(now));
        tx.done();
        return {};
    });
}

Result<std::string> FfsVnode::readlink() {
    ASSERT(lock.held());
    const InodeState& s = inode_.state;
    if (inode_.is_short_symlink())
        return std::string(reinterpret_cast<const char*>(s.area.data()), s.size);
    std::string target(s.size, '\0');
    const size_t n = TRY(read(0, std::as_writable_bytes(std::span(target))));
    if (n != target.size()) return volume().mount.corrupt(Volume::place(inode_, 0) + ": symlink");
    return target;
}

Result<void> FfsVnode::fsync(bool data_only) {
    (void)data_only;
    return mount().epoch().commit();
}

// --- data
// -------------------------------------------------------------------------------------------

Result<void> FfsVnode::map(uint64_t offset, uint64_t length, ExtentList& out) {
    ASSERT(lock.held());
    return map_file(inode_, offset, length, [&](const Piece& piece) {
        Extent e;
        e.file_offset = piece.file_offset;
        e.length = piece.length;
        e.kind = piece.device_offset ? Extent::Kind::data : Extent::Kind::hole;
        e.device_offset = piece.device_offset.value_or(0);
        out.push_back(e);
    });
}

Result<size_t> FfsVnode::write(uint64_t offset, std::span<const std::byte> data, bool privileged) {
    size_t done = 0;
    auto result = with_space([&]() -> Result<void> {
        auto wrote = Vnode::write(offset + done, data.subspan(done), privileged);
        if (!wrote) return wrote.error();
        done += *wrote;
        return done == data.size() ? Result<void>() : Result<void>(Errno::nospc);
    });
    if (!result && (done == 0 || result.error() != Errno::nospc)) return result.error();
    return done;
}

Result<void> FfsVnode::prepare_write(Transaction& tx, uint64_t offset, uint64_t length,
                                     bool privileged, ExtentList& out) {
    ASSERT(lock.held_exclusive());
    return allocate_file(tx, inode_, offset, length, privileged, [&](const Piece& piece) {
        Extent e;
        e.file_offset = piece.file_offset;
        e.length = piece.length;
        e.kind = Extent::Kind::data;
        e.device_offset = *piece.device_offset;
        out.push_back(e);
    });
}

Result<void> FfsVnode::finish_write(Transaction& tx, uint64_t end) {
    ASSERT(lock.held_exclusive());
    inode_.begin_change(tx);
    InodeState& s = inode_.state;
    s.size = std::max(s.size, end);
    s.mtime = s.ctime = volume().now();
    return {};
}

Result<void> FfsVnode::allocate(uint64_t offset, uint64_t length, bool keep_size, bool zero,
                                bool privileged) {
    ASSERT(lock.held_exclusive());
    const Geometry& geo = volume().geo;
    if (length > geo.max_file_size || offset > geo.max_file_size - length) return Errno::fbig;
    const uint64_t end = offset + length, size = inode_.state.size;
    // A file has no blocks behind its end: there would be no telling how many.
    if (keep_size && end > size) return Errno::opnotsupp;
    if (end > size &&
        (end - std::max(size, offset)) >> geo.fshift > TRY(mount().statvfs()).blocks_free)
        return Errno::nospc;
    // Holes are filled with zeros as they are allocated, a part at a time.
    constexpr uint64_t part = 1u << 20;
    ExtentList filled;
    for (uint64_t at = offset; at < end;) {
        const uint64_t n = std::min(part - at % part, end - at);
        auto done = with_space([&] { return allocate_part(at, n, zero, privileged, filled); });
        if (!done) {
            TRY(give_back(filled, size));
            return done;
        }
        at += n;
    }
    return {};
}

/// One transaction of allocate(). Holes before the end that it fills are added to
/// `filled`.
Result<void> FfsVnode::allocate_part(uint64_t offset, uint64_t length, bool zero, bool privileged,
                                     ExtentList& filled) {
    Transaction tx = TRY(mount().begin());
    ExtentList before, extents;
    TRY(map(offset, length, before));
    TRY(prepare_write(tx, offset, length, privileged, extents));
    uint64_t reached = offset;
    for (const Extent& e : extents) reached = std::max(reached, e.file_offset + e.length);
    if (reached < offset + length) return Errno::nospc;
    TRY(zero_new(before, extents, zero));
    TRY(finish_write(tx, offset + length));
    tx.done();
    for (const Extent& e : before)
        if (e.kind == Extent::Kind::hole) filled.push_back(e);
    return {};
}

/// The file as it was before an allocation that failed.
Result<void> FfsVnode::give_back(const ExtentList& filled, uint64_t size) {
    if (size < inode_.state.size) {
        TRY(volume().shrink_in_steps(inode_, size));
        Transaction tx = TRY(mount().begin());
        TRY(set_size(tx, inode_, size, true));
        tx.done();
    }
    for (const Extent& e : filled) TRY(punch_in_steps(e.file_offset, e.length));
    return {};
}

/// Steps end between blocks, so that no block is zeroed in place of freed.
Result<void> FfsVnode::punch_in_steps(uint64_t offset, uint64_t length) {
    const uint64_t size = inode_.state.size;
    if (offset >= size) return {};
    const uint64_t end = length < size - offset ? offset + length : size;
    const uint64_t step = volume().free_step_bytes();
    while (offset < end) {
        if (end - offset > step) {
            const Geometry& geo = volume().geo;
            const uint64_t next =
                TRY(next_block(inode_, geo.block_of(offset), geo.block_of(end - 1)));
            offset = std::max(offset, next << geo.bshift);
        }
        const uint64_t n = std::min(end - offset, step - offset % step);
        Transaction tx = TRY(mount().begin());
        TRY(punch(tx, inode_, offset, n));
        tx.done();
        offset += n;
    }
    return {};
}

/// Zeroes what was a hole, or lay behind the end, before it was allocated;
/// `all`: everything.
Result<void> FfsVnode::zero_new(const ExtentList& before, const ExtentList& now, bool all) {
    const std::vector<std::byte> zeros(1u << 20);
    for (const Extent& e : now) {
        for (uint64_t at = e.file_offset; at < e.file_offset + e.length;) {
            const Extent* old = nullptr;
            for (const Extent& b : before)
                if (at >= b.file_offset && at < b.file_offset + b.length) old = &b;
            const uint64_t end = e.file_offset + e.length;
            const uint64_t stop =
                old != nullptr ? std::min(end, old->file_offset + old->length) : end;
            const bool had_data = old != nullptr && old->kind == Extent::Kind::data;
            if (all || !had_data)
                TRY(mount().device().write(e.device_offset + (at - e.file_offset),
                                           std::span(zeros).first(stop - at)));
            at = stop;
        }
    }
    mount().epoch().note_data_written();
    return {};
}

Result<void> FfsVnode::deallocate(uint64_t offset, uint64_t length) {
    ASSERT(lock.held_exclusive());
    TRY(punch_in_steps(offset, length));
    Transaction tx = TRY(mount().begin());
    inode_.begin_change(tx);
    inode_.state.mtime = inode_.state.ctime = volume().now();
    tx.done();
    return {};
}

Result<void> FfsVnode::inactive() {
    ASSERT(lock.held_exclusive());
    if (mount().read_only()) return {};
    return volume().reap(inode_);
}

} // namespace rump::ffs
