// FfsMount: mounting, the superblock's life, statvfs. FfsType: what the kernel
// knows of FFS.
#pragma once

#include "kernel/fs/ffs/ffs.h"
#include "kernel/fs/ffs/volume.h"
#include "kernel/fs/ffs/wapbl.h"

#include "kernel/sys/filesystem.h"

namespace rump::ffs {

class FfsMount final : public Mount {
public:
    FfsMount(Kernel& kernel, const FileSystemType& type, MountArgs args, const Geometry& geo,
             std::vector<std::byte> superblock, LogOverlay* log);
    ~FfsMount() override;

    /// Reads what is needed to answer anything. EIO, EUCLEAN.
    Result<void> prepare();

    Volume& volume() { return volume_; }

    InodeNumber root_number() const override { return InodeNumber(disk::root_inode); }
    Result<StatVfs> statvfs() override;
    std::vector<std::pair<std::string, std::string>> describe() override;

protected:
    Result<std::unique_ptr<Vnode>> load(InodeNumber number) override;
    Result<void> epoch_collect(Transaction& tx) override;
    void epoch_committed(Transaction& tx) override;
    FailureOr<void> begin_writing() override;
    Result<void> end_writing() override;

private:
    bool says_clean() const;
    FailureOr<void> refuse_writing() const;
    FailureOr<void> recover();
    void reap_unlinked();
    disk::Superblock& sb() { return *reinterpret_cast<disk::Superblock*>(superblock_.data()); }
    const disk::Superblock& sb() const {
        return *reinterpret_cast<const disk::Superblock*>(superblock_.data());
    }
    /// Counts, time and hash into superblock_.
    void refresh_superblock();
    /// Straight to the device, durable.
    Result<void> write_superblock();

    std::vector<std::byte> superblock_; // as it is to be on disk
    Volume volume_;
    LogOverlay* const log_; // the device, when a log had to be replayed
    std::optional<LogPlace> log_place_;
    const bool keeps_state_; // fs_state means something
    bool was_clean_;
};

} // namespace rump::ffs
