// See node_table.h. The radix tree's pages are made on demand and kept until the end; slots are
// updated by atomic operations only:
//
// - enter() stores the vnode, then counts. While the count is above zero the slot's reference keeps
//   the vnode in core, so everyone who enters the number stores the same pointer.
// - forget() loads the pointer, then takes away from the count. Who brings it to zero drops the
//   reference that the slot held; who counts from zero gives it one. Both may happen at once: the
//   reference that goes and the one that comes are to the same vnode.
#include "p2k/node_table.h"

#include "kernel/kern/kernel.h"

#include <algorithm>

namespace rump::p2k {

NodeTable::NodeTable(Mount& mount, uint64_t dense_limit)
    : root_number_(mount.root_number().value()),
      dense_limit_(std::min<uint64_t>(dense_limit, UINT32_MAX)),
      top_(std::make_unique<std::array<std::atomic<Middle*>, 1u << top_bits>>()) {
    Counters& counters = mount.kernel().counters();
    enrolments_ = {counters.enrol("fuse.nodes", nodes), counters.enrol("fuse.lookups", lookups),
                   counters.enrol("fuse.forgets", forgets),
                   counters.enrol("fuse.released", released)};
}

NodeTable::~NodeTable() {
    release_all();
    for (auto& middle : *top_) {
        Middle* pages = middle.load(std::memory_order_relaxed);
        if (!pages) continue;
        for (auto& leaf : *pages) delete leaf.load(std::memory_order_relaxed);
        delete pages;
    }
}

void NodeTable::set_root(VnodeRef root) { root_ = std::move(root); }

NodeTable::Slot* NodeTable::find_slot(NodeId id) {
    Middle* middle = (*top_)[id >> (leaf_bits + middle_bits)].load(std::memory_order_acquire);
    if (!middle) return nullptr;
    Leaf* leaf =
        (*middle)[id >> leaf_bits & ((1u << middle_bits) - 1)].load(std::memory_order_acquire);
    return leaf ? &(*leaf)[id & ((1u << leaf_bits) - 1)] : nullptr;
}

namespace {

template<class T>
T& get_or_make(std::atomic<T*>& place) {
    if (T* there = place.load(std::memory_order_acquire)) return *there;
    auto fresh = std::make_unique<T>();
    T* expected = nullptr;
    if (place.compare_exchange_strong(expected, fresh.get(), std::memory_order_acq_rel))
        return *fresh.release();
    return *expected;
}

} // namespace

NodeTable::Slot& NodeTable::make_slot(NodeId id) {
    Middle& middle = get_or_make((*top_)[id >> (leaf_bits + middle_bits)]);
    Leaf& leaf = get_or_make(middle[id >> leaf_bits & ((1u << middle_bits) - 1)]);
    return leaf[id & ((1u << leaf_bits) - 1)];
}

Result<NodeId> NodeTable::enter(VnodeRef vnode) {
    const NodeId id = id_of(vnode->number());
    try {
        if (id > dense_limit_) {
            enter_sparse(id, vnode);
        } else {
            Slot& slot = make_slot(id);
            slot.vnode.store(vnode.get(), std::memory_order_release);
            if (slot.count.fetch_add(1, std::memory_order_acq_rel) == 0) {
                nodes.add();
                (void)vnode.release(); // the slot's
            }
        }
    } catch (const std::bad_alloc&) {
        return Errno::nomem;
    }
    lookups.add();
    return id;
}

void NodeTable::enter_sparse(NodeId id, VnodeRef& vnode) {
    Shard& shard = shard_of(id);
    host::MutexGuard guard(shard.mutex);
    auto [node, fresh] = shard.nodes.try_emplace(id, Sparse{vnode.get(), 0});
    ++node->second.count;
    if (!fresh) return;
    nodes.add();
    (void)vnode.release(); // the node's
}

Vnode* NodeTable::find(NodeId id) {
    if (id == root_node) return root_.get();
    if (id > dense_limit_) {
        Shard& shard = shard_of(id);
        host::MutexGuard guard(shard.mutex);
        auto node = shard.nodes.find(id);
        return node == shard.nodes.end() ? nullptr : node->second.vnode;
    }
    Slot* slot = find_slot(id);
    if (!slot || slot->count.load(std::memory_order_acquire) == 0) return nullptr;
    return slot->vnode.load(std::memory_order_acquire);
}

void NodeTable::forget(NodeId id, uint64_t count) {
    if (count == 0) return;
    if (id > dense_limit_) {
        forget_sparse(id, count); // the reference goes here, outside the shard's lock
        return;
    }
    Slot* slot = find_slot(id);
    if (slot) forget_slot(*slot, count);
}

void NodeTable::forget_slot(Slot& slot, uint64_t count) {
    Vnode* vnode = slot.vnode.load(std::memory_order_acquire);
    uint64_t had = slot.count.load(std::memory_order_acquire);
    uint64_t taken;
    do { // a host that forgets more than it looked up must not wrap the count
        taken = std::min(count, had);
    } while (!slot.count.compare_exchange_weak(had, had - taken, std::memory_order_acq_rel));
    forgets.add(taken);
    if (taken == 0 || had != taken) return;
    nodes.sub();
    VnodeRef::adopt(vnode).reset();
}

VnodeRef NodeTable::forget_sparse(NodeId id, uint64_t count) {
    Shard& shard = shard_of(id);
    host::MutexGuard guard(shard.mutex);
    auto node = shard.nodes.find(id);
    if (node == shard.nodes.end()) return {};
    const uint64_t taken = std::min(count, node->second.count);
    node->second.count -= taken;
    forgets.add(taken);
    if (node->second.count > 0) return {};
    VnodeRef last = VnodeRef::adopt(node->second.vnode);
    shard.nodes.erase(node);
    nodes.sub();
    return last;
}

void NodeTable::release_all() {
    auto drop = [this](Vnode* vnode, uint64_t count) {
        released.add(count);
        nodes.sub();
        VnodeRef::adopt(vnode).reset();
    };
    for (auto& middle : *top_) {
        Middle* pages = middle.load(std::memory_order_acquire);
        if (!pages) continue;
        for (auto& page : *pages) {
            Leaf* leaf = page.load(std::memory_order_acquire);
            if (!leaf) continue;
            for (Slot& slot : *leaf)
                if (uint64_t count = slot.count.exchange(0)) drop(slot.vnode.load(), count);
        }
    }
    for (Shard& shard : shards_) {
        std::unordered_map<NodeId, Sparse> rest;
        {
            host::MutexGuard guard(shard.mutex);
            rest.swap(shard.nodes);
        }
        for (auto& [id, node] : rest) drop(node.vnode, node.count);
    }
    root_.reset();
}

} // namespace rump::p2k
