// Node table: which vnode a FUSE node id names, and how often the kernel has looked it up. The one
// place where lookups and forgets are counted.
//
// A node id is the inode's number (the root's swapped with 1, which FUSE gives the root), so that
// it is the same after a remount and in file handles. A node with lookups holds one vnode
// reference; the number can therefore not be used anew while the host knows it.
//
// Numbers up to `dense_limit` are found by a radix tree of pages without any lock; others (FAT
// makes 64-bit numbers) by sharded hash tables.
#pragma once

#include "kernel/kern/counters.h"
#include "kernel/sys/mount.h"
#include "kernel/sys/vnode.h"

#include "hostshim/lock.h"

#include <array>
#include <atomic>
#include <memory>
#include <unordered_map>

namespace rump::p2k {

using NodeId = uint64_t;
inline constexpr NodeId root_node = 1;

class NodeTable {
public:
    /// `dense_limit`: numbers above it go to the hash tables; at most 2^32 - 1 is used.
    NodeTable(Mount& mount, uint64_t dense_limit);
    ~NodeTable();
    NodeTable(const NodeTable&) = delete;
    NodeTable& operator=(const NodeTable&) = delete;

    NodeId id_of(InodeNumber number) const { return swap_root(number.value()); }
    InodeNumber number_of(NodeId id) const { return InodeNumber(swap_root(id)); }

    /// Pins the root: FUSE knows it without a lookup. Once, before any request.
    void set_root(VnodeRef root);
    /// Counts one lookup, and keeps the reference while there are any. ENOMEM: nothing is counted.
    Result<NodeId> enter(VnodeRef vnode);
    /// Null when the host has no lookup on it. Valid while the host keeps that lookup.
    Vnode* find(NodeId id);
    void forget(NodeId id, uint64_t count);
    /// Drops all: the host is gone and sends no forgets. Counted as `released`.
    void release_all();

    Counter lookups, forgets, released; // lookups = forgets + released once the host is gone
    Counter nodes;                      // with lookups, now

private:
    struct Slot {
        std::atomic<Vnode*> vnode{nullptr};
        std::atomic<uint64_t> count{0};
    };
    static constexpr unsigned leaf_bits = 9, middle_bits = 11, top_bits = 12;
    using Leaf = std::array<Slot, 1u << leaf_bits>;
    using Middle = std::array<std::atomic<Leaf*>, 1u << middle_bits>;
    struct Sparse {
        Vnode* vnode;
        uint64_t count;
    };
    struct Shard {
        host::Mutex mutex{host::Rank::p2k};
        std::unordered_map<NodeId, Sparse> nodes GUARDED_BY(mutex);
    };

    uint64_t swap_root(uint64_t n) const {
        return n == root_number_ ? root_node : n == root_node ? root_number_ : n;
    }
    Slot* find_slot(NodeId id);
    Slot& make_slot(NodeId id);
    Shard& shard_of(NodeId id) { return shards_[(id * 0x9e3779b97f4a7c15u) >> 58]; }
    void enter_sparse(NodeId id, VnodeRef& vnode);
    VnodeRef forget_sparse(NodeId id, uint64_t count);
    void forget_slot(Slot& slot, uint64_t count);

    // constant after construction
    const uint64_t root_number_;
    const uint64_t dense_limit_;
    VnodeRef root_;
    std::array<Counters::Enrolment, 4> enrolments_;

    // self-synchronized
    std::unique_ptr<std::array<std::atomic<Middle*>, 1u << top_bits>> top_;
    std::array<Shard, 64> shards_;
};

} // namespace rump::p2k
