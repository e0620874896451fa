// Journal: how a closed epoch reaches the device. A file system with a log plugs its own in
// (Mount::set_journal); the ordered journal serves the others.
#pragma once

#include "kernel/sys/transaction.h"

#include "hostshim/block_device.h"

#include <memory>
#include <span>
#include <vector>

namespace rump {

/// A copy of one dirty block as the epoch leaves it.
struct StagedBlock {
    uint64_t offset;                  // bytes on the device
    std::span<const std::byte> bytes; // valid during commit()
    WritePhase phase;
    std::vector<uint32_t> after; // indexes of blocks that must be on the device before
};

class Journal {
public:
    virtual ~Journal() = default;
    /// Makes `blocks` durable as one change, or in an order that is safe. `data_pending`: file data
    /// of the epoch has been handed to the device and not flushed; it must be durable before what
    /// points to it. One call at a time, `blocks` is not empty. EIO: the mount stops writing.
    /// ENOSPC, EDQUOT (the host is full, some of it may be written): called again, with these and
    /// more.
    virtual Result<void> commit(std::span<const StagedBlock> blocks, bool data_pending) = 0;
    /// Everything is at home and the log is empty: before end_writing(). EIO.
    virtual Result<void> checkpoint() { return {}; }
    /// Blocks within the range were freed in the open epoch: a log revokes them.
    virtual void revoke(uint64_t offset, uint64_t length) { (void)offset, (void)length; }
    /// False when an epoch with `dirty_bytes` in buffers had better be committed before more is
    /// changed, or it would not fit into the log. Any thread.
    virtual bool has_room(uint64_t dirty_bytes) const {
        (void)dirty_bytes;
        return true;
    }
    /// Whether order() matters.
    virtual bool ordered() const { return false; }
};

/// Phases in turn, a flush after each that wrote; device order within one.
std::unique_ptr<Journal> make_ordered_journal(host::BlockDevice& device);

} // namespace rump
