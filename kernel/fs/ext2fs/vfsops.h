// A mounted ext2: superblock, allocator, the dirty in-core inodes and the list of orphans.
#pragma once

#include "kernel/fs/ext2fs/alloc.h"
#include "kernel/fs/ext2fs/hash.h"
#include "kernel/fs/ext2fs/volume.h"
#include "kernel/fs/ext2fs/xattr.h"
#include "kernel/sys/mount.h"

#include <unordered_set>

namespace rump::ext2 {

class Node;

class Ext2Mount final : public Mount {
public:
    /// Vnodes go first: they leave our lists.
    ~Ext2Mount() override;
    static FailureOr<std::unique_ptr<Mount>> create(Kernel& kernel, const FileSystemType& type,
                                                    MountArgs args);

    InodeNumber root_number() const override { return InodeNumber(disk::inode_root); }
    Result<StatVfs> statvfs() override;
    Result<uint64_t> trim(uint64_t offset, uint64_t length, uint64_t minimum) override;
    bool may_use_reserved(const Cred& cred) const override;
    std::vector<std::pair<std::string, std::string>> describe() override;

    // --- for vnodes
    // ----------------------------------------------------------------------------------

    Volume& volume() { return volume_; }
    const Geometry& geometry() const { return volume_.geometry; }
    Allocator& allocator() { return allocator_; }
    XattrStore& xattrs() { return xattrs_; }
    const HashKind& hash() const { return hash_; }

    /// The node's inode goes into its table when the epoch closes. Within a transaction.
    void mark_dirty(Node& node);
    /// Its table block has been written by other means.
    void mark_clean(Node& node);
    /// Puts the in-core inode into its table. Within a transaction. EIO, EUCLEAN.
    Result<void> store_node(Transaction& tx, Node& node);
    /// The node has lost its last name. Within a transaction, where nothing can fail any more.
    void add_removed(Node& node);
    /// It gives up its inode: it is on no list any more. True: its name's removal is not committed
    /// yet, so that the inode must stay as it is on the device until then.
    bool take_removed(Node& node);
    /// A node ends, maybe dirty or without a name on a mount that may write no more: no list knows
    /// it afterwards.
    void forget(Node& node);
    /// Deletes such an inode, and frees `freed`, when the open epoch is committed.
    void delete_later(Node& node, uint32_t dtime, FreeList&& freed);
    /// Turns a feature on that something now uses. Within a transaction.
    void use_ro_feature(uint32_t bit) { new_ro_features_.fetch_or(bit, std::memory_order_relaxed); }
    void use_compat_feature(uint32_t bit) {
        new_compat_features_.fetch_or(bit, std::memory_order_relaxed);
    }
    /// The table block and byte of an inode.
    Result<Buf> inode_block(InodeNumber number, uint32_t& offset);

protected:
    Result<std::unique_ptr<Vnode>> load(InodeNumber number) override;
    Result<void> epoch_collect(Transaction& tx) override;
    void epoch_committed(Transaction& tx) override;
    FailureOr<void> begin_writing() override;
    Result<void> end_writing() override;

private:
    Ext2Mount(Kernel& kernel, const FileSystemType& type, MountArgs args,
              const disk::Superblock& sb, const Geometry& geometry);
    FailureOr<void> start();
    FailureOr<void> root_vnode_check();
    Result<std::unique_ptr<Node>> load_node(InodeNumber number, bool orphan);
    Result<void> store_superblock(Transaction& tx);
    void refresh_superblock() REQUIRES(super_lock_);
    Result<void> write_superblock() REQUIRES(super_lock_);
    Result<void> write_backups() REQUIRES(super_lock_);
    Node* remove_orphan(Node& node) REQUIRES(orphan_lock_);
    bool remove_pending(Node& node) REQUIRES(orphan_lock_);
    void settle_removed();
    void delete_inodes(Transaction& tx);
    void process_orphans();
    Result<uint32_t> process_orphan(uint32_t number);

    Volume volume_;
    const uint16_t state_at_mount_;
    const HashKind hash_;
    const uint32_t reserved_uid_, reserved_gid_;
    Allocator allocator_;
    XattrStore xattrs_;

    host::Mutex super_lock_{host::Rank::fs_mount};
    disk::Superblock sb_ GUARDED_BY(super_lock_);
    disk::Superblock stored_ GUARDED_BY(super_lock_);   // as the device, or a buffer, has it
    uint32_t orphans_left_ GUARDED_BY(super_lock_) = 0; // of an earlier mount, not yet looked at

    // self-synchronized
    std::atomic<uint32_t> new_ro_features_{0};
    std::atomic<uint32_t> new_compat_features_{0};

    host::Mutex dirty_lock_{host::Rank::fs_mount};
    std::vector<Node*> dirty_ GUARDED_BY(dirty_lock_);

    host::Mutex orphan_lock_{host::Rank::fs_mount};
    Node* orphans_ GUARDED_BY(orphan_lock_) = nullptr; // newest first
    /// Without a name since the open epoch, and since the one that is being committed.
    std::vector<Node*> removed_open_ GUARDED_BY(orphan_lock_);
    std::vector<Node*> removed_committing_ GUARDED_BY(orphan_lock_);
    struct Deletion {
        uint32_t number;
        uint32_t dtime;
        bool directory;
        FreeList freed;
    };
    std::vector<Deletion> deletions_open_ GUARDED_BY(orphan_lock_);
    std::vector<Deletion> deletions_committing_ GUARDED_BY(orphan_lock_);
    /// The numbers of both: what the device says of them is no file any more.
    std::unordered_set<uint32_t> deleting_ GUARDED_BY(orphan_lock_);
};

} // namespace rump::ext2
