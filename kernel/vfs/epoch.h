// Epoch: the transactions between two commits of a mount, and the commit itself. See
// sys/transaction.h for the picture.
#pragma once

#include "kernel/kern/counters.h"
#include "kernel/sys/transaction.h"
#include "kernel/vfs/journal.h"

#include "hostshim/lock.h"

#include <atomic>
#include <memory>

namespace rump {

class BufferCache;
class Mount;

class Epoch {
public:
    /// `buffers` is null for a mount without a device: transactions then only undo.
    Epoch(Mount& mount, BufferCache* buffers);
    ~Epoch();
    void set_journal(std::unique_ptr<Journal> journal);
    Journal* journal() { return journal_.get(); }

    /// See Mount::begin.
    Result<Transaction> begin();
    /// Commits what is dirty and waits until it is durable; with nothing dirty, only flushes the
    /// device when file data was written since the last flush. Concurrent callers share one commit.
    /// Locks: none of rank epoch or later, no transaction open. EIO.
    Result<void> commit();
    /// Something was written past the buffer cache: the next commit must flush.
    void note_data_written() { data_written_.store(true, std::memory_order_relaxed); }
    /// True while this thread has a transaction open (debug builds; for ASSERT only).
    static bool in_transaction();

    Counter transactions, commits, flushes; // enrolled by the mount

private:
    friend class Transaction;

    Result<void> commit_round(bool& again) REQUIRES(commit_mutex_);
    void finish(Transaction& tx, bool keep);

    // constant after mounting
    Mount& mount_;
    BufferCache* const buffers_;
    std::unique_ptr<Journal> journal_;

    host::Mutex commit_mutex_{host::Rank::commit};
    uint64_t commit_done_ GUARDED_BY(commit_mutex_) = 0;

    host::RwLock open_lock_{host::Rank::epoch}; // shared: a transaction; exclusive: collecting

    // self-synchronized
    std::atomic<bool> data_written_{false};
    std::atomic<bool> failed_{false};
    std::atomic<uint64_t> sequence_{0}; // of the open epoch

    // rename order within the epoch
    host::Mutex order_mutex_{host::Rank::journal};
    struct OrderEdge {
        Buf first;
        Buf then;
    };
    std::vector<OrderEdge> edges_ GUARDED_BY(order_mutex_);
};

} // namespace rump
