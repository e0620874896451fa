// TmpMount: a mounted tmpfs.
#pragma once

#include "kernel/fs/tmpfs/inode.h"
#include "kernel/sys/mount.h"

namespace rump::tmpfs {

/// The options of tmpfs(5), checked.
struct TmpOptions {
    uint64_t bytes = 0;
    uint64_t nodes = 0;
    uint32_t mode = 01777; // of the root, as its owner and group
    uint32_t uid = 0;
    uint32_t gid = 0;
};

class TmpMount final : public Mount {
public:
    /// ENOMEM.
    static FailureOr<std::unique_ptr<Mount>> create(Kernel& kernel, const FileSystemType& type,
                                                    MountArgs args, const TmpOptions& options);

    InodeNumber root_number() const override { return InodeNumber(NodeTable::root_number); }
    Result<StatVfs> statvfs() override;
    std::vector<std::pair<std::string, std::string>> describe() override;

    Budget& budget() { return budget_; }
    NodeTable& nodes() { return nodes_; }
    /// Seeds the hashes of directories.
    uint64_t hash_seed() const { return hash_seed_; }

protected:
    Result<std::unique_ptr<Vnode>> load(InodeNumber number) override;

private:
    TmpMount(Kernel& kernel, const FileSystemType& type, MountArgs args, const TmpOptions& options);

    // constant
    const uint64_t hash_seed_;
    const uint64_t fsid_;

    // self-synchronized
    Budget budget_;
    NodeTable nodes_;
};

} // namespace rump::tmpfs
