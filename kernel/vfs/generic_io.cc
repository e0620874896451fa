// Reading, writing and seeking by extents: the defaults of Vnode::read, write and seek.
#include "kernel/vfs/generic_io.h"

#include "kernel/sys/mount.h"
#include "kernel/vfs/epoch.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace rump {

namespace {

constexpr std::array<std::byte, 16384> zeros{};

/// A request's pieces: zeros, the caller's bytes, zeros.
class Pieces {
public:
    void add_zeros(uint64_t length) {
        for (; length > 0; length -= std::min<uint64_t>(length, zeros.size()))
            list_.emplace_back(zeros.data(), std::min<uint64_t>(length, zeros.size()));
    }
    void add(std::span<const std::byte> bytes) {
        if (!bytes.empty()) list_.push_back(bytes);
    }
    Result<void> write(host::BlockDevice& device, uint64_t offset) const {
        if (list_.size() == 1) return device.write(offset, list_[0]);
        return device.writev(offset, list_);
    }

private:
    std::vector<host::WritePiece> list_;
};

Result<void> write_zero_bytes(Mount& mount, uint64_t offset, uint64_t length) {
    mount.epoch().note_data_written();
    // A few zeros are cheaper to write than a hole is to punch in the host's file.
    if (length > zeros.size() * 4) return mount.device().write_zeros(offset, length);
    Pieces pieces;
    pieces.add_zeros(length);
    return pieces.write(mount.device(), offset);
}

/// One request for the part of `extent` that `data` (at `offset` of the file) covers; all of the
/// extent when it is fresh. Returns the end of what is written, within the file.
Result<uint64_t> write_extent(host::BlockDevice& device, const Extent& extent, uint64_t offset,
                              std::span<const std::byte> data) {
    ASSERT(extent.kind == Extent::Kind::data);
    uint64_t extent_end = extent.file_offset + extent.length;
    uint64_t begin = std::max(offset, extent.file_offset);
    uint64_t end = std::min(offset + data.size(), extent_end);
    ASSERT(begin < end);
    Pieces pieces;
    uint64_t at = extent.device_offset;
    if (extent.fresh)
        pieces.add_zeros(begin - extent.file_offset);
    else
        at += begin - extent.file_offset;
    pieces.add(data.subspan(begin - offset, end - begin));
    if (extent.fresh) pieces.add_zeros(extent_end - end);
    TRY(pieces.write(device, at));
    return end;
}

/// Allocation, data and size under one transaction: a commit sees all of it or nothing, so it never
/// shows a file blocks whose data was not on its way.
Result<size_t> write_piece(Vnode& vnode, uint64_t offset, std::span<const std::byte> data,
                           bool privileged) {
    Mount& mount = vnode.mount();
    auto tx = TRY(mount.begin());
    ExtentList extents;
    TRY(vnode.prepare_write(tx, offset, data.size(), privileged, extents));
    if (extents.empty()) return Errno::nospc;
    uint64_t end = offset;
    mount.epoch().note_data_written();
    for (const Extent& extent : extents) {
        ASSERT(extent.file_offset <= end);
        end = TRY(write_extent(mount.device(), extent, offset, data));
    }
    TRY(vnode.finish_write(tx, end));
    tx.done();
    return static_cast<size_t>(end - offset);
}

/// Bytes of [at, …) that `extent` has: copies them to the front of `out`.
Result<size_t> read_extent(Vnode& vnode, const Extent& extent, uint64_t at,
                           std::span<std::byte> out) {
    ASSERT(extent.file_offset <= at);
    uint64_t end = extent.file_offset + extent.length;
    if (end <= at) return size_t{0};
    out = out.first(std::min<uint64_t>(out.size(), end - at));
    switch (extent.kind) {
    case Extent::Kind::data:
        TRY(vnode.mount().device().read(extent.device_offset + (at - extent.file_offset), out));
        break;
    case Extent::Kind::hole:
    case Extent::Kind::unwritten:
        std::memset(out.data(), 0, out.size());
        break;
    case Extent::Kind::opaque:
        return Errno::opnotsupp; // the format has its own read()
    }
    return out.size();
}

} // namespace

