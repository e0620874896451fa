// Epoch: the transactions between two commits of a mount, and the commit itself. See
// sys/transaction.h for the picture.
#pragma once

#include "kernel/kern/counters.h"
#include "kernel/sys/transaction.h"
#include "kernel/vfs/journal.h"

#include "hostshim/lock.h"

#include <atomic>
#include <memory>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace rump {

class BufferCache;
class Mount;

/// The host has no room for what the image, or its delta, would grow by. Nothing is broken then,
/// and there may be room later.
inline bool host_is_full(Errno error) { return error == Errno::nospc || error == Errno::dquot; }

class Epoch {
public:
    /// `buffers` is null for a mount without a device: transactions then only undo.
    Epoch(Mount& mount, BufferCache* buffers);
    ~Epoch();
    void set_journal(std::unique_ptr<Journal> journal);
    Journal* journal() { return journal_.get(); }

    /// See Mount::begin.
    Result<Transaction> begin() NO_THREAD_SAFETY_ANALYSIS;
    /// Commits what is dirty and waits until it is durable; with nothing dirty, only flushes the
    /// device when file data was written since the last flush. Concurrent callers share one commit.
    /// `settle`: also what the commit itself frees in the maps (sync, unmount). Locks: none of rank
    /// commit or later, no transaction open. EIO. ENOSPC, EDQUOT: the host is full; all stays
    /// dirty, and the next commit tries again.
    Result<void> commit(bool settle = false);
    /// Something was written past the buffer cache: the next commit must flush.
    void note_data_written() { data_written_.store(true, std::memory_order_relaxed); }
    /// This thread has a transaction of this mount open. For ASSERT only, as RwLock::held().
    bool in_transaction() const { return host::lock_tracking && open_lock_.held(); }

    Counter transactions, commits, flushes; // enrolled by the mount

private:
    friend class Transaction;
    struct Staging;

    Result<void> commit_round(bool& freed) REQUIRES(commit_mutex_);
    Result<void> collect(Staging& staging) NO_THREAD_SAFETY_ANALYSIS;
    void stage_dirty_blocks(Staging& staging);
    void put_back(Staging& staging);
    /// Does the block at `one` have to be on the device before the one at `other`?
    bool precedes(uint64_t one, uint64_t other) REQUIRES(order_mutex_);
    void follow(uint64_t first, uint64_t then) REQUIRES(order_mutex_);
    void close() NO_THREAD_SAFETY_ANALYSIS;

    // constant after mounting
    Mount& mount_;
    BufferCache* const buffers_;
    std::unique_ptr<Journal> journal_;

    host::Mutex commit_mutex_{host::Rank::commit};
    uint64_t committed_ GUARDED_BY(commit_mutex_) = 0; // epochs below this number are durable
    bool host_full_ GUARDED_BY(commit_mutex_) = false; // and that was said

    host::RwLock open_lock_{host::Rank::epoch}; // shared: a transaction; exclusive: collecting

    // self-synchronized
    std::atomic<bool> data_written_{false};
    std::atomic<bool> failed_{false};
    std::atomic<uint64_t> sequence_{0};      // of the open epoch
    std::atomic<uint32_t> in_open_epoch_{0}; // transactions

    // order() within the open epoch, by offset of blocks: first -> those that wait for it
    host::Mutex order_mutex_{host::Rank::journal};
    std::unordered_map<uint64_t, std::vector<uint64_t>> followers_ GUARDED_BY(order_mutex_);
    std::unordered_set<uint64_t> waiting_ GUARDED_BY(order_mutex_); // all that follow
};

} // namespace rump
