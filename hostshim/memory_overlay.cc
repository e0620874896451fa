// Copy-on-write with the delta in memory. No locks: a chunk is copied up, then appears atomically.
#include "hostshim/chunk_map.h"
#include "hostshim/device_range.h"
#include "hostshim/overlay_device.h"

#include <cstring>

namespace rump::host {
namespace {

/// Small: file systems write metadata in blocks of this size, and a fuzzer throws the copies away.
constexpr uint32_t overlay_chunk = 4096;

class MemoryOverlay final : public BlockDevice {
public:
    MemoryOverlay(std::unique_ptr<BlockDevice> owned, BlockDevice& base)
        : owned_(std::move(owned)), base_(base), delta_(base.size(), overlay_chunk) {}

    uint64_t size() const override { return base_.size(); }
    bool read_only() const override { return false; }
    uint32_t sector_size() const override { return base_.sector_size(); }
    std::string name() const override { return base_.name(); }

    Result<void> read(uint64_t offset, std::span<std::byte> out) override {
        if (!within(size(), offset, out.size())) return Errno::io;
        size_t done = 0;
        while (done < out.size()) {
            uint64_t at = offset + done;
            uint64_t chunk = at / overlay_chunk;
            uint64_t left = out.size() - done;
            uint64_t inside = at % overlay_chunk;
            if (const std::byte* bytes = delta_.find(chunk)) {
                uint64_t part = std::min<uint64_t>(left, overlay_chunk - inside);
                std::memcpy(&out[done], bytes + inside, part);
                done += part;
                continue;
            }
            // One request for as far as the base is uncovered.
            uint64_t limit = (inside + left - 1) / overlay_chunk + 1;
            uint64_t run = std::max<uint64_t>(delta_.missing_run(chunk, limit), 1);
            uint64_t part = std::min<uint64_t>(left, run * overlay_chunk - inside);
            TRY(base_.read(at, out.subspan(done, part)));
            done += part;
        }
        return {};
    }

    Result<void> write(uint64_t offset, std::span<const std::byte> data) override {
        if (!within(size(), offset, data.size())) return Errno::io;
        return each_chunk<Result<void>>(
            offset, data.size(), overlay_chunk,
            [&](uint64_t chunk, uint64_t inside, uint64_t done, uint64_t length) -> Result<void> {
                std::byte* bytes = TRY(delta_.find_or_insert(chunk, copy_up(chunk, length)));
                std::memcpy(bytes + inside, &data[done], length);
                return {};
            });
    }

    Result<void> flush() override { return {}; }

    Result<void> discard(uint64_t offset, uint64_t length) override {
        // The base cannot give space back, and chunks of the delta stay as they are.
        return within(size(), offset, length) ? Result<void>{} : Errno::io;
    }

    Result<void> write_zeros(uint64_t offset, uint64_t length) override {
        if (!within(size(), offset, length)) return Errno::io;
        return each_chunk<Result<void>>(
            offset, length, overlay_chunk,
            [&](uint64_t chunk, uint64_t inside, uint64_t, uint64_t part) -> Result<void> {
                std::byte* bytes = TRY(delta_.find_or_insert(chunk, copy_up(chunk, part)));
                std::memset(bytes + inside, 0, part);
                return {};
            });
    }

    void read_ahead(uint64_t offset, uint64_t length) override { base_.read_ahead(offset, length); }

private:
    /// First contents of a chunk: the base's, unless all of it is about to be overwritten.
    struct CopyUp {
        BlockDevice& base;
        uint64_t chunk;
        bool covered;
        Result<void> operator()(std::span<std::byte> bytes) const {
            uint64_t offset = chunk * overlay_chunk;
            uint64_t part = std::min<uint64_t>(bytes.size(), base.size() - offset);
            if (covered || part < bytes.size()) std::memset(bytes.data(), 0, bytes.size());
            return covered ? Result<void>{} : base.read(offset, bytes.first(part));
        }
    };
    CopyUp copy_up(uint64_t chunk, uint64_t length) const {
        return {base_, chunk, length == overlay_chunk};
    }

    const std::unique_ptr<BlockDevice> owned_;
    BlockDevice& base_;
    ChunkMap delta_;
};

} // namespace

std::unique_ptr<BlockDevice> make_memory_overlay(std::unique_ptr<BlockDevice> base) {
    BlockDevice& reference = *base;
    return std::make_unique<MemoryOverlay>(std::move(base), reference);
}

std::unique_ptr<BlockDevice> make_memory_overlay(BlockDevice& base) {
    return std::make_unique<MemoryOverlay>(nullptr, base);
}

} // namespace rump::host
