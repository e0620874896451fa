// The vnode operations of exFAT. A vnode is a Node with the kernel's side of it.
#pragma once

#include "kernel/fs/exfatfs/vfsops.h"
#include "kernel/sys/vnode.h"

namespace rump::exfatfs {

class ExfatVnode final : public Vnode {
public:
    ExfatVnode(ExfatMount& mount, std::shared_ptr<Node> node, uint32_t generation);
    Node& node() const { return *node_; }

    // lookup.cc
    Result<VnodeRef> lookup(Name name) override;
    Result<void> readdir(uint64_t cookie, DirSink sink) override;
    // vnops.cc
    Result<VnodeRef> create(Name name, const NewNode& node) override;
    Result<VnodeRef> mkdir(Name name, const NewNode& node) override;
    Result<VnodeRef> symlink(Name name, std::string_view target, const NewNode& node) override;
    Result<void> link(Name name, Vnode& target) override;
    Result<void> remove(Name name, Vnode& victim) override;
    Result<void> rmdir(Name name, Vnode& victim) override;
    Result<Attr> getattr() override;
    Result<void> setattr(const AttrChange& change) override;
    Result<void> fsync(bool data_only) override;
    Result<void> map(uint64_t offset, uint64_t length, ExtentList& out) override;
    Result<void> prepare_write(Transaction& tx, uint64_t offset, uint64_t length, bool privileged,
                               ExtentList& out) override;
    Result<void> finish_write(Transaction& tx, uint64_t end) override;
    Result<void> allocate(uint64_t offset, uint64_t length, bool keep_size, bool zero,
                          bool privileged) override;
    bool unlinked() const override { return node_->unlinked(); }
    bool dirty() const override { return node_->dirty(); }
    Result<void> inactive() override;
    // rename.cc
    Result<void> rename(const RenameArgs& args) override;
    // xattr.cc
    Result<size_t> getxattr(std::string_view name, std::span<std::byte> out) override;
    Result<void> setxattr(std::string_view name, std::span<const std::byte> value,
                          XattrSet how) override;
    Result<void> removexattr(std::string_view name) override;
    Result<void> listxattr(XattrSink sink) override;

private:
    ExfatMount& exfat_mount() const;
    Volume& volume() const { return node_->volume(); }
    Timespec now() const;
    /// The directory's own time of change. Within a transaction.
    void touch_directory();
    Result<VnodeRef> make(Name name, const SetHead& head, Transaction& tx);
    Result<void> remove_entry(Name name, Node& victim);
    void free_extras(std::span<const disk::Entry> extras);
    Result<void> replace(const RenameArgs& args);
    Result<void> move(const RenameArgs& args);

    const std::shared_ptr<Node> node_;
};

/// The node of a vnode of this file system.
inline Node& node_of(Vnode& vnode) { return static_cast<ExfatVnode&>(vnode).node(); }

/// The entry of `name` in a directory, which is the one of `node`. EUCLEAN: it is another's.
Result<void> find_own_entry(Directory& directory, Name name, Node& node, Entry& out);

} // namespace rump::exfatfs
