// A block device whose n-th read, write or flush fails or is torn, for fault injection.
#pragma once

#include "hostshim/block_device.h"
#include "hostshim/lock.h"

#include <memory>

namespace rump::host {

struct FaultPlan {
    enum class Operation : uint8_t { none, read, write, flush };
    Operation operation = Operation::none;
    uint64_t nth = 0;        // 1: the first one from now
    bool persistent = false; // every one from the n-th on, not only that one
    bool torn = false;       // write only: the first half of its sectors arrives, then EIO
    Errno error = Errno::io;
};

class FaultyDevice final : public BlockDevice {
public:
    explicit FaultyDevice(std::unique_ptr<BlockDevice> inner);
    /// Owned by somebody else, outlives this.
    explicit FaultyDevice(BlockDevice& inner);

    /// Counts start anew.
    void arm(const FaultPlan& plan);
    /// How often the armed fault has struck; 0 says that the workload needed fewer operations.
    uint64_t strikes() const;

    uint64_t size() const override;
    bool read_only() const override;
    uint32_t sector_size() const override;
    std::string name() const override;
    Result<void> read(uint64_t offset, std::span<std::byte> out) override;
    Result<void> write(uint64_t offset, std::span<const std::byte> data) override;
    Result<void> flush() override;
    Result<void> discard(uint64_t offset, uint64_t length) override;

private:
    /// Counts one operation; the plan when it is the one that fails.
    std::optional<FaultPlan> strike(FaultPlan::Operation operation);

    std::unique_ptr<BlockDevice> owned_;
    BlockDevice& inner_;
    mutable Mutex mutex_{Rank::device};
    FaultPlan plan_ GUARDED_BY(mutex_);
    uint64_t count_ GUARDED_BY(mutex_) = 0;
    uint64_t strikes_ GUARDED_BY(mutex_) = 0;
};

} // namespace rump::host
