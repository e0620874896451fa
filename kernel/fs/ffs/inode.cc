// Decoding and encoding of inodes, and their life between two commits.
#include "kernel/fs/ffs/inode.h"

#include "kernel/fs/ffs/volume.h"

#include <algorithm>

namespace rump::ffs {

namespace {

Timespec time_from(int64_t sec, uint32_t nsec) { return {sec, nsec < 1'000'000'000 ? nsec : 0}; }

/// A time that 32 bits hold.
uint32_t clamp32(int64_t sec) {
    return static_cast<uint32_t>(std::clamp<int64_t>(sec, INT32_MIN, INT32_MAX));
}

} // namespace

InodeState decode_inode(const Geometry& geo, std::span<const std::byte> raw) {
    const ByteOrder o = geo.order;
    InodeState s;
    if (geo.ufs2) {
        disk::Dinode2 d;
        std::memcpy(&d, raw.data(), sizeof d);
        s.mode = o.get(d.mode);
        s.nlink = o.get(d.nlink);
        s.uid = o.get(d.uid);
        s.gid = o.get(d.gid);
        s.size = o.get(d.size);
        s.blocks = o.get(d.blocks);
        s.atime = time_from(static_cast<int64_t>(o.get(d.atime)), o.get(d.atimensec));
        s.mtime = time_from(static_cast<int64_t>(o.get(d.mtime)), o.get(d.mtimensec));
        s.ctime = time_from(static_cast<int64_t>(o.get(d.ctime)), o.get(d.ctimensec));
        s.btime = time_from(static_cast<int64_t>(o.get(d.birthtime)), o.get(d.birthnsec));
        s.gen = o.get(d.gen);
        s.flags = o.get(d.flags);
        s.blksize = o.get(d.blksize);
        s.extsize = o.get(d.extsize);
        for (unsigned i = 0; i < disk::ext_count; ++i) s.extb[i] = o.get(d.extb[i]);
        if (s.is_dir()) s.depth = o.get(d.freelink);
        std::memcpy(s.area.data(), &d.db, 120);
        return s;
    }
    disk::Dinode1 d;
    std::memcpy(&d, raw.data(), sizeof d);
    s.mode = o.get(d.mode);
    s.nlink = o.get(d.nlink);
    s.uid = geo.old_inodes ? o.get(d.old_uid) : o.get(d.uid);
    s.gid = geo.old_inodes ? o.get(d.old_gid) : o.get(d.gid);
    s.size = o.get(d.size);
    s.blocks = o.get(d.blocks);
    s.atime = time_from(static_cast<int32_t>(o.get(d.atime)), o.get(d.atimensec));
    s.mtime = time_from(static_cast<int32_t>(o.get(d.mtime)), o.get(d.mtimensec));
    s.ctime = time_from(static_cast<int32_t>(o.get(d.ctime)), o.get(d.ctimensec));
    s.gen = o.get(d.gen);
    s.flags = o.get(d.flags);
    std::memcpy(s.area.data(), &d.db, 60);
    return s;
}

void encode_inode(const Geometry& geo, const InodeState& s, uint16_t nlink,
                  std::span<std::byte> raw) {
    const ByteOrder o = geo.order;
    if (geo.ufs2) {
        auto& d = *reinterpret_cast<disk::Dinode2*>(raw.data());
        o.set(d.mode, s.mode);
        o.set(d.nlink, nlink);
        o.set(d.uid, s.uid);
        o.set(d.gid, s.gid);
        o.set(d.size, s.size);
        o.set(d.blocks, s.blocks);
        o.set(d.atime, static_cast<uint64_t>(s.atime.sec));
        o.set(d.mtime, static_cast<uint64_t>(s.mtime.sec));
        o.set(d.ctime, static_cast<uint64_t>(s.ctime.sec));
        o.set(d.birthtime, static_cast<uint64_t>(s.btime.sec));
        o.set(d.atimensec, s.atime.nsec);
        o.set(d.mtimensec, s.mtime.nsec);
        o.set(d.ctimensec, s.ctime.nsec);
        o.set(d.birthnsec, s.btime.nsec);
        o.set(d.gen, s.gen);
        o.set(d.flags, s.flags);
        o.set(d.blksize, s.blksize);
        o.set(d.extsize, s.extsize);
        if (s.is_dir() || s.mode == 0) o.set(d.freelink, s.depth);
        for (unsigned i = 0; i < disk::ext_count; ++i) o.set(d.extb[i], s.extb[i]);
        std::memcpy(&d.db, s.area.data(), 120);
        o.set(d.ckhash, 0);
        if (s.mode != 0 && (geo.metackhash & disk::ck_inode) != 0)
            o.set(d.ckhash, check_hash(raw.first(sizeof d)));
        return;
    }
    auto& d = *reinterpret_cast<disk::Dinode1*>(raw.data());
    o.set(d.mode, s.mode);
    o.set(d.nlink, nlink);
    if (geo.old_inodes) {
        o.set(d.old_uid, static_cast<uint16_t>(s.uid));
        o.set(d.old_gid, static_cast<uint16_t>(s.gid));
    }
    o.set(d.uid, s.uid);
    o.set(d.gid, s.gid);
    o.set(d.size, s.size);
    o.set(d.blocks, static_cast<uint32_t>(s.blocks));
    o.set(d.atime, clamp32(s.atime.sec));
    o.set(d.atimensec, s.atime.nsec);
    o.set(d.mtime, clamp32(s.mtime.sec));
    o.set(d.mtimensec, s.mtime.nsec);
    o.set(d.ctime, clamp32(s.ctime.sec));
    o.set(d.ctimensec, s.ctime.nsec);
    o.set(d.gen, s.gen);
    o.set(d.flags, s.flags);
    std::memcpy(&d.db, s.area.data(), 60);
}

bool inode_hash_ok(const Geometry& geo, std::span<const std::byte> raw) {
    if (!geo.ufs2 || (geo.metackhash & disk::ck_inode) == 0) return true;
    disk::Dinode2 d;
    std::memcpy(&d, raw.data(), sizeof d);
    if (geo.order.get(d.mode) == 0) return true;
    const uint32_t stored = geo.order.get(d.ckhash);
    geo.order.set(d.ckhash, 0);
    return check_hash(std::as_bytes(std::span(&d, 1))) == stored;
}

Inode::~Inode() { volume_.forget_dirty(*this); }

uint64_t Inode::pointer(unsigned i) const {
    ASSERT(i < pointer_count);
    const Geometry& geo = volume_.geo;
    if (geo.ufs2) {
        raw64 v;
        std::memcpy(&v, state.area.data() + i * 8, 8);
        return geo.order.get(v);
    }
    raw32 v;
    std::memcpy(&v, state.area.data() + i * 4, 4);
    return geo.order.get(v);
}

void Inode::set_pointer(unsigned i, uint64_t address) {
    ASSERT(i < pointer_count);
    const Geometry& geo = volume_.geo;
    if (geo.ufs2) {
        raw64 v;
        geo.order.set(v, address);
        std::memcpy(state.area.data() + i * 8, &v, 8);
        return;
    }
    raw32 v;
    geo.order.set(v, static_cast<uint32_t>(address));
    std::memcpy(state.area.data() + i * 4, &v, 4);
}

bool Inode::is_short_symlink() const {
    const Geometry& geo = volume_.geo;
    if (!state.is_symlink()) return false;
    // Where maxsymlinklen is 0 (before 4.4BSD) a target without a block can only
    // be in the inode.
    return state.size < geo.maxsymlinklen ||
           (geo.maxsymlinklen == 0 && state.blocks == 0 && state.size > 0 && state.size < 60);
}

void Inode::begin_change(Transaction& tx) {
    tx.on_abort([this, saved = state] { state = saved; });
    volume_.mark_dirty(*this);
}

void Inode::defer_link(Transaction& tx) {
    if (volume_.logged()) return;
    deferred_open_.fetch_add(1, std::memory_order_relaxed);
    tx.on_abort([this] { deferred_open_.fetch_sub(1, std::memory_order_relaxed); });
}

void Inode::drop_link(Transaction& tx) {
    ASSERT(state.nlink > 0);
    --state.nlink;
    defer_link(tx);
}

void Inode::move_link(Transaction& tx) { defer_link(tx); }

} // namespace rump::ffs
