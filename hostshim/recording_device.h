// A block device that remembers every write and flush, so that any state a crash could leave can be
// built: writes before a flush are there, of those after the last flush any subset.
#pragma once

#include "hostshim/block_device.h"
#include "hostshim/lock.h"

#include <memory>
#include <vector>

namespace rump::host {

struct RecordedEvent {
    enum class Kind : uint8_t { write, discard, flush, mark };
    Kind kind;
    uint64_t offset = 0;
    uint64_t length = 0;
    std::vector<std::byte> data; // write only
    uint64_t mark = 0;           // mark only: the number that the test gave
};

class RecordingDevice final : public BlockDevice {
public:
    explicit RecordingDevice(std::unique_ptr<BlockDevice> inner);

    uint64_t size() const override;
    bool read_only() const override;
    uint32_t sector_size() const override;
    std::string name() const override;
    Result<void> read(uint64_t offset, std::span<std::byte> out) override;
    Result<void> write(uint64_t offset, std::span<const std::byte> data) override;
    Result<void> flush() override;
    Result<void> discard(uint64_t offset, uint64_t length) override;

    /// Puts a mark of the test's own ("file 7 is synced") between the events.
    void mark(uint64_t number);
    /// The events so far; the caller sees that no request is under way.
    const std::vector<RecordedEvent>& events() const NO_THREAD_SAFETY_ANALYSIS { return events_; }

private:
    std::unique_ptr<BlockDevice> inner_;
    mutable Mutex mutex_{Rank::device};
    std::vector<RecordedEvent> events_ GUARDED_BY(mutex_);
};

/// Applies one recorded write or discard to `device`.
Result<void> replay(const RecordedEvent& event, BlockDevice& device);

} // namespace rump::host
