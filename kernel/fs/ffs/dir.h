// Directories (dir(5)): chunks of 512 bytes (Apple: 1024), each a list of
// records that fill it. A chunk is written by one sector and never torn.
#pragma once

#include "kernel/fs/ffs/bmap.h"

#include "kernel/sys/types.h"

#include <optional>

namespace rump::ffs {

/// One record. `name` is a view of the chunk.
struct DirRecord {
    uint32_t at = 0; // in the chunk
    uint32_t reclen = 0;
    uint64_t ino = 0; // 0: free
    FileType type = FileType::unknown;
    std::string_view name;
    /// Bytes that the record could give away.
    uint32_t slack() const { return ino == 0 ? reclen : reclen - disk::dirent_size(name.size()); }
};

/// Walks one chunk; refuses every record that does not fit its place.
class ChunkWalk {
public:
    ChunkWalk(const Geometry& geo, std::span<const std::byte> chunk) : geo_(geo), chunk_(chunk) {}
    /// False at the end. EUCLEAN: reason() says why, the rest of the chunk cannot
    /// be read.
    Result<bool> next(DirRecord& out);
    std::string_view reason() const { return reason_; }
    uint32_t at() const { return at_; }

private:
    const Geometry& geo_;
    const std::span<const std::byte> chunk_;
    uint32_t at_ = 0;
    std::string_view reason_;
};

/// A name that no path can hold. No name that is looked for is one, so only who hands names out
/// asks.
bool is_bad_name(std::string_view name);
inline constexpr std::string_view bad_name_reason = "name with a slash or NUL";

/// Writes a record's head and name.
void put_record(const Geometry& geo, std::span<std::byte> chunk, uint32_t at, uint32_t reclen,
                uint64_t ino, FileType type, std::string_view name);
void put_reclen(const Geometry& geo, std::span<std::byte> chunk, uint32_t at, uint32_t reclen);
/// The first chunk of a new directory.
void put_dots(const Geometry& geo, std::span<std::byte> chunk, uint64_t self, uint64_t parent);

struct FoundEntry {
    uint64_t ino = 0;
    FileType type = FileType::unknown;
    uint64_t offset = 0;
};

/// Locks of all below: the directory's vnode, shared for reading, exclusive for
/// changes.
Result<std::optional<FoundEntry>> find_entry(Inode& dir, std::string_view name);
/// Calls `sink` from byte `cookie` on; whiteouts are left out.
using EntrySink = FunctionRef<bool(const DirRecord& record, uint64_t next_cookie)>;
Result<void> each_entry(Inode& dir, uint64_t cookie, EntrySink sink);
/// The parent that ".." names.
Result<uint64_t> parent_of(Inode& dir);
Result<bool> is_empty(Inode& dir);

/// `name` is not there (or a whiteout, which it replaces). ENOSPC.
/// `after`: a block that must not reach the device before the new name does, or
/// none. EAGAIN: as Transaction::order.
Result<void> enter_name(Transaction& tx, Inode& dir, std::string_view name, uint64_t ino,
                        FileType type, bool privileged, Buf* after = nullptr);
/// The buffer that holds the entry at `offset`.
Result<Buf> entry_block(Inode& dir, uint64_t offset);
Result<void> remove_name(Transaction& tx, Inode& dir, std::string_view name);
/// Lets an existing name mean another inode.
Result<void> retarget_name(Transaction& tx, Inode& dir, std::string_view name, uint64_t ino,
                           FileType type, Buf* after = nullptr);
/// Allocates and writes the first chunk of a new directory.
Result<void> make_dots(Transaction& tx, Inode& dir, uint64_t parent, bool privileged);

} // namespace rump::ffs
