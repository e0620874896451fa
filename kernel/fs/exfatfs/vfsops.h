// The exFAT file system as the kernel sees it: its type and its mounts.
#pragma once

#include "kernel/fs/exfatfs/dir.h"
#include "kernel/fs/exfatfs/volume.h"
#include "kernel/sys/filesystem.h"

namespace rump::exfatfs {

/// exFAT.
const FileSystemType& type();

class ExfatMount final : public Mount {
public:
    ExfatMount(Kernel& kernel, const FileSystemType& type, MountArgs args, const Geometry& geometry,
               const clusters::Options& options, SystemFiles system);
    ~ExfatMount() override;

    Volume& volume() { return volume_; }
    /// The vnode of a set that was found in `directory` just now, which is locked.
    Result<VnodeRef> vnode_of(Node& directory, const Entry& entry);
    /// A vnode for what was made just now.
    VnodeRef insert_vnode(std::shared_ptr<Node> node);
    /// The number of the directory that an entry lies in; ESTALE: none. Looks through the whole
    /// tree when no path has led there since mounting.
    Result<InodeNumber> directory_of(uint64_t position);

    InodeNumber root_number() const override { return vfs::DirentNumbers::root; }
    Result<StatVfs> statvfs() override;
    Result<uint64_t> trim(uint64_t offset, uint64_t length, uint64_t minimum) override;
    std::vector<std::pair<std::string, std::string>> describe() override;

protected:
    Result<std::unique_ptr<Vnode>> load(InodeNumber number) override;
    Result<void> epoch_collect(Transaction& tx) override;
    void epoch_committed(Transaction& tx) override;
    FailureOr<void> begin_writing() override;
    Result<void> end_writing() override;

private:
    std::shared_ptr<Node> root_node();
    Result<std::unique_ptr<Vnode>> load_set(InodeNumber number, Node& directory, uint32_t slot);
    void list_directories(Node& node, clusters::Space::Files& below);
    // rename.cc
    void find_twins();
    Result<void> set_state(Transaction& tx, bool clean, uint8_t percent_in_use);
    void report_upcase();

    Volume volume_;
};

} // namespace rump::exfatfs
