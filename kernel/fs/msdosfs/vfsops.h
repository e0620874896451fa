// The FAT file system as the kernel sees it: its type and its mounts.
#pragma once

#include "kernel/fs/msdosfs/dir.h"
#include "kernel/fs/msdosfs/volume.h"
#include "kernel/sys/filesystem.h"

namespace rump::msdosfs {

/// FAT12, FAT16 and FAT32, with long names.
const FileSystemType& type();

class MsdosMount final : public Mount {
public:
    MsdosMount(Kernel& kernel, const FileSystemType& type, MountArgs args, Geometry geometry,
               NameRules names, const clusters::Options& options, std::optional<uint32_t> free_hint,
               std::optional<uint32_t> next_hint, Marks found);
    ~MsdosMount() override;

    Volume& volume() { return volume_; }
    /// The vnode of an entry that was found just now, its directory locked.
    Result<VnodeRef> vnode_of(const Entry& entry);
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
    std::shared_ptr<Node> make_node(InodeNumber number, uint64_t position,
                                    const disk::DirEntry& entry);
    std::shared_ptr<Node> root_node();
    void list_directories(Node& node, clusters::Space::Files& below);
    // rename.cc
    void find_twins();
    Result<void> set_state(Transaction& tx, bool clean);
    FailureOr<void> mark_in_use();
    Result<void> write_fsinfo(Transaction& tx);

    Volume volume_;
    const Marks found_; // before us; they stay until somebody checks
    // Of the commit in progress only: what FSInfo says.
    std::optional<clusters::Allocator::Hints> written_hints_;
};

/// The label in the root directory, else that of the boot sector; empty: none. Reads the device
/// itself.
std::string read_label(host::BlockDevice& device, const Geometry& geometry,
                       const CodePage& code_page);

} // namespace rump::msdosfs
