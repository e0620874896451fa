// The vnode operations of FAT. A vnode is a Node with the kernel's side of it.
#pragma once

#include "kernel/fs/clusters/vnode.h"
#include "kernel/fs/msdosfs/vfsops.h"

namespace rump::msdosfs {

class MsdosVnode final : public clusters::ClusterVnode {
public:
    MsdosVnode(MsdosMount& mount, std::shared_ptr<Node> node, uint32_t generation);
    Node& node() const { return static_cast<Node&>(file()); }

    Result<VnodeRef> lookup(Name name) override;
    Result<VnodeRef> create(Name name, const NewNode& node) override;
    Result<VnodeRef> mkdir(Name name, const NewNode& node) override;

private:
    // lookup.cc
    Result<bool> next_listed(uint32_t slot, Listed& out) override;
    Result<bool> has_entries() override;
    Result<InodeNumber> parent() override;
    // vnops.cc
    Result<void> remove_entry(Name name, Vnode& victim) override;
    Result<VnodeRef> make(Name name, disk::DirEntry entry, Transaction& tx, Buf* child);
    Result<VnodeRef> try_mkdir(Name name);
    // rename.cc
    Result<void> erase_slot(Transaction& tx, uint32_t slot) override;
    Result<void> replace(const RenameArgs& args) override;
    Result<void> move(const RenameArgs& args) override;

    MsdosMount& msdos_mount() const;
    Volume& volume() const { return node().volume(); }
};

/// The node of a vnode of this file system.
inline Node& node_of(Vnode& vnode) { return static_cast<MsdosVnode&>(vnode).node(); }

/// The entry of `name` in a directory, which is the one of `node`. EUCLEAN: it is another's.
Result<void> find_own_entry(Directory& directory, Name name, Node& node, Entry& out);

} // namespace rump::msdosfs