Result<size_t> Vnode::read(uint64_t offset, std::span<std::byte> out) {
    ASSERT(lock.held());
    ExtentList extents;
    TRY(map(offset, out.size(), extents));
    size_t done = 0;
    for (const Extent& extent : extents) {
        auto read = read_extent(*this, extent, offset + done, out.subspan(done));
        if (!read && done == 0) return read.error();
        if (!read) break;
        done += *read;
    }
    return done;
}

Result<size_t> Vnode::write(uint64_t offset, std::span<const std::byte> data, bool privileged) {
    ASSERT(lock.held_exclusive());
    uint64_t size = TRY(getattr()).size;
    if (offset > size) TRY(vfs::zero_past_end(*this, size, offset));
    size_t done = 0;
    while (done < data.size()) {
        auto piece = data.subspan(done, std::min(vfs::write_piece_bytes, data.size() - done));
        auto written = write_piece(*this, offset + done, piece, privileged);
        if (!written && done == 0) return written.error();
        if (!written) break;
        done += *written;
        if (*written < piece.size()) break;
    }
    return done;
}

Result<uint64_t> Vnode::seek(uint64_t offset, Seek what) {
    ASSERT(lock.held());
    uint64_t size = TRY(getattr()).size;
    if (offset >= size) return Errno::nxio;
    // Windows that grow while they hold little: a huge hole takes few calls, a dense file bounded
    // memory.
    constexpr size_t many = 512;
    uint64_t window = 1u << 20;
    ExtentList extents;
    for (uint64_t at = offset; at < size;) {
        extents.clear();
        TRY(map(at, std::min(window, size - at), extents));
        uint64_t reached = at;
        for (const Extent& extent : extents) {
            bool hole = extent.kind == Extent::Kind::hole || extent.kind == Extent::Kind::unwritten;
            if (hole == (what == Seek::hole)) return std::max(at, extent.file_offset);
            reached = std::max(reached, extent.file_offset + extent.length);
        }
        if (reached == at) break; // the file ends earlier than it says
        at = reached;
        if (extents.size() < many && window < UINT64_MAX / 2) window *= 2;
    }
    if (what == Seek::hole) return size; // every file ends in a hole
    return Errno::nxio;
}

namespace vfs {

Result<bool> overwrite(Vnode& vnode, uint64_t offset, std::span<const std::byte> data) {
    ASSERT(vnode.lock.held());
    if (!vnode.overwritable()) return false;
    ExtentList extents;
    TRY(vnode.map(offset, data.size(), extents));
    uint64_t end = offset;
    for (const Extent& extent : extents) {
        if (extent.kind != Extent::Kind::data) return false;
        end = extent.file_offset + extent.length;
    }
    if (end < offset + data.size()) return false;
    Mount& mount = vnode.mount();
    auto tx = TRY(mount.begin());
    mount.epoch().note_data_written();
    for (const Extent& extent : extents) TRY(write_extent(mount.device(), extent, offset, data));
    tx.done();
    return true;
}

Result<void> zero_past_end(Vnode& vnode, uint64_t size, uint64_t limit) {
    Mount& mount = vnode.mount();
    if (size == 0 || limit <= size || !mount.has_device()) return {};
    uint64_t unit = TRY(mount.statvfs()).fragment_size;
    if (unit == 0 || size % unit == 0) return {};
    uint64_t end = std::min(limit, size - size % unit + unit);
    // The last byte of the file has an address; those behind it in the same unit follow it there.
    ExtentList extents;
    TRY(vnode.map(size - 1, 1, extents));
    if (extents.empty() || extents[0].kind != Extent::Kind::data) return {};
    const Extent& last = extents[0];
    uint64_t at = last.device_offset + (size - last.file_offset);
    return write_zero_bytes(mount, at, end - size);
}

Result<void> zero_allocated(Vnode& vnode, uint64_t offset, uint64_t length) {
    ExtentList extents;
    TRY(vnode.map(offset, length, extents));
    for (const Extent& extent : extents) {
        uint64_t begin = std::max(offset, extent.file_offset);
        uint64_t end = std::min(offset + length, extent.file_offset + extent.length);
        if (extent.kind != Extent::Kind::data || begin >= end) continue;
        TRY(write_zero_bytes(vnode.mount(), extent.device_offset + (begin - extent.file_offset),
                             end - begin));
    }
    return {};
}

} // namespace vfs
} // namespace rump
