// Hash trees of directories ("Indexed Directory Format"). Block 0 is the root: behind "." and ".."
// a table of hash and block; a second level holds tables of the same kind; then come ordinary
// directory blocks, each with the entries whose hash is at least its own in the table and below the
// next one.
//
//     root (block 0) ── [node] ── leaf: a directory block
//
// A hash in a table is even; with bit 0 set its block goes on with the hash that the one before
// ends with (entries of equal hash fill more than a block).
#pragma once

#include "kernel/fs/ext2fs/lookup.h"

namespace rump::ext2 {

/// None: not there. EIO, EUCLEAN (the index lies, reported).
Result<std::optional<EntryPlace>> find_indexed(const Directory& dir, std::string_view name);

/// None: the index is as deep as the format allows, or of a kind that we do not know: the
/// directory's flag is cleared, it has no index any more, nothing else has changed. ENOSPC, EIO,
/// EUCLEAN.
Result<std::optional<EntryPlace>> add_indexed(Transaction& tx, Directory& dir,
                                              std::string_view name, InodeNumber number,
                                              FileType type, bool privileged);

/// Gives a directory of one full block an index. False: it begins otherwise than with "." and "..",
/// so that it must do without. ENOSPC, EIO, EUCLEAN.
Result<bool> make_index(Transaction& tx, Directory& dir, bool privileged);

/// What readdir needs of a leaf: the blocks that hold `hash` and what follows in them, and where
/// the next leaf begins (UINT32_MAX: that was the last).
struct LeafRange {
    std::vector<uint64_t> blocks;
    uint32_t next_hash = UINT32_MAX;
};
/// EIO, EUCLEAN.
Result<LeafRange> leaves_from(const Directory& dir, uint32_t hash);
/// The hash function of the directory's index; of new ones when it has none. EIO, EUCLEAN.
Result<HashKind> hash_of(const Directory& dir);

} // namespace rump::ext2
