// BorrowedDevice: a block device that a mount may own while somebody else keeps what it stands for.
#pragma once

#include "hostshim/block_device.h"

namespace rump::conformance {

class BorrowedDevice final : public host::BlockDevice {
public:
    explicit BorrowedDevice(host::BlockDevice& device) : device_(device) {}
    uint64_t size() const override { return device_.size(); }
    bool read_only() const override { return device_.read_only(); }
    uint32_t sector_size() const override { return device_.sector_size(); }
    std::string name() const override { return device_.name(); }
    Result<void> read(uint64_t offset, std::span<std::byte> out) override {
        return device_.read(offset, out);
    }
    Result<void> write(uint64_t offset, std::span<const std::byte> data) override {
        return device_.write(offset, data);
    }
    Result<void> flush() override { return device_.flush(); }
    Result<void> discard(uint64_t offset, uint64_t length) override {
        return device_.discard(offset, length);
    }
    Result<void> write_zeros(uint64_t offset, uint64_t length) override {
        return device_.write_zeros(offset, length);
    }

private:
    host::BlockDevice& device_;
};

} // namespace rump::conformance
