// Fault injection: the n-th operation of a kind fails.
#include "hostshim/faulty_device.h"

namespace rump::host {

FaultyDevice::FaultyDevice(std::unique_ptr<BlockDevice> inner)
    : owned_(std::move(inner)), inner_(*owned_) {}

FaultyDevice::FaultyDevice(BlockDevice& inner) : inner_(inner) {}

void FaultyDevice::arm(const FaultPlan& plan) {
    MutexGuard guard(mutex_);
    plan_ = plan;
    count_ = 0;
    strikes_ = 0;
}

uint64_t FaultyDevice::strikes() const {
    MutexGuard guard(mutex_);
    return strikes_;
}

uint64_t FaultyDevice::size() const { return inner_.size(); }
bool FaultyDevice::read_only() const { return inner_.read_only(); }
uint32_t FaultyDevice::sector_size() const { return inner_.sector_size(); }
std::string FaultyDevice::name() const { return inner_.name(); }

std::optional<FaultPlan> FaultyDevice::strike(FaultPlan::Operation operation) {
    MutexGuard guard(mutex_);
    if (plan_.operation != operation) return std::nullopt;
    ++count_;
    if (plan_.persistent ? count_ < plan_.nth : count_ != plan_.nth) return std::nullopt;
    ++strikes_;
    return plan_;
}

Result<void> FaultyDevice::read(uint64_t offset, std::span<std::byte> out) {
    if (auto plan = strike(FaultPlan::Operation::read)) return plan->error;
    return inner_.read(offset, out);
}

Result<void> FaultyDevice::write(uint64_t offset, std::span<const std::byte> data) {
    if (auto plan = strike(FaultPlan::Operation::write)) {
        if (plan->torn) {
            uint64_t sector = inner_.sector_size();
            uint64_t arrived = data.size() / sector / 2 * sector;
            TRY(inner_.write(offset, data.first(static_cast<size_t>(arrived))));
        }
        return plan->error;
    }
    return inner_.write(offset, data);
}

Result<void> FaultyDevice::flush() {
    if (auto plan = strike(FaultPlan::Operation::flush)) return plan->error;
    return inner_.flush();
}

Result<void> FaultyDevice::discard(uint64_t offset, uint64_t length) {
    return inner_.discard(offset, length);
}

} // namespace rump::host
