// Reading block maps (inode(5)).
#include "kernel/fs/ffs/bmap.h"

#include <fmt/format.h>

#include <algorithm>

namespace rump::ffs {

uint64_t get_address(const Geometry& geo, std::span<const std::byte> block, uint32_t index) {
    if (geo.ufs2) {
        raw64 v;
        std::memcpy(&v, block.data() + size_t{index} * 8, 8);
        return geo.order.get(v);
    }
    raw32 v;
    std::memcpy(&v, block.data() + size_t{index} * 4, 4);
    return geo.order.get(v);
}

void put_address(const Geometry& geo, std::span<std::byte> block, uint32_t index,
                 uint64_t address) {
    if (geo.ufs2) {
        raw64 v;
        geo.order.set(v, address);
        std::memcpy(block.data() + size_t{index} * 8, &v, 8);
        return;
    }
    raw32 v;
    geo.order.set(v, static_cast<uint32_t>(address));
    std::memcpy(block.data() + size_t{index} * 4, &v, 4);
}

Result<MapPath> path_to(const Geometry& geo, uint64_t lbn) {
    MapPath path;
    if (lbn < disk::direct_count) {
        path.index[0] = static_cast<uint32_t>(lbn);
        return path;
    }
    uint64_t rest = lbn - disk::direct_count;
    uint64_t reach = geo.nindir;
    for (unsigned levels = 1; levels <= disk::indirect_count; ++levels, reach *= geo.nindir) {
        if (rest >= reach) {
            rest -= reach;
            continue;
        }
        path.levels = levels;
        for (unsigned i = levels; i-- > 0; rest /= geo.nindir)
            path.index[i] = static_cast<uint32_t>(rest % geo.nindir);
        return path;
    }
    return Errno::fbig;
}

Result<Buf> MapCursor::indirect(unsigned level, uint64_t address, uint64_t lbn) {
    if (bufs_[level] && addresses_[level] == address) return bufs_[level];
    const Geometry& geo = volume_.geo;
    if (!geo.is_data(address, geo.frag))
        return volume_.mount.corrupt(fmt::format("{}: indirect block {} is out of range",
                                                 Volume::place(inode_, lbn), address));
    bufs_[level] = TRY(volume_.read(FragNumber(address), geo.bsize));
    addresses_[level] = address;
    return bufs_[level];
}

Result<MapCursor::Answer> MapCursor::at(uint64_t lbn) {
    const Geometry& geo = volume_.geo;
    const MapPath path = TRY(path_to(geo, lbn));
    if (path.levels == 0) {
        const uint64_t address = inode_.pointer(path.index[0]);
        if (address == 0 || no_copy(address)) return Answer{};
        const uint32_t bytes = geo.block_size(inode_.state.size, lbn);
        if (bytes != 0 && !geo.is_data(address, bytes >> geo.fshift))
            return volume_.mount.corrupt(
                fmt::format("{}: address {} is out of range", Volume::place(inode_, lbn), address));
        return Answer{address, 1};
    }
    uint64_t address = inode_.pointer(disk::direct_count - 1 + path.levels);
    for (unsigned level = 0;; ++level) {
        if (address == 0) {
            // The hole goes to the end of what this pointer reaches.
            uint64_t reach = 1, within = 0;
            for (unsigned i = level; i < path.levels; ++i) {
                reach *= geo.nindir;
                within = within * geo.nindir + path.index[i];
            }
            return Answer{0, reach - within};
        }
        if (level == path.levels) break;
        const Buf buf = TRY(indirect(level, address, lbn));
        address = get_address(geo, buf.bytes(), path.index[level]);
    }
    if (no_copy(address)) return Answer{};
    if (!geo.is_data(address, geo.frag))
        return volume_.mount.corrupt(
            fmt::format("{}: address {} is out of range", Volume::place(inode_, lbn), address));
    return Answer{address, 1};
}

namespace {

/// A snapshot shows the file system itself where nothing was copied for it.
std::optional<uint64_t> snapshot_offset(const Geometry& geo, uint64_t lbn) {
    const uint64_t f = lbn << geo.fragshift;
    if (f >= geo.size) return std::nullopt;
    return f << geo.fshift;
}

} // namespace

Result<void> map_file(const Inode& inode, uint64_t offset, uint64_t length, PieceSink sink) {
    const Geometry& geo = inode.volume().geo;
    const uint64_t size = inode.state.size;
    if (offset >= size) return {};
    const uint64_t end = length < size - offset ? offset + length : size;
    const bool snapshot = (inode.state.flags & disk::sf_snapshot) != 0;
    MapCursor cursor(inode);
    Piece piece;
    while (offset < end) {
        const uint64_t lbn = geo.block_of(offset);
        const auto answer = TRY(cursor.at(lbn));
        std::optional<uint64_t> at;
        if (answer.address != 0) at = geo.bytes(FragNumber(answer.address));
        uint64_t span = answer.span;
        if (snapshot && answer.address == 0) {
            at = snapshot_offset(geo, lbn);
            span = 1;
        }
        if (at) *at += geo.in_block(offset);
        const uint64_t limit = span > (end >> geo.bshift) ? end : (lbn + span) << geo.bshift;
        const uint64_t n = std::min(end, limit) - offset;
        const bool joins = piece.length != 0 && at.has_value() == piece.device_offset.has_value() &&
                           (!at || *at == *piece.device_offset + piece.length);
        if (joins) {
            piece.length += n;
        } else {
            if (piece.length != 0) sink(piece);
            piece = {offset, n, at};
        }
        offset += n;
    }
    if (piece.length != 0) sink(piece);
    return {};
}

Result<uint64_t> next_block(const Inode& inode, uint64_t lbn, uint64_t end) {
    MapCursor cursor(inode);
    while (lbn < end) {
        const auto answer = TRY(cursor.at(lbn));
        if (answer.address != 0) return lbn;
        lbn += std::min(answer.span, end - lbn);
    }
    return end;
}

Result<uint64_t> blocks_end(const Inode& inode) {
    Volume& volume = inode.volume();
    const Geometry& geo = volume.geo;
    uint64_t base = disk::direct_count; // that the pointer's blocks begin with
    uint64_t reach = geo.nindir;
    for (unsigned level = 1; level < disk::indirect_count; ++level, reach *= geo.nindir)
        base += reach;
    for (unsigned levels = disk::indirect_count; levels > 0; --levels, reach /= geo.nindir) {
        uint64_t address = inode.pointer(disk::direct_count - 1 + levels);
        uint64_t lbn = base, below = reach;
        for (unsigned level = levels; address != 0 && level > 0; --level) {
            if (!geo.is_data(address, geo.frag))
                return volume.mount.corrupt(fmt::format("{}: indirect block {} is out of range",
                                                        Volume::place(inode, lbn), address));
            const Buf buf = TRY(volume.read(FragNumber(address), geo.bsize));
            below /= geo.nindir;
            uint32_t index = geo.nindir;
            address = 0;
            while (address == 0 && index > 0) address = get_address(geo, buf.bytes(), --index);
            lbn += index * below;
            if (level == 1 || address == 0) return lbn + 1;
        }
        base -= reach / geo.nindir;
    }
    for (unsigned i = disk::direct_count; i > 0; --i)
        if (inode.pointer(i - 1) != 0) return uint64_t{i};
    return uint64_t{0};
}

Result<Buf> read_dir_unit(const Inode& inode, MapCursor& cursor, uint64_t offset) {
    Volume& volume = inode.volume();
    const Geometry& geo = volume.geo;
    const uint64_t lbn = geo.block_of(offset);
    const auto answer = TRY(cursor.at(lbn));
    const uint32_t within = geo.in_block(offset) & ~(geo.dir_unit() - 1);
    if (answer.address == 0 || within + geo.dir_unit() > geo.block_size(inode.state.size, lbn))
        return volume.mount.corrupt(Volume::place(inode, lbn) + ": missing");
    return volume.read(FragNumber(answer.address + (within >> geo.fshift)), geo.dir_unit());
}

} // namespace rump::ffs
