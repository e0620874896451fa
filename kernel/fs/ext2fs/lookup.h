// Directories: finding, adding and removing entries ("Directory Structure"). An indexed directory
// is searched by its hash tree (htree.h), a big one without an index by an in-memory hash, others
// by reading on.
#pragma once

#include "kernel/fs/ext2fs/bmap.h"
#include "kernel/fs/ext2fs/dirblock.h"
#include "kernel/fs/ext2fs/hash.h"
#include "kernel/vfs/dirhash.h"

#include "hostshim/lock.h"

namespace rump::ext2 {

/// In-memory index of one directory. Lookups share the directory's vnode lock, so building it needs
/// a lock of its own.
struct DirCache {
    host::RwLock lock{host::Rank::fs_node};
    DirHashPool::Handle handle;
};

/// A directory as the functions below see it. Its vnode is locked: shared to search, exclusively to
/// change it.
struct Directory {
    Volume& volume;
    Allocator& allocator;
    const HashKind& hash; // for new indexes; indexes on disk name their own version
    Inode& inode;
    DirCache* cache; // null: none

    uint64_t blocks() const { return inode.size >> volume.geometry.block_shift; }
    bool indexed() const {
        return volume.geometry.has_dir_index() && inode.flags & disk::inode_flag::index;
    }
    /// Block `n`; an empty Buf for a hole, which no directory should have, reported. EIO, EUCLEAN.
    Result<Buf> block(uint64_t n) const;
    [[nodiscard]] Errno damaged(uint64_t block, std::string_view what) const;
    uint8_t type_code(FileType type) const {
        return volume.geometry.has_filetype() ? file_type_code(type) : 0;
    }
};

/// Where an entry stands. Good until the directory changes.
struct EntryPlace {
    Buf buf;
    uint64_t block = 0; // of the directory
    uint32_t offset = 0;
    std::optional<uint32_t> previous;
    uint32_t inode = 0;
    uint8_t file_type = 0;
};

/// None: not there. EIO, EUCLEAN (not found, and a part of the directory could not be searched).
Result<std::optional<EntryPlace>> find_entry(const Directory& dir, std::string_view name);

/// `name` is not there. The directory may grow: `privileged` may use reserved blocks. Changes
/// dir.inode (size, blocks, flags), which the caller restores when `tx` is undone; on failure the
/// caller drops the in-memory hash, too. ENOSPC, EIO, EUCLEAN.
Result<EntryPlace> add_entry(Transaction& tx, Directory& dir, std::string_view name,
                             InodeNumber number, FileType type, bool privileged);
/// Nothing can fail.
void remove_entry(Transaction& tx, Directory& dir, EntryPlace& place, std::string_view name);
/// The entry keeps its name and gets another inode.
void replace_entry(Transaction& tx, Directory& dir, EntryPlace& place, InodeNumber number,
                   FileType type);
/// "." and ".." only. EIO, EUCLEAN.
Result<bool> is_empty(const Directory& dir);
/// The first block of a new directory.
std::vector<std::byte> first_block(const Directory& dir, InodeNumber self, InodeNumber parent);
/// The entry "..", which stands behind "." in the first block. EIO, EUCLEAN.
Result<EntryPlace> find_dotdot(const Directory& dir);

/// Entries from `cookie` on, as Vnode::readdir. What is damaged is reported and passed over, and
/// `damaged` set. Returns whether the end was reached. EIO, EINVAL.
Result<bool> read_directory(const Directory& dir, uint64_t cookie,
                            FunctionRef<bool(const DirEntry&)> sink, bool& damaged);

// --- shared by lookup, htree and readdir --------------------------------------------------------

/// Searches one block. Damage behind the entry does not matter, damage before it is reported and
/// sets `damaged`.
std::optional<EntryPlace> find_in_block(const Directory& dir, const Buf& buf, uint64_t block,
                                        std::string_view name, bool& damaged);
/// A new last block with `contents`, written at once. ENOSPC, EIO, EUCLEAN.
struct NewBlock {
    uint64_t number;
    Buf buf;
};
Result<NewBlock> append_block(Transaction& tx, Directory& dir, std::span<const std::byte> contents,
                              bool privileged);

} // namespace rump::ext2
