// The vnode operations of FAT. A vnode is a Node with the kernel's side of it.
#pragma once

#include "kernel/fs/clusters/vnode.h"
#include "kernel/fs/msdosfs/vfsops.h"

namespace rump::msdosfs {

class MsdosVnode final : public clusters::ClusterVnode {
public:
    MsdosVnode(MsdosMount& mount, std::shared_ptr<Node> node, uint32_t generation);
    Node& node() const { return static_cast<Node&>(file()); }

private:
    // lookup.cc
    Result<VnodeRef> find(Name name) override;
    Result<bool> next_listed(uint32_t slot, Listed& out) override;
    Result<bool> has_entries() override;
    Result<InodeNumber> parent() override;
    // vnops.cc
    Result<VnodeRef> make_file(Transaction& tx, Name name, bool read_only) override;
    Result<VnodeRef> make_directory(Transaction& tx, Name name) override;
    Result<void> erase_name(Transaction& tx, Name name, clusters::ClusterFile& victim) override;
    Result<VnodeRef> make(Name name, disk::DirEntry entry, Transaction& tx, Buf* child);
    // rename.cc
    Result<void> erase_slot(Transaction& tx, uint32_t slot) override;
    Result<void> replace(Transaction& tx, const RenameArgs& args) override;
    Result<void> move(Transaction& tx, const RenameArgs& args) override;

    MsdosMount& msdos_mount() const;
    Volume& volume() const { return node().volume(); }
};

/// The node of a vnode of this file system.
inline Node& node_of(Vnode& vnode) { return static_cast<MsdosVnode&>(vnode).node(); }

/// The entry of `name` in a directory, which is the one of `node`. EUCLEAN: it is another's.
Result<void> find_own_entry(Directory& directory, Name name, Node& node, Entry& out);

} // namespace rump::msdosfs
