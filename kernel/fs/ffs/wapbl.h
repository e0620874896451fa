// NetBSD's log (wapbl(4)): reading it back after a crash.
#pragma once

#include "kernel/fs/ffs/geometry.h"

#include "hostshim/block_device.h"
#include "hostshim/lock.h"

#include <map>
#include <memory>
#include <optional>
#include <vector>

namespace rump::ffs {

/// What the log's header says, range-checked.
struct LogHeader {
    uint32_t generation = 0;
    uint32_t log_shift = 9, fs_shift = 9;
    uint64_t head = 0, tail = 0; // bytes from the log's start; equal and 0: empty
    uint64_t circ_off = 0, circ_size = 0;
};

/// An inode without a name that was in use.
struct LogInode {
    uint64_t number = 0;
    uint16_t mode = 0;
};

/// What a replay brings: contents by address, and inodes to be freed.
struct LogContents {
    LogHeader header;
    std::map<uint64_t, uint64_t> blocks; // device offset -> offset of the contents on the device
    std::vector<LogInode> inodes;
    uint32_t block_size = 512; // of each entry
};

/// None: no log was ever written here. EUCLEAN: the header contradicts itself
/// or the superblock.
FailureOr<std::optional<LogHeader>> read_log_header(host::BlockDevice& device,
                                                    const LogPlace& place, ByteOrder order);
/// Walks the log from tail to head. Failure EUCLEAN: record and offset.
FailureOr<LogContents> read_log(host::BlockDevice& device, const Geometry& geo);

/// A device that shows what it will be like after the replay. Until
/// materialize() nothing is written to the device itself and writing is
/// refused; after it everything passes through.
class LogOverlay final : public host::BlockDevice {
public:
    LogOverlay(std::unique_ptr<host::BlockDevice> base, LogContents contents)
        : base_(std::move(base)), contents_(std::move(contents)) {}

    /// Writes the log's blocks home, durable. EIO.
    Result<void> materialize();
    const LogContents& contents() const { return contents_; }

    uint64_t size() const override { return base_->size(); }
    bool read_only() const override { return base_->read_only(); }
    uint32_t sector_size() const override { return base_->sector_size(); }
    std::string name() const override { return base_->name(); }
    Result<void> read(uint64_t offset, std::span<std::byte> out) override;
    Result<void> write(uint64_t offset, std::span<const std::byte> data) override;
    Result<void> writev(uint64_t offset, std::span<const host::WritePiece> pieces) override;
    Result<void> flush() override { return base_->flush(); }
    Result<void> discard(uint64_t offset, uint64_t length) override;
    Result<void> write_zeros(uint64_t offset, uint64_t length) override;
    std::optional<host::DirectRange> direct(uint64_t offset, uint64_t length,
                                            bool for_write) override;
    void read_ahead(uint64_t offset, uint64_t length) override;

private:
    bool touches(uint64_t offset, uint64_t length) const;

    const std::unique_ptr<host::BlockDevice> base_;
    const LogContents contents_;
    std::atomic<bool> home_{false};
};

} // namespace rump::ffs
