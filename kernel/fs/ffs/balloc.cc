// Allocating blocks of files: direct ones that may end in fragments, indirect
// ones, and runs of both for long requests.
//
// Two rules of the format: only the last of the first twelve blocks may be less
// than a block, and it has exactly the fragments that the size needs, so it is
// moved or grown before the file goes on behind it. And what lies between the
// size and the end of the last fragment is zeros.
#include "kernel/fs/ffs/bmap.h"

#include "kernel/vfs/epoch.h"

#include <fmt/format.h>

#include <algorithm>

namespace rump::ffs {

namespace {

/// One request.
class BlockAllocation {
public:
    BlockAllocation(Transaction& tx, Inode& inode, uint64_t offset, uint64_t length,
                    bool privileged, PieceSink sink)
        : tx_(tx), inode_(inode), volume_(inode.volume()), geo_(volume_.geo), offset_(offset),
          end_(offset + length), privileged_(privileged), sink_(sink), cursor_(inode) {}

    Result<void> run();

private:
    uint64_t size() const { return inode_.state.size; }
    Result<void> finish_last_fragment(uint64_t first);
    Result<void> direct(uint64_t lbn);
    Result<uint64_t> indirect(uint64_t lbn);
    Result<FragNumber> resize_fragments(uint64_t lbn, uint32_t old_frags, uint32_t new_frags);
    Result<uint64_t> add_run(uint64_t lbn, uint64_t count, Buf* holder, uint32_t index);
    Result<Buf> new_indirect(uint64_t lbn, uint64_t& address);
    Result<uint64_t> previous(uint64_t lbn);
    Result<void> zero_uncovered(uint64_t device, uint64_t start, uint64_t length);
    void emit(uint64_t lbn, uint64_t count, uint64_t address);
    void flush_piece();
    void add_blocks(uint64_t frags) { inode_.state.blocks += frags << (geo_.fshift - 9); }

