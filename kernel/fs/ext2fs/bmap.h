// bmap: which blocks a file has. Twelve direct pointers, then single, double and triple indirect
// blocks
// ("Inode i_block", The Second Extended File System). A pointer of 0 is a hole, at any level.
#pragma once

#include "kernel/fs/ext2fs/alloc.h"
#include "kernel/fs/ext2fs/inode.h"

#include "hostshim/function_ref.h"

#include <optional>

namespace rump::ext2 {

/// A run of a file: blocks [first, first + count) of it at `start`, or a hole.
struct FileRun {
    uint64_t first = 0;
    uint64_t count = 0;
    std::optional<BlockNumber> start;
};
using RunSink = FunctionRef<void(const FileRun&)>;

/// The runs of [first, first + count), in order, without gaps, neighbours merged. EIO, EUCLEAN (a
/// pointer that cannot be true; the runs before it have been handed out).
Result<void> map_blocks(const Volume& volume, const Inode& inode, uint64_t first, uint64_t count,
                        RunSink sink);
/// One block; none: a hole. EIO, EUCLEAN.
Result<std::optional<BlockNumber>> map_block(const Volume& volume, const Inode& inode,
                                             uint64_t block);

/// Indirect blocks that must be made before all of [first, first + count) can have blocks. EIO,
/// EUCLEAN.
Result<uint32_t> missing_indirect(const Volume& volume, const Inode& inode, uint64_t first,
                                  uint64_t count);

/// Points blocks [first, first + run.count) of the file, holes so far, to `run`; indirect blocks
/// come out of `claim`, near `goal`. Changes `inode`, which the caller restores when `tx` is
/// undone. EIO, EUCLEAN.
Result<void> install_run(Volume& volume, Allocator& allocator, Transaction& tx, Inode& inode,
                         uint64_t first, BlockRun run, Claim& claim, BlockNumber goal);

/// Frees the file's blocks from `first` up to and without `last`; indirect blocks that become empty
/// go too. Changes `inode`, which the caller restores when `tx` is undone. EIO, EUCLEAN.
Result<void> free_blocks(Volume& volume, Transaction& tx, Inode& inode, uint64_t first,
                         uint64_t last, FreeList& freed);

} // namespace rump::ext2
