// A sparse block device in memory. Reads and writes take no lock: chunks appear atomically and
// stay.
#include "hostshim/memory_device.h"

#include "hostshim/chunk_map.h"
#include "hostshim/device_range.h"

#include <cstring>

namespace rump::host {
namespace {

constexpr uint32_t memory_chunk = 16 * 1024;

constexpr auto zero_fill = [](std::span<std::byte> chunk) -> Result<void> {
    std::memset(chunk.data(), 0, chunk.size());
    return {};
};

class MemoryDevice final : public BlockDevice {
public:
    explicit MemoryDevice(uint64_t size) : size_(size), chunks_(size, memory_chunk) {}

    uint64_t size() const override { return size_; }
    bool read_only() const override { return false; }
    std::string name() const override { return "memory"; }

    Result<void> read(uint64_t offset, std::span<std::byte> out) override {
        if (!within(size_, offset, out.size())) return Errno::io;
        return each_chunk<Result<void>>(
            offset, out.size(), memory_chunk,
            [&](uint64_t chunk, uint64_t inside, uint64_t done, uint64_t length) -> Result<void> {
                if (const std::byte* bytes = chunks_.find(chunk))
                    std::memcpy(&out[done], bytes + inside, length);
                else
                    std::memset(&out[done], 0, length);
                return {};
            });
    }

    Result<void> write(uint64_t offset, std::span<const std::byte> data) override {
        if (!within(size_, offset, data.size())) return Errno::io;
        return each_chunk<Result<void>>(
            offset, data.size(), memory_chunk,
            [&](uint64_t chunk, uint64_t inside, uint64_t done, uint64_t length) -> Result<void> {
                std::byte* bytes = TRY(chunks_.find_or_insert(chunk, zero_fill));
                std::memcpy(bytes + inside, &data[done], length);
                return {};
            });
    }

    Result<void> flush() override { return {}; }
    Result<void> discard(uint64_t offset, uint64_t length) override {
        return write_zeros(offset, length);
    }

    Result<void> write_zeros(uint64_t offset, uint64_t length) override {
        if (!within(size_, offset, length)) return Errno::io;
        while (length > 0) {
            uint64_t chunk = offset / memory_chunk;
            uint64_t inside = offset % memory_chunk;
            uint64_t part = std::min<uint64_t>(length, memory_chunk - inside);
            if (std::byte* bytes = chunks_.find(chunk)) {
                std::memset(bytes + inside, 0, part);
            } else {
                uint64_t run = chunks_.missing_run(chunk, (inside + length - 1) / memory_chunk + 1);
                if (run > 0) part = std::min(length, run * memory_chunk - inside);
            }
            offset += part;
            length -= part;
        }
        return {};
    }

private:
    const uint64_t size_;
    ChunkMap chunks_;
};

} // namespace

std::unique_ptr<BlockDevice> make_memory_device(uint64_t size) {
    return std::make_unique<MemoryDevice>(size);
}

std::unique_ptr<BlockDevice> make_memory_device(std::span<const std::byte> contents) {
    auto device = std::make_unique<MemoryDevice>(contents.size());
    // Within the device, so only memory can fail, which is reported as the device's making is.
    if (!device->write(0, contents).ok()) throw std::bad_alloc();
    return device;
}

} // namespace rump::host
