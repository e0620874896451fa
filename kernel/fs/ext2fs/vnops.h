// Vnodes of ext2.
#pragma once

#include "kernel/fs/ext2fs/inode.h"
#include "kernel/fs/ext2fs/lookup.h"
#include "kernel/fs/ext2fs/vfsops.h"
#include "kernel/sys/vnode.h"

namespace rump::ext2 {

class Node final : public Vnode {
public:
    Node(Ext2Mount& mount, const Inode& inode)
        : Vnode(mount, InodeNumber(inode.number), inode.generation, inode.type()), inode_(inode),
          unlinked_(inode.links == 0) {}
    ~Node() override {
        fs().forget(*this);
        delete cache_.load(std::memory_order_relaxed);
    }

    Ext2Mount& fs() const { return static_cast<Ext2Mount&>(mount()); }
    const Inode& inode() const { return inode_; }

    Result<VnodeRef> lookup(Name name) override;
    Result<void> readdir(uint64_t cookie, DirSink sink) override;
    Result<VnodeRef> create(Name name, const NewNode& node) override;
    Result<VnodeRef> mkdir(Name name, const NewNode& node) override;
    Result<VnodeRef> symlink(Name name, std::string_view target, const NewNode& node) override;
    Result<void> link(Name name, Vnode& target) override;
    Result<void> remove(Name name, Vnode& victim) override;
    Result<void> rmdir(Name name, Vnode& victim) override;
    Result<void> rename(const RenameArgs& args) override;

    Result<Attr> getattr() override;
    Result<void> setattr(const AttrChange& change) override;
    Result<std::string> readlink() override;
    Result<void> fsync(bool data_only) override;

    Result<size_t> getxattr(std::string_view name, std::span<std::byte> out) override;
    Result<void> setxattr(std::string_view name, std::span<const std::byte> value,
                          XattrSet how) override;
    Result<void> removexattr(std::string_view name) override;
    Result<void> listxattr(XattrSink sink) override;

    Result<void> map(uint64_t offset, uint64_t length, ExtentList& out) override;
    bool overwritable() override { return true; }
    Result<void> prepare_write(Transaction& tx, uint64_t offset, uint64_t length, bool privileged,
                               ExtentList& out) override;
    Result<void> finish_write(Transaction& tx, uint64_t end) override;
    Result<void> allocate(uint64_t offset, uint64_t length, bool keep_size, bool zero,
                          bool privileged) override;
    Result<void> deallocate(uint64_t offset, uint64_t length) override;

    bool unlinked() const override { return unlinked_.load(std::memory_order_acquire); }
    bool dirty() const override { return dirty_slot_.load(std::memory_order_acquire) != not_dirty; }
    Result<void> inactive() override;

private:
    friend class Ext2Mount;
    friend class InodeChange;
    static constexpr uint32_t not_dirty = UINT32_MAX;

    const Geometry& geometry() const { return fs().geometry(); }
    uint64_t blocks_of(uint64_t bytes) const {
        return (bytes + geometry().block_size - 1) >> geometry().block_shift;
    }
    Directory directory();
    void touch(bool mtime); // ctime, and mtime, become now
    void drop_links(unsigned count);
    XattrTarget xattr_target(bool privileged);

    Inode make_inode(InodeNumber number, const NewNode& node, FileType type) const;
    Result<VnodeRef> make(Name name, const NewNode& node, FileType type, std::string_view target);
    Result<void> fill_new(Transaction& tx, Node& made, const NewNode& node,
                          std::string_view target);
    Result<void> fill_holes(Transaction& tx, uint64_t first, uint64_t count, bool privileged,
                            ExtentList& out);
    Result<void> shrink(Transaction& tx, uint64_t size, FreeList& freed);
    Result<void> allocate_piece(uint64_t offset, uint64_t length, bool zero, bool privileged);
    Result<void> remove_linked(Name name, Node& victim);

    Result<void> rename_over(const RenameArgs& args);
    Result<void> rename_exchange(const RenameArgs& args);

    Inode inode_; // by the vnode lock; changed under a transaction only
    std::atomic<DirCache*> cache_{nullptr};
    Node* orphan_next_ = nullptr;     // by the mount's orphan lock
    Node* orphan_previous_ = nullptr; // by the mount's orphan lock
    std::atomic<uint32_t> dirty_slot_{not_dirty};
    enum class Removal : uint8_t { none, pending, orphan };
    Removal removal_ = Removal::none; // by the mount's orphan lock
    std::atomic<bool> unlinked_;
    std::atomic<bool> damaged_{false}; // a directory of which a part cannot be read
};

/// A change of a node's in-core inode that goes back unless keep() is called; made after the
/// transaction, so that it ends before it.
class InodeChange {
public:
    explicit InodeChange(Node& node) : node_(node), before_(node.inode_) {}
    ~InodeChange() {
        if (!kept_) restore();
    }
    InodeChange(const InodeChange&) = delete;
    InodeChange& operator=(const InodeChange&) = delete;
    void keep() {
        kept_ = true;
        node_.fs().mark_dirty(node_);
    }

private:
    /// The in-memory hash of a directory may know of what is undone.
    void restore() {
        node_.inode_ = before_;
        if (DirCache* cache = node_.cache_.load()) {
            host::ExclusiveGuard guard(cache->lock);
            cache->handle.drop();
        }
    }
    Node& node_;
    const Inode before_;
    bool kept_ = false;
};

} // namespace rump::ext2
