// Inodes without a name.
//
// A removed name must be gone from the device before its inode is, and the inode before its blocks
// are anybody else's, so the three go in three commits:
//
//     remove ──> pending ──commit──> orphan, while it is open ──inactive──> deleted ──commit──>
//     free
//                   └──inactive──> deletion waits ──commit──> deleted ──commit──> free
//
// Orphans are a list on disk, from the superblock's last_orphan through each one's dtime, so that
// the next mount (or e2fsck) frees what a crash left open. In core the list has both directions;
// commits write it down.
#include "kernel/fs/ext2fs/vfsops.h"
#include "kernel/fs/ext2fs/vnops.h"
#include "kernel/kern/kernel.h"
#include "kernel/vfs/vnode_cache.h"

#include <algorithm>
#include <unordered_set>

namespace rump::ext2 {

using host::MutexGuard;

void Ext2Mount::add_removed(Node& node) {
    MutexGuard guard(orphan_lock_);
    ASSERT(node.removal_ == Node::Removal::none);
    node.removal_ = Node::Removal::pending;
    removed_open_.push_back(&node);
}

bool Ext2Mount::take_removed(Node& node) {
    MutexGuard guard(orphan_lock_);
    const auto was = std::exchange(node.removal_, Node::Removal::none);
    if (was == Node::Removal::pending) return remove_pending(node);
    if (was == Node::Removal::none) return false;                // an orphan of an earlier mount
    if (Node* before = remove_orphan(node)) mark_dirty(*before); // names another successor now
    return false;
}

void Ext2Mount::forget(Node& node) {
    if (node.unlinked()) {
        MutexGuard guard(orphan_lock_);
        const auto was = std::exchange(node.removal_, Node::Removal::none);
        if (was == Node::Removal::pending) (void)remove_pending(node);
        if (was == Node::Removal::orphan) (void)remove_orphan(node);
    }
    if (node.dirty()) mark_clean(node);
}

bool Ext2Mount::remove_pending(Node& node) {
    for (auto* list : {&removed_open_, &removed_committing_}) {
        // Most go as soon as they are removed: the last one is the likeliest.
        const auto it = std::find(list->rbegin(), list->rend(), &node);
        if (it == list->rend()) continue;
        *it = list->back();
        list->pop_back();
        return true;
    }
    return false;
}

/// Returns the one before it on the list, null when it was the first.
Node* Ext2Mount::remove_orphan(Node& node) {
    if (node.orphan_next_) node.orphan_next_->orphan_previous_ = node.orphan_previous_;
    Node* before = node.orphan_previous_;
    (before ? before->orphan_next_ : orphans_) = node.orphan_next_;
    return before;
}

void Ext2Mount::delete_later(Node& node, uint32_t dtime, FreeList&& freed) {
    allocator_.expect(freed, 1);
    MutexGuard guard(orphan_lock_);
    deleting_.insert(node.inode_.number);
    deletions_open_.push_back({node.inode_.number, dtime, node.is_dir(), std::move(freed)});
}

/// The names are gone for good: who is still open joins the list on disk.
void Ext2Mount::settle_removed() {
    MutexGuard guard(orphan_lock_);
    for (Node* node : removed_committing_) {
        node->removal_ = Node::Removal::orphan;
        node->orphan_previous_ = nullptr;
        node->orphan_next_ = orphans_;
        if (orphans_) orphans_->orphan_previous_ = node;
        orphans_ = node;
        mark_dirty(*node);
    }
    removed_committing_.clear();
}

/// Those whose names are gone for good.
void Ext2Mount::delete_inodes(Transaction& tx) {
    std::vector<Deletion> done;
    {
        MutexGuard guard(orphan_lock_);
        done.swap(deletions_committing_);
    }
    for (Deletion& deletion : done) {
        const InodeNumber number(deletion.number);
        allocator_.unexpect(deletion.freed, 1);
        uint32_t offset = 0;
        auto table = inode_block(number, offset);
        if (!table) continue; // reported; its space stays lost
        auto& inode = tx.modify_as<disk::Inode>(*table, offset, WritePhase::inode);
        inode.links = 0;
        inode.dtime = deletion.dtime;
        allocator_.release(std::move(deletion.freed));
        allocator_.release_inode(number, deletion.directory);
        MutexGuard guard(orphan_lock_);
        deleting_.erase(deletion.number);
    }
}

/// Frees one orphan of an earlier mount; returns the next one's number. EIO, EUCLEAN.
Result<uint32_t> Ext2Mount::process_orphan(uint32_t number) {
    auto loaded = load_node(InodeNumber(number), true);
    if (!loaded && loaded.error() == Errno::stale)
        return volume_.corrupt("orphan list: inode {} is not in use", number);
    auto node = TRY(std::move(loaded));
    const uint32_t next = node->inode_.dtime;
    if (node->inode_.links > 0) {
        // It has a name: a truncation was interrupted. Nothing of the file is behind its end.
        auto tx = TRY(begin());
        node->inode_.dtime = 0;
        TRY(store_node(tx, *node));
        tx.done();
        return next;
    }
    VnodeRef ref = vnodes().insert(std::move(node));
    ref.reset(); // the last reference to an unlinked file
    return next;
}

void Ext2Mount::process_orphans() {
    std::unordered_set<uint32_t> seen;
    uint32_t number = 0;
    {
        MutexGuard guard(super_lock_);
        number = orphans_left_;
    }
    if (number == 0) return;
    uint64_t freed = 0;
    while (number != 0) {
        if (!seen.insert(number).second) {
            (void)volume_.corrupt("orphan list: inode {} comes twice", number);
            break;
        }
        auto next = process_orphan(number);
        if (!next) break; // reported
        ++freed;
        number = *next;
        MutexGuard guard(super_lock_);
        orphans_left_ = number;
    }
    MutexGuard guard(super_lock_);
    orphans_left_ = 0;
    kernel().log().info("ext2fs: {} removed files that were open at the last unmount are freed",
                        freed);
}

} // namespace rump::ext2