    Transaction& tx_;
    Inode& inode_;
    Volume& volume_;
    const Geometry& geo_;
    const uint64_t offset_, end_;
    const bool privileged_;
    PieceSink sink_;
    MapCursor cursor_;
    Piece piece_;
    bool half_done_ = false; // an indirect block has been added and not what it is for
};

Result<void> BlockAllocation::run() {
    if (end_ < offset_ || end_ > geo_.max_file_size) return Errno::fbig;
    inode_.begin_change(tx_);
    const uint64_t first = geo_.block_of(offset_);
    const uint64_t last = geo_.block_of(end_ - 1);
    TRY(finish_last_fragment(first));
    for (uint64_t lbn = first; lbn <= last;) {
        uint64_t done = 1;
        Result<void> step;
        if (lbn < disk::direct_count) {
            step = direct(lbn);
        } else if (auto n = indirect(lbn); n.ok()) {
            done = *n;
        } else {
            step = n.error();
        }
        if (!step) {
            // What there is space for is written; the rest is the caller's next,
            // failing, request.
            if (step.error() == Errno::nospc && !half_done_ && lbn > first) break;
            return step;
        }
        lbn += done;
    }
    flush_piece();
    return {};
}

/// A file that ends in fragments and goes on in a later block: they become a
/// whole block.
Result<void> BlockAllocation::finish_last_fragment(uint64_t first) {
    const uint64_t last = geo_.block_of(size());
    if (size() == 0 || last >= first || last >= disk::direct_count) return {};
    const uint32_t bytes = geo_.block_size(size(), last);
    const uint64_t address = inode_.pointer(static_cast<unsigned>(last));
    if (bytes == 0 || bytes == geo_.bsize || address == 0) return {};
    TRY(resize_fragments(last, bytes >> geo_.fshift, geo_.frag));
    inode_.state.size = (last + 1) << geo_.bshift;
    return {};
}

Result<void> BlockAllocation::direct(uint64_t lbn) {
    const auto index = static_cast<unsigned>(lbn);
    const uint64_t block_end = (lbn + 1) << geo_.bshift;
    const uint64_t new_size = std::max(size(), end_);
    const uint32_t new_bytes = geo_.block_size(new_size, lbn);
    const uint64_t address = inode_.pointer(index);
    if (address != 0) {
        const auto known = TRY(cursor_.at(lbn));
        const uint32_t old_bytes = geo_.block_size(size(), lbn);
        uint64_t at = known.address;
        if (old_bytes == 0)
            return volume_.mount.corrupt(Volume::place(inode_, lbn) +
                                         ": behind the end of the file");
        if (new_bytes > old_bytes)
            at = TRY(resize_fragments(lbn, old_bytes >> geo_.fshift, new_bytes >> geo_.fshift))
                     .value();
        emit(lbn, 1, at);
        return {};
    }
    const auto [pref, cg] = volume_.alloc.preference(inode_.number(), lbn, TRY(previous(lbn)));
    const uint32_t frags = new_bytes >> geo_.fshift;
    if (frags == geo_.frag) {
        uint64_t want = 1; // as far as the request covers whole, missing, direct blocks
        while (lbn + want < disk::direct_count && (lbn + want + 1) << geo_.bshift <= end_ &&
               inode_.pointer(static_cast<unsigned>(lbn + want)) == 0)
            ++want;
        const FragRun got = TRY(
            volume_.alloc.alloc_blocks(tx_, pref, cg, static_cast<uint32_t>(want), privileged_));
        // The others are found allocated when their turn comes; give them their
        // size.
        for (uint32_t i = 0; i < got.frags >> geo_.fragshift; ++i) {
            inode_.set_pointer(index + i, got.start.value() + uint64_t{i} * geo_.frag);
            const uint64_t start = (lbn + i) << geo_.bshift;
            TRY(zero_uncovered(geo_.bytes(got.start) + uint64_t{i} * geo_.bsize, start,
                               geo_.bsize));
        }
        add_blocks(got.frags);
        const uint64_t allocated_end = (lbn + (got.frags >> geo_.fragshift)) << geo_.bshift;
        inode_.state.size = std::max(size(), std::min(allocated_end, end_));
        emit(lbn, 1, got.start.value());
        return {};
    }
    const FragNumber got = TRY(volume_.alloc.alloc_frags(tx_, pref, cg, frags, false, privileged_));
    inode_.set_pointer(index, got.value());
    add_blocks(frags);
    TRY(zero_uncovered(geo_.bytes(got), lbn << geo_.bshift, new_bytes));
    inode_.state.size = std::max(size(), std::min(block_end, end_));
    emit(lbn, 1, got.value());
    return {};
}

Result<FragNumber> BlockAllocation::resize_fragments(uint64_t lbn, uint32_t old_frags,
                                                     uint32_t new_frags) {
    const auto index = static_cast<unsigned>(lbn);
    const FragNumber old(TRY(cursor_.at(lbn)).address);
    const uint64_t start = lbn << geo_.bshift;
    const uint64_t old_bytes = uint64_t{old_frags} << geo_.fshift;
    const uint64_t new_bytes = uint64_t{new_frags} << geo_.fshift;
    FragNumber now = old;
    if (!TRY(volume_.alloc.extend(tx_, old, old_frags, new_frags, privileged_))) {
        const auto [pref, cg] = volume_.alloc.preference(inode_.number(), lbn, TRY(previous(lbn)));
        if (new_frags == geo_.frag)
            now = TRY(volume_.alloc.alloc_blocks(tx_, pref, cg, 1, privileged_)).start;
        else
            now = TRY(volume_.alloc.alloc_frags(tx_, pref, cg, new_frags,
                                                volume_.alloc.growth_is_roomy(), privileged_));
        if (inode_.state.is_dir()) {
            TRY(volume_.move_entries(tx_, old, now, old_bytes));
        } else {
            std::vector<std::byte> bytes(old_bytes);
            if (auto read = volume_.mount.device().read(geo_.bytes(old), bytes); !read)
                return volume_.mount.io_error(Volume::place(inode_, lbn), read.error());
            TRY(volume_.write_early(now, bytes));
        }
        volume_.free_frags(tx_, old, old_frags);
        inode_.set_pointer(index, now.value());
    }
    TRY(zero_uncovered(geo_.bytes(now) + old_bytes, start + old_bytes, new_bytes - old_bytes));
    add_blocks(new_frags - old_frags);
    inode_.state.size = std::max(size(), std::min(start + new_bytes, end_));
    return now;
}

/// Zeroes what the request does not write of [start, start + length), which is
/// new at `device`.
Result<void> BlockAllocation::zero_uncovered(uint64_t device, uint64_t start, uint64_t length) {
    const uint64_t finish = start + length;
    const auto zero = [&](uint64_t from, uint64_t to) -> Result<void> {
        if (from >= to) return {};
        const std::vector<std::byte> zeros(to - from);
        if (auto written = volume_.mount.device().write(device + (from - start), zeros); !written)
            return volume_.mount.io_error("zeroing a new block", written.error());
        volume_.mount.epoch().note_data_written();
        return {};
    };
    TRY(zero(start, std::min(finish, offset_)));
    return zero(std::max(start, end_), finish);
}

/// The address behind the block before `lbn`, if that is known cheaply.
Result<uint64_t> BlockAllocation::previous(uint64_t lbn) {
    if (inode_.next_lbn == lbn && inode_.next_frag != 0) return inode_.next_frag;
    if (lbn == 0) return uint64_t{0};
    const auto answer = TRY(cursor_.at(lbn - 1));
    return answer.address == 0 ? uint64_t{0} : answer.address + geo_.frag;
}

Result<Buf> BlockAllocation::new_indirect(uint64_t lbn, uint64_t& address) {
    const auto [pref, cg] = volume_.alloc.preference(inode_.number(), lbn, TRY(previous(lbn)));
    const FragRun got = TRY(volume_.alloc.alloc_blocks(tx_, pref, cg, 1, privileged_));
    address = got.start.value();
    // Zeros reach the device before any inode that points here.
    if (!volume_.logged()) TRY(volume_.zero_early(got.start, geo_.bsize));
    Buf buf = TRY(volume_.buffers().get_fresh(geo_.bytes(got.start), geo_.bsize));
    auto bytes = tx_.modify(buf, 0, geo_.bsize, WritePhase::inode);
    std::fill(bytes.begin(), bytes.end(), std::byte{0});
    add_blocks(geo_.frag);
    half_done_ = true;
    if (inode_.next_lbn == lbn) inode_.next_frag = address + geo_.frag;
    return buf;
}

/// Up to `count` new blocks from `lbn` on, whose addresses go to `holder` from
/// `index` on.
Result<uint64_t> BlockAllocation::add_run(uint64_t lbn, uint64_t count, Buf* holder,
                                          uint32_t index) {
    const auto [pref, cg] = volume_.alloc.preference(inode_.number(), lbn, TRY(previous(lbn)));
    const FragRun got = TRY(volume_.alloc.alloc_blocks(
        tx_, pref, cg, static_cast<uint32_t>(std::min<uint64_t>(count, UINT32_MAX)), privileged_));
    const uint32_t blocks = got.frags >> geo_.fragshift;
    auto bytes = tx_.modify(*holder, size_t{index} * geo_.pointer_size,
                            size_t{blocks} * geo_.pointer_size, WritePhase::inode);
    for (uint32_t i = 0; i < blocks; ++i)
        put_address(geo_, bytes, i, got.start.value() + uint64_t{i} * geo_.frag);
    half_done_ = false;
    add_blocks(got.frags);
    TRY(zero_uncovered(geo_.bytes(got.start), lbn << geo_.bshift, uint64_t{blocks} << geo_.bshift));
    inode_.next_lbn = lbn + blocks;
    inode_.next_frag = got.start.value() + got.frags;
    inode_.state.size = std::max(size(), std::min((lbn + blocks) << geo_.bshift, end_));
    emit(lbn, blocks, got.start.value());
    return blocks;
}

Result<uint64_t> BlockAllocation::indirect(uint64_t lbn) {
    const MapPath path = TRY(path_to(geo_, lbn));
    const unsigned root = disk::direct_count - 1 + path.levels;
    uint64_t address = inode_.pointer(root);
    Buf holder;
    for (unsigned level = 0; level < path.levels; ++level) {
        Buf next;
        if (address == 0) {
            next = TRY(new_indirect(lbn, address));
            if (level == 0) {
                inode_.set_pointer(root, address);
            } else {
                auto slot = tx_.modify(holder, size_t{path.index[level - 1]} * geo_.pointer_size,
                                       geo_.pointer_size, WritePhase::inode);
                put_address(geo_, slot, 0, address);
            }
        } else {
            if (!geo_.is_data(address, geo_.frag))
                return volume_.mount.corrupt(fmt::format("{}: indirect block {} is out of range",
                                                         Volume::place(inode_, lbn), address));
            next = TRY(volume_.read(FragNumber(address), geo_.bsize));
        }
        holder = std::move(next);
        address = get_address(geo_, holder.bytes(), path.index[level]);
    }
    const uint32_t index = path.index[path.levels - 1];
    const uint64_t last = geo_.block_of(end_ - 1);
    const uint64_t most = std::min<uint64_t>(geo_.nindir - index, last - lbn + 1);
    if (address != 0) {
        if (!geo_.is_data(address, geo_.frag))
            return volume_.mount.corrupt(
                fmt::format("{}: address {} is out of range", Volume::place(inode_, lbn), address));
        emit(lbn, 1, address);
        return uint64_t{1};
    }
    uint64_t missing = 1;
    while (missing < most &&
           get_address(geo_, holder.bytes(), index + static_cast<uint32_t>(missing)) == 0)
        ++missing;
    return add_run(lbn, missing, &holder, index);
}

void BlockAllocation::emit(uint64_t lbn, uint64_t count, uint64_t address) {
    uint64_t start = lbn << geo_.bshift;
    uint64_t finish = std::min((lbn + count) << geo_.bshift, end_);
    uint64_t at = geo_.bytes(FragNumber(address));
    if (start < offset_) {
        at += offset_ - start;
        start = offset_;
    }
    if (piece_.length != 0 && *piece_.device_offset + piece_.length == at) {
        piece_.length += finish - start;
    } else {
        flush_piece();
        piece_ = {start, finish - start, at};
    }
    inode_.next_lbn = lbn + count;
    inode_.next_frag = address + count * geo_.frag;
}

void BlockAllocation::flush_piece() {
    if (piece_.length != 0) sink_(piece_);
    piece_.length = 0;
}

} // namespace

Result<void> PieceWriter::write(Volume& volume, std::span<const std::byte> bytes) const {
    for (const Piece& piece : pieces_) {
        const auto part = bytes.first(std::min<uint64_t>(piece.length, bytes.size()));
        TRY(volume.mount.device().write(*piece.device_offset, part));
        bytes = bytes.subspan(part.size());
    }
    volume.mount.epoch().note_data_written();
    return bytes.empty() ? Result<void>() : Result<void>(Errno::nospc);
}

Result<void> allocate_file(Transaction& tx, Inode& inode, uint64_t offset, uint64_t length,
                           bool privileged, PieceSink sink) {
    if (length == 0) return {};
    BlockAllocation request(tx, inode, offset, length, privileged, sink);
    return request.run();
}

} // namespace rump::ffs
