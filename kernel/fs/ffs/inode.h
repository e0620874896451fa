// In-core inodes (inode(5)): what both versions say, decoded once, and the
// disk's block map as it is.
//
// An inode changes only within a transaction and under its vnode's exclusive
// lock; a commit collects dirty ones while no transaction is open, so it needs
// no lock of its own.
#pragma once

#include "kernel/fs/ffs/geometry.h"

#include "kernel/sys/buf.h"
#include "kernel/sys/transaction.h"
#include "kernel/sys/types.h"
#include "kernel/vfs/dirhash.h"

#include "hostshim/lock.h"

#include <array>
#include <atomic>
#include <span>

namespace rump::ffs {

class Volume;

inline constexpr unsigned pointer_count = disk::direct_count + disk::indirect_count;

/// What an inode says, without what only one version has.
struct InodeState {
    uint16_t mode = 0;
    uint16_t nlink = 0; // names that there are now, see Inode::deferred_links
    uint32_t uid = 0, gid = 0;
    uint32_t flags = 0; // here, for stat reads it
    uint64_t size = 0;
    uint64_t blocks = 0; // 512-byte units
    Timespec atime, mtime, ctime, btime;
    uint32_t gen = 0;
    uint32_t blksize = 0;
    uint32_t extsize = 0;
    uint32_t depth = 0; // FreeBSD: of a directory, below the root
    std::array<uint64_t, disk::ext_count> extb{};
    /// Block addresses or a short symlink's target, as on disk.
    std::array<std::byte, 120> area{};

    bool is_dir() const { return (mode & 0170000) == 0040000; }
    bool is_reg() const { return (mode & 0170000) == 0100000; }
    bool is_symlink() const { return (mode & 0170000) == 0120000; }
    bool is_device() const { return (mode & 0170000) == 0020000 || (mode & 0170000) == 0060000; }
};

class Inode {
    Volume& volume_;
    const uint64_t number_;
    std::atomic<bool> dirty_{false};
    // Names that are gone in memory and maybe not on disk: of the open epoch, and
    // of the one that is being committed.
    std::atomic<uint16_t> deferred_open_{0};
    std::atomic<uint16_t> deferred_sealed_{0};
    size_t dirty_slot_ = 0; // in the volume's list of dirty inodes; under that list's mutex

public:
    Inode(Volume& volume, uint64_t number) : volume_(volume), number_(number) {}
    ~Inode();
    Inode(const Inode&) = delete;
    Inode& operator=(const Inode&) = delete;

    Volume& volume() const { return volume_; }
    uint64_t number() const { return number_; }

    InodeState state;
    DirHashPool::Handle dirhash; // see dirindex.cc
    host::Mutex index_mutex{host::Rank::fs_node};
    std::atomic<bool> index_built{false};

    /// Address `i` of the map: 0..11 direct, 12..14 indirect. As on disk, not
    /// checked.
    uint64_t pointer(unsigned i) const;
    void set_pointer(unsigned i, uint64_t address);
    /// The target is in the inode.
    bool is_short_symlink() const;
    FileType type() const { return mode_to_type(state.mode); }

    /// Remembers the state, so that an abort of `tx` restores it, and marks the
    /// inode dirty. First thing before changing `state`.
    void begin_change(Transaction& tx);
    /// One name less; on disk only after the epoch that removed the name.
    void drop_link(Transaction& tx);
    /// The name moves: on disk the count is one too high until the epoch is
    /// committed, so that a cut between new and old name leaves none dangling.
    void move_link(Transaction& tx);

    bool dirty() const { return dirty_.load(std::memory_order_acquire) || deferred(); }
    bool deferred() const {
        return deferred_open_.load(std::memory_order_acquire) +
                   deferred_sealed_.load(std::memory_order_acquire) !=
               0;
    }

    // Allocation hints, under the vnode's lock.
    uint64_t next_lbn = 0;                   // the block after the one allocated last …
    uint64_t next_frag = 0;                  // … and where it would be contiguous
    bool fresh = false;                      // made in the open epoch: no name of it is on disk
    std::atomic<bool> cookies_inside{false}; // a reader stopped within a chunk: entries stay put
    // Somebody has seen that the directory has none; none are made.
    std::atomic<bool> without_whiteouts{false};
    // The chunk where the search for room begins in a directory without index.
    uint64_t room_from = 0;
    // Bytes of the device, in the last block: chunks that the directory had, and that it has on
    // disk until the epoch that took them off is committed.
    uint64_t cut_begin = 0, cut_end = 0;

private:
    friend class Volume;
    void defer_link(Transaction& tx);
};

/// Decodes the inode at `at` of a block of inodes.
InodeState decode_inode(const Geometry& geo, std::span<const std::byte> raw);
/// Writes `state` over the fields that it knows; others stay. `raw`: inode_size
/// bytes.
void encode_inode(const Geometry& geo, const InodeState& state, uint16_t nlink,
                  std::span<std::byte> raw);
/// False when the check hash is kept and wrong.
bool inode_hash_ok(const Geometry& geo, std::span<const std::byte> raw);

} // namespace rump::ffs
