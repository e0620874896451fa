// Orphans: inodes without a name that somebody has open. Their numbers are a list on disk, from the
// superblock's last_orphan through each one's dtime, so that the next mount (or e2fsck) frees what
// a crash left open. In core the list has both directions; commits write it down.
#include "kernel/fs/ext2fs/vfsops.h"
#include "kernel/fs/ext2fs/vnops.h"
#include "kernel/kern/kernel.h"
#include "kernel/vfs/vnode_cache.h"

#include <unordered_set>

namespace rump::ext2 {

using host::MutexGuard;

void Ext2Mount::add_orphan(Node& node) {
    MutexGuard guard(orphan_lock_);
    ASSERT(!node.is_orphan_);
    node.is_orphan_ = true;
    node.orphan_previous_ = nullptr;
    node.orphan_next_ = orphans_;
    if (orphans_) orphans_->orphan_previous_ = &node;
    orphans_ = &node;
}

void Ext2Mount::remove_orphan(Node& node) {
    Node* changed = nullptr;
    {
        MutexGuard guard(orphan_lock_);
        if (!node.is_orphan_) return;
        node.is_orphan_ = false;
        if (node.orphan_next_) node.orphan_next_->orphan_previous_ = node.orphan_previous_;
        changed = node.orphan_previous_;
        (changed ? changed->orphan_next_ : orphans_) = node.orphan_next_;
    }
    // The one before names another successor now. It is on the list, so it is in core.
    if (changed) mark_dirty(*changed);
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
