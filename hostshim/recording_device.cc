// Recording. The order of events says what a crash may leave: a write is noted when it has ended, a
// flush together with its end, so that no write is counted as flushed that was not surely there.
#include "hostshim/recording_device.h"

namespace rump::host {

RecordingDevice::RecordingDevice(std::unique_ptr<BlockDevice> inner) : inner_(std::move(inner)) {}

uint64_t RecordingDevice::size() const { return inner_->size(); }
bool RecordingDevice::read_only() const { return inner_->read_only(); }
uint32_t RecordingDevice::sector_size() const { return inner_->sector_size(); }
std::string RecordingDevice::name() const { return inner_->name(); }

Result<void> RecordingDevice::read(uint64_t offset, std::span<std::byte> out) {
    return inner_->read(offset, out);
}

Result<void> RecordingDevice::write(uint64_t offset, std::span<const std::byte> data) {
    MutexGuard guard(mutex_);
    TRY(inner_->write(offset, data));
    events_.push_back({.kind = RecordedEvent::Kind::write,
                       .offset = offset,
                       .length = data.size(),
                       .data = {data.begin(), data.end()}});
    return {};
}

Result<void> RecordingDevice::flush() {
    MutexGuard guard(mutex_);
    TRY(inner_->flush());
    events_.push_back({.kind = RecordedEvent::Kind::flush});
    return {};
}

Result<void> RecordingDevice::discard(uint64_t offset, uint64_t length) {
    MutexGuard guard(mutex_);
    TRY(inner_->discard(offset, length));
    events_.push_back({.kind = RecordedEvent::Kind::discard, .offset = offset, .length = length});
    return {};
}

void RecordingDevice::mark(uint64_t number) {
    MutexGuard guard(mutex_);
    events_.push_back({.kind = RecordedEvent::Kind::mark, .mark = number});
}

Result<void> replay(const RecordedEvent& event, BlockDevice& device) {
    switch (event.kind) {
    case RecordedEvent::Kind::write:
        return device.write(event.offset, event.data);
    case RecordedEvent::Kind::discard:
        return device.discard(event.offset, event.length);
    case RecordedEvent::Kind::flush:
    case RecordedEvent::Kind::mark:
        return {};
    }
    return Errno::inval;
}

} // namespace rump::host
