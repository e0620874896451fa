// From a file's logical blocks to fragments: direct addresses, three levels of
// indirect blocks, fragments at the end of small files, holes.
#pragma once

#include "kernel/fs/ffs/volume.h"

#include "hostshim/function_ref.h"

namespace rump::ffs {

/// Reads a file's map. Keeps the indirect blocks of the last answer, so that a
/// pass over a file reads each once.
class MapCursor {
public:
    explicit MapCursor(const Inode& inode) : inode_(inode), volume_(inode.volume()) {}

    struct Answer {
        uint64_t address = 0; // 0: a hole …
        uint64_t span = 1;    // … of this many blocks from the one asked for on
    };
    /// The checked address of block `lbn`. Errors: EUCLEAN, EIO.
    Result<Answer> at(uint64_t lbn);

private:
    bool no_copy(uint64_t address) const {
        return (inode_.state.flags & disk::sf_snapshot) != 0 && address <= disk::snapshot_snap;
    }
    Result<Buf> indirect(unsigned level, uint64_t address, uint64_t lbn);
    const Inode& inode_;
    Volume& volume_;
    std::array<Buf, disk::indirect_count> bufs_;
    std::array<uint64_t, disk::indirect_count> addresses_{};
};

/// Which way `lbn` goes: `levels` 0 is direct[index], else indirect pointer 11
/// + levels, and the index in each block from the topmost down.
struct MapPath {
    unsigned levels = 0;
    std::array<uint32_t, disk::indirect_count> index{};
};
/// EFBIG beyond the third level.
Result<MapPath> path_to(const Geometry& geo, uint64_t lbn);

/// An address in an indirect block.
uint64_t get_address(const Geometry& geo, std::span<const std::byte> block, uint32_t index);
void put_address(const Geometry& geo, std::span<std::byte> block, uint32_t index, uint64_t address);

/// The first block from `lbn` on, before `end`, that is allocated; `end`: none is. Does not look at
/// each block of a hole.
Result<uint64_t> next_block(const Inode& inode, uint64_t lbn, uint64_t end);
/// Behind the last block that is allocated, or that an empty indirect block could map; 0: there is
/// none.
Result<uint64_t> blocks_end(const Inode& inode);

/// A part of a file: on the device, or a hole (no offset).
struct Piece {
    uint64_t file_offset = 0;
    uint64_t length = 0;
    std::optional<uint64_t> device_offset;
};
using PieceSink = FunctionRef<void(const Piece&)>;

/// Collects the pieces of an allocation and writes bytes through them, from the
/// first one on.
class PieceWriter {
public:
    void add(const Piece& piece) { pieces_.push_back(piece); }
    /// ENOSPC when the pieces are shorter than `bytes`; EIO.
    Result<void> write(Volume& volume, std::span<const std::byte> bytes) const;

private:
    std::vector<Piece> pieces_;
};

/// The pieces of [offset, offset + length), contiguous ones as one, up to the
/// end of the file.
Result<void> map_file(const Inode& inode, uint64_t offset, uint64_t length, PieceSink sink);

/// The unit of a directory that holds byte `offset` (Geometry::dir_unit).
/// EUCLEAN for a hole.
Result<Buf> read_dir_unit(const Inode& inode, MapCursor& cursor, uint64_t offset);

/// Sees that [offset, offset + length) is allocated and hands out its pieces;
/// what the range leaves uncovered in new blocks is zeroed. Shorter when space
/// runs out, ENOSPC when that is at once.
Result<void> allocate_file(Transaction& tx, Inode& inode, uint64_t offset, uint64_t length,
                           bool privileged, PieceSink sink);

/// Sets the size: frees what lies behind, or fills up the last fragment of a
/// file that grows.
Result<void> set_size(Transaction& tx, Inode& inode, uint64_t size, bool privileged);
/// Frees the blocks from `first` on, behind which there must be some; the size is what
/// is left.
Result<void> cut_blocks(Transaction& tx, Inode& inode, uint64_t first);
/// Frees the whole blocks within the range and zeroes the rest of it.
Result<void> punch(Transaction& tx, Inode& inode, uint64_t offset, uint64_t length);
/// Frees everything that the inode holds, attributes too.
Result<void> free_all(Transaction& tx, Inode& inode);

} // namespace rump::ffs
