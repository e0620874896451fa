// Locks of the emulated kernel, annotated for clang's thread-safety analysis, ranked where
// lock_tracking is on.
//
// The lock order of the whole suite is the order of `Rank`: a thread takes locks in rising rank
// only. Locks of one rank are taken together only where the rank says "several". A violation is our
// bug and asserts where lock_tracking is on; release builds do not track it. try_lock may be called
// in any order: it cannot wait, so it cannot deadlock.
#pragma once

#include "hostshim/annotations.h"

#include <atomic>
#include <cstdint>
#include <source_location>

namespace rump::host {

/// Whether this build tracks what each thread holds: checks the order of ranks, answers held()
/// about the calling thread. Too dear for every day: debug and sanitizer builds do (meson.build).
#ifdef RUMP_TRACK_LOCKS
inline constexpr bool lock_tracking = true;
#else
inline constexpr bool lock_tracking = false;
#endif

/// Outermost first. One line a lock, so that this list is the lock order.
enum class Rank : uint8_t {
    kernel_mounts, // the kernel's table of mounts
    mount_state,   // remount and unmount of one mount
    rename,        // renames of directories between directories, per mount
    vnode,         // a vnode; several: directories (a second one under `rename`), files by address
    commit,        // one commit of a mount at a time; takes no vnode locks
    epoch,         // held shared by a transaction, exclusively while a commit collects
    fs_node,       // in-core inode state beside the vnode lock
    fs_mount,      // a file system's own state (groups, free counts, lists); several: its own order
    fs_group,      // one cylinder or block group
    vnode_cache,   // shards of the vnode cache
    name_cache,    // shards of the name cache
    dirhash,       // in-memory directory indexes and their memory limit
    buffer_cache,  // shards of the buffer cache
    buffer,        // one buffer's state while it is read
    journal,       // lists of a journal or an epoch
    p2k,           // adapters' tables
    device,        // block devices with state (overlay, recording, faulty); several: outer first
    workers,       // queues of the worker threads
    counters,      // registration of counters
    log,           // the log sink
    leaf,          // nothing is taken under it
};

/// Mutual exclusion. Not recursive.
class CAPABILITY("mutex") Mutex {
public:
    explicit Mutex(Rank rank) : rank_(rank) {}
    Mutex(const Mutex&) = delete;
    Mutex& operator=(const Mutex&) = delete;

    void lock() ACQUIRE();
    bool try_lock() TRY_ACQUIRE(true);
    void unlock() RELEASE();
    /// True if some thread holds it; where lock_tracking is on: if this thread does. For ASSERT
    /// only.
    bool held() const;
    Rank rank() const { return rank_; }

private:
    void lock_slow();

    std::atomic<uint32_t> state_{0}; // 0 free, 1 held, 2 held and somebody waits
    const Rank rank_;
};

/// Many readers or one writer. A waiting writer keeps new readers out, so a thread never takes the
/// same lock shared twice. Not recursive, no upgrade. 8 bytes: every vnode has one.
class CAPABILITY("rwlock") RwLock {
public:
    explicit RwLock(Rank rank) : rank_(rank) {}
    RwLock(const RwLock&) = delete;
    RwLock& operator=(const RwLock&) = delete;

    void lock() ACQUIRE();
    bool try_lock() TRY_ACQUIRE(true);
    void unlock() RELEASE();
    void lock_shared() ACQUIRE_SHARED();
    bool try_lock_shared() TRY_ACQUIRE_SHARED(true);
    void unlock_shared() RELEASE_SHARED();

    /// For ASSERT only: exact where lock_tracking is on, "somebody holds it" otherwise.
    bool held_exclusive() const;
    bool held() const; // shared or exclusive
    Rank rank() const { return rank_; }

private:
    void lock_slow();
    void lock_shared_slow();

    std::atomic<uint32_t> state_{0}; // writer, waiting writers, waiting readers, readers: lock.cc
    const Rank rank_;
};

/// Waits with a Mutex, as std::condition_variable does: spurious wake-ups happen, loop on the
/// condition.
class CondVar {
public:
    void wait(Mutex& mutex) REQUIRES(mutex);
    /// False on time-out. `timeout_ns` is relative, monotonic.
    bool wait_for(Mutex& mutex, uint64_t timeout_ns) REQUIRES(mutex);
    void notify_one();
    void notify_all();

private:
    bool wait_until_notified(Mutex& mutex, const uint64_t* timeout_ns) REQUIRES(mutex);

    std::atomic<uint32_t> sequence_{0}; // what waiters sleep on; moves with every notification
    std::atomic<uint32_t> waiters_{0};  // counted under the mutex, so that notifying nobody is free
};

template<class M>
class SCOPED_CAPABILITY LockGuard {
public:
    explicit LockGuard(M& mutex) ACQUIRE(mutex) : mutex_(mutex) { mutex_.lock(); }
    ~LockGuard() RELEASE() { mutex_.unlock(); }
    LockGuard(const LockGuard&) = delete;
    LockGuard& operator=(const LockGuard&) = delete;

private:
    M& mutex_;
};
using MutexGuard = LockGuard<Mutex>;
using ExclusiveGuard = LockGuard<RwLock>;

class SCOPED_CAPABILITY SharedGuard {
public:
    explicit SharedGuard(RwLock& lock) ACQUIRE_SHARED(lock) : lock_(lock) { lock_.lock_shared(); }
    ~SharedGuard() RELEASE() { lock_.unlock_shared(); }
    SharedGuard(const SharedGuard&) = delete;
    SharedGuard& operator=(const SharedGuard&) = delete;

private:
    RwLock& lock_;
};

} // namespace rump::host
