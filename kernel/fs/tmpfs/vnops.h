// TmpVnode: the operation table of tmpfs. Names and entries are in lookup.cc, rename in rename.cc,
// everything else in vnops.cc.
#pragma once

#include "kernel/fs/tmpfs/vfsops.h"
#include "kernel/sys/vnode.h"

namespace rump::tmpfs {

class TmpVnode final : public Vnode {
public:
    TmpVnode(TmpMount& mount, NodeRef node)
        : Vnode(mount, node->number, node->generation, node->type), node_(std::move(node)) {}

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

    Result<size_t> read(uint64_t offset, std::span<std::byte> out) override;
    Result<size_t> write(uint64_t offset, std::span<const std::byte> data,
                         bool privileged) override;
    Result<void> map(uint64_t offset, uint64_t length, ExtentList& out) override;
    Result<void> allocate(uint64_t offset, uint64_t length, bool keep_size, bool zero,
                          bool privileged) override;
    Result<void> deallocate(uint64_t offset, uint64_t length) override;
    Result<uint64_t> seek(uint64_t offset, Seek what) override;

    bool unlinked() const override { return node_->links.load(std::memory_order_acquire) == 0; }
    Result<void> inactive() override;

    Node& node() const { return *node_; }

private:
    TmpMount& tmp() const { return static_cast<TmpMount&>(mount()); }
    Timespec now() const;
    Result<VnodeRef> make(Name name, const NewNode& node, std::string_view target);
    void zero(uint64_t offset, uint64_t length);
    void resize(uint64_t size);

    const NodeRef node_;
};

/// Any vnode of a tmpfs mount is one of these.
inline Node& node_of(Vnode& vnode) { return static_cast<TmpVnode&>(vnode).node(); }

} // namespace rump::tmpfs
