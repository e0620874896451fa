// Giving blocks back: truncation, holes, and the end of a file. What is given
// back stays taken in the maps until the change that let it go is on the device
// (volume.h).
#include "kernel/fs/ffs/bmap.h"

#include "kernel/vfs/epoch.h"

#include <fmt/format.h>

#include <algorithm>

namespace rump::ffs {

namespace {

/// Frees the whole blocks [first, last) of a file. Direct blocks have the sizes
/// that `old_size` says.
class Truncation {
public:
    Truncation(Transaction& tx, Inode& inode, uint64_t first, uint64_t last)
        : tx_(tx), inode_(inode), volume_(inode.volume()), geo_(volume_.geo), first_(first),
          last_(last), old_size_(inode.state.size) {}

    Result<void> run();

private:
    /// Frees what lies in the range below the indirect block at `address`, which
    /// maps blocks from `base` on, `reach` each entry. `emptied`: nothing is left
    /// in it.
    Result<void> indirect(uint64_t address, uint64_t base, uint64_t reach, bool& emptied);
    Result<void> drop(uint64_t address, uint32_t frags);
    void flush();

    Transaction& tx_;
    Inode& inode_;
    Volume& volume_;
    const Geometry& geo_;
    const uint64_t first_, last_, old_size_;
    FragRun run_;
    uint64_t dropped_ = 0; // fragments: more than there are means a loop
};

Result<void> Truncation::run() {
    for (uint64_t lbn = first_; lbn < std::min<uint64_t>(last_, disk::direct_count); ++lbn) {
        const auto index = static_cast<unsigned>(lbn);
        const uint64_t address = inode_.pointer(index);
        if (address == 0) continue;
        const uint32_t bytes = geo_.block_size(old_size_, lbn);
        TRY(drop(address, bytes == 0 ? geo_.frag : bytes >> geo_.fshift));
        inode_.set_pointer(index, 0);
    }
    uint64_t base = disk::direct_count;
    uint64_t reach = 1;
    for (unsigned level = 0; level < disk::indirect_count; ++level) {
        const uint64_t span = reach * geo_.nindir;
        const uint64_t address = inode_.pointer(disk::direct_count + level);
        if (address != 0 && first_ < base + span && last_ > base) {
            bool emptied = false;
            TRY(indirect(address, base, reach, emptied));
            if (emptied) {
                TRY(drop(address, geo_.frag));
                inode_.set_pointer(disk::direct_count + level, 0);
            }
        }
        base += span;
        reach = span;
    }
    flush();
    return {};
}

Result<void> Truncation::indirect(uint64_t address, uint64_t base, uint64_t reach, bool& emptied) {
    if (!geo_.is_data(address, geo_.frag))
        return volume_.mount.corrupt(
            fmt::format("inode {}: indirect block {} is out of range", inode_.number(), address));
    if (++dropped_ > geo_.size)
        return volume_.mount.corrupt(fmt::format("inode {}: blocks in a loop", inode_.number()));
    Buf buf = TRY(volume_.read(FragNumber(address), geo_.bsize));
    emptied = true;
    std::vector<uint32_t> cleared;
    for (uint32_t i = 0; i < geo_.nindir; ++i) {
        const uint64_t child = get_address(geo_, buf.bytes(), i);
        if (child == 0) continue;
        const uint64_t start = base + reach * i;
        bool gone = start < last_ && start + reach > first_;
        if (gone && reach > 1) TRY(indirect(child, start, reach / geo_.nindir, gone));
        if (!gone) {
            emptied = false;
            continue;
        }
        TRY(drop(child, geo_.frag));
        cleared.push_back(i);
    }
    if (emptied || cleared.empty()) return {};
    const uint32_t low = cleared.front();
    auto bytes =
        tx_.modify(buf, size_t{low} * geo_.pointer_size,
                   size_t{cleared.back() - low + 1} * geo_.pointer_size, WritePhase::inode);
    for (uint32_t i : cleared) put_address(geo_, bytes, i - low, 0);
    return {};
}

Result<void> Truncation::drop(uint64_t address, uint32_t frags) {
    if (!geo_.is_data(address, frags))
        return volume_.mount.corrupt(
            fmt::format("inode {}: address {} is out of range", inode_.number(), address));
    dropped_ += frags;
    if (dropped_ > geo_.size)
        return volume_.mount.corrupt(fmt::format("inode {}: blocks in a loop", inode_.number()));
    const uint64_t sectors = uint64_t{frags} << (geo_.fshift - 9);
    inode_.state.blocks -= std::min(inode_.state.blocks, sectors);
    const bool joins = run_.frags != 0 && run_.start.value() + run_.frags == address &&
                       geo_.cg_of(run_.start) == geo_.cg_of(FragNumber(address));
    if (joins) {
        run_.frags += frags;
    } else {
        flush();
        run_ = {FragNumber(address), frags};
    }
    return {};
}

void Truncation::flush() {
    if (run_.frags != 0) volume_.free_frags(tx_, run_.start, run_.frags);
    run_.frags = 0;
}

/// Zeroes [from, to) of the file where it is allocated; both lie in one block.
Result<void> zero_part(Inode& inode, uint64_t from, uint64_t to) {
    Volume& volume = inode.volume();
    const Geometry& geo = volume.geo;
    if (from >= to) return {};
    MapCursor cursor(inode);
    const auto answer = TRY(cursor.at(geo.block_of(from)));
    if (answer.address == 0) return {};
    const std::vector<std::byte> zeros(to - from);
    const uint64_t at = geo.bytes(FragNumber(answer.address)) + geo.in_block(from);
    if (auto written = volume.mount.device().write(at, zeros); !written)
        return volume.mount.io_error(Volume::place(inode, geo.block_of(from)), written.error());
    volume.mount.epoch().note_data_written();
    return {};
}

/// The last block of a file is allocated, as ffs_truncate() of the BSDs leaves it and
/// their fsck wants it. That fills a last fragment up on the way.
Result<void> grow(Transaction& tx, Inode& inode, uint64_t size, bool privileged) {
    uint64_t at = 0;
    TRY(allocate_file(tx, inode, size - 1, 1, privileged,
                      [&](const Piece& piece) { at = *piece.device_offset; }));
    const std::byte zero{0};
    if (auto written = inode.volume().mount.device().write(at, {&zero, 1}); !written)
        return inode.volume().mount.io_error("a file's last byte", written.error());
    inode.state.size = size;
    return {};
}

} // namespace

Result<void> set_size(Transaction& tx, Inode& inode, uint64_t size, bool privileged) {
    const Geometry& geo = inode.volume().geo;
    const uint64_t old = inode.state.size;
    if (size > geo.max_file_size) return Errno::fbig;
    inode.begin_change(tx);
    if (size == old) return {};
    if (size > old) return grow(tx, inode, size, privileged);
    const uint64_t keep = (size + geo.bsize - 1) >> geo.bshift;
    const uint64_t all = UINT64_MAX >> geo.bshift;
    Truncation cut(tx, inode, keep, all);
    TRY(cut.run());
    if (size == 0) {
        inode.state.size = 0;
        return {};
    }
    const uint64_t last = geo.block_of(size - 1);
    MapCursor cursor(inode);
    const uint64_t address = TRY(cursor.at(last)).address;
    if (address == 0) { // a hole, which does not stay at the end
        inode.state.size = last << geo.bshift;
        return grow(tx, inode, size, privileged);
    }
    if (last >= disk::direct_count) {
        inode.state.size = size;
        return inode.state.is_dir() ? Result<void>()
                                    : zero_part(inode, size, (last + 1) << geo.bshift);
    }
    const uint32_t old_frags = geo.block_size(old, last) >> geo.fshift;
    const uint32_t new_frags = geo.block_size(size, last) >> geo.fshift;
    if (!geo.is_data(address, old_frags))
        return inode.volume().mount.corrupt(Volume::place(inode, last) + ": out of range");
    inode.state.size = size;
    if (new_frags < old_frags) {
        inode.volume().free_frags(tx, FragNumber(address + new_frags), old_frags - new_frags);
        const uint64_t sectors = uint64_t{old_frags - new_frags} << (geo.fshift - 9);
        inode.state.blocks -= std::min(inode.state.blocks, sectors);
    }
    if (inode.state.is_dir()) return {};
    return zero_part(inode, size, (last << geo.bshift) + (uint64_t{new_frags} << geo.fshift));
}

Result<void> cut_blocks(Transaction& tx, Inode& inode, uint64_t first) {
    const Geometry& geo = inode.volume().geo;
    inode.begin_change(tx);
    Truncation cut(tx, inode, first, UINT64_MAX >> geo.bshift);
    TRY(cut.run());
    inode.state.size = first << geo.bshift;
    return {};
}

Result<void> punch(Transaction& tx, Inode& inode, uint64_t offset, uint64_t length) {
    const Geometry& geo = inode.volume().geo;
    const uint64_t size = inode.state.size;
    if (offset >= size) return {};
    const uint64_t end = length < size - offset ? offset + length : size;
    inode.begin_change(tx);
    const uint64_t first = (offset + geo.bsize - 1) >> geo.bshift;
    // The last block of the file stays allocated (see grow()).
    const uint64_t last = geo.block_of(end == size ? size - 1 : end);
    if (first >= last) {
        const uint64_t middle = std::min(end, first << geo.bshift);
        TRY(zero_part(inode, offset, middle));
        return zero_part(inode, middle, end);
    }
    TRY(zero_part(inode, offset, first << geo.bshift));
    TRY(zero_part(inode, last << geo.bshift, end));
    Truncation cut(tx, inode, first, last);
    return cut.run();
}

Result<void> free_all(Transaction& tx, Inode& inode) {
    Volume& volume = inode.volume();
    const Geometry& geo = volume.geo;
    if (!inode.state.is_device() && !inode.is_short_symlink()) {
        Truncation cut(tx, inode, 0, UINT64_MAX >> geo.bshift);
        TRY(cut.run());
    }
    uint32_t left = inode.state.extsize;
    for (uint64_t& address : inode.state.extb) {
        if (address == 0) continue;
        const uint32_t bytes = geo.frag_round(std::clamp<uint32_t>(left, 1, geo.bsize));
        if (!geo.is_data(address, bytes >> geo.fshift))
            return volume.mount.corrupt(fmt::format("inode {}: attribute block {} is out of range",
                                                    inode.number(), address));
        volume.free_frags(tx, FragNumber(address), bytes >> geo.fshift);
        address = 0;
        left -= std::min(left, geo.bsize);
    }
    return {};
}

} // namespace rump::ffs
