// Transaction: one operation's changes of metadata, all or nothing in memory, and in an order or a
// journal that makes them safe on the device.
//
//     auto tx = TRY(mount.begin(credits));
//     auto& entry = tx.modify_as<disk::DirEntry>(buf, at, WritePhase::directory);
//     entry.inode = number;
//     tx.done();               // without this line, leaving the scope undoes it
//
// Transactions that finish between two commits make up an epoch. A commit (sync, fsync, the syncer
// every 5 s, memory pressure) waits until no transaction is open, lets the file system put its
// dirty in-core inodes and summaries into buffers (Mount::epoch_collect), copies what is dirty,
// lets new transactions go on, and hands the copies to the mount's journal:
//
//     open ──begin/done──> open ... ──commit──> collecting ──> writing ──> committed
//                                     (exclusive, memory only)    |            |
//                                          next epoch is open ────┘   Mount::epoch_committed
//
// - The ordered journal (file systems without one): file data and WritePhase::allocation, flush,
//   inode, flush, directory, flush; within directory by order(). So a cut leaves leaked blocks and
//   inodes, never a name or an inode that points to what is not there.
// - A log (JBD2, WAPBL) writes the copies to its log, flush, commit record, flush, and lets them go
//   home later; it ignores phases.
//
// Freed blocks and inodes must not be used again before the epoch that freed them is committed:
// file systems keep them on a pending list until epoch_committed (else a cut leaves one block in
// two files).
//
// Locks: begin() takes the epoch lock shared; vnode locks come before it. A transaction belongs to
// one thread and does not nest.
#pragma once

#include "kernel/sys/buf.h"

#include "hostshim/result.h"

#include <array>
#include <functional>
#include <vector>

namespace rump {

class Epoch;

/// What must be on the device before what, in mounts without a log. A block that is changed in two
/// phases in one epoch goes with the later one.
enum class WritePhase : uint8_t {
    allocation, // bitmaps, cylinder groups, FAT, free counts, superblock
    inode,      // inode tables, indirect blocks, extended attribute blocks
    directory,  // directory blocks; a dirent of a format without inodes
};
inline constexpr size_t write_phase_count = 3;

class Transaction {
public:
    Transaction(Transaction&& other) noexcept;
    Transaction& operator=(Transaction&&) = delete;
    /// Undoes everything unless done.
    ~Transaction();

    /// The bytes [offset, offset + length) of the block, to be changed by this transaction now,
    /// under the lock that protects them. An undo restores what stands there at this call.
    std::span<std::byte> modify(Buf& buf, size_t offset, size_t length, WritePhase phase);
    template<class T>
    T& modify_as(Buf& buf, size_t offset, WritePhase phase) {
        static_assert(alignof(T) == 1);
        return *reinterpret_cast<T*>(modify(buf, offset, sizeof(T), phase).data());
    }

    /// The present contents of `first`, with this transaction's changes, reach the device before
    /// `then` does. Call before changing either. EAGAIN: the epoch already needs the opposite
    /// order; undo, commit, try again (vfs::rename does). Nothing to do with a log.
    Result<void> order(Buf& first, Buf& then);

    /// Runs when the transaction is undone, in reverse order with the restored bytes: for changes
    /// that are not bytes of a buffer (in-core inodes), or share bytes with others (bitmaps).
    void on_abort(std::function<void()> undo);

    /// Keeps the changes and ends the transaction (releases the epoch lock). Nothing may follow.
    void done();

private:
    friend class Epoch;
    /// `holds_lock`: ends with a release of the epoch lock.
    Transaction(Epoch& epoch, bool holds_lock) : epoch_(&epoch), holds_lock_(holds_lock) {}
    void undo();
    void end();

    struct UndoStep {
        Buf buf; // empty: an action
        uint32_t offset = 0;
        uint32_t length = 0;
        size_t at = 0; // in saved_ or overflow_; of an action: index
    };
    Epoch* epoch_; // null: ended or moved from
    bool holds_lock_;
    std::vector<UndoStep> steps_;
    std::vector<std::byte> saved_;
    std::vector<std::function<void()>> actions_;
};

} // namespace rump
