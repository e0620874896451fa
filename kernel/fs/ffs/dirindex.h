// Passes over a directory's chunks, and its index in memory (vfs/dirhash.h).
#pragma once

#include "kernel/fs/ffs/dir.h"

#include "kernel/vfs/dirhash.h"

namespace rump::ffs {

/// Reports a chunk that cannot be read: EUCLEAN.
Errno bad_chunk(Inode& dir, uint64_t offset, std::string_view why);

/// `visit` gets the chunk's offset in the directory, the buffer and the place
/// in it; false ends.
using ChunkVisit = FunctionRef<Result<bool>(uint64_t offset, const Buf& buf, uint32_t at)>;
Result<void> each_chunk(Inode& dir, uint64_t from, ChunkVisit visit);

/// The index of a directory that is big enough to have one; empty otherwise, or
/// when memory is short. `exclusive`: the caller may change the directory.
Result<DirHashPool::Use> directory_hash(Inode& dir, bool exclusive);
/// It is built anew when it is asked for. No Use of it is left.
void drop_directory_hash(Inode& dir);
inline DirHash* pointer(const DirHashPool::Use& use) { return use ? &*use : nullptr; }
/// The largest room for one entry in a chunk.
uint32_t chunk_room(const Geometry& geo, std::span<const std::byte> chunk);

} // namespace rump::ffs
