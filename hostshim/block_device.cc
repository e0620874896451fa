// What block devices do that have nothing better: vectors as loops, zeros as writes.
#include "hostshim/block_device.h"

#include <algorithm>
#include <vector>

namespace rump::host {

Result<void> BlockDevice::readv(uint64_t offset, std::span<const ReadPiece> pieces) {
    for (ReadPiece piece : pieces) {
        TRY(read(offset, piece));
        offset += piece.size();
    }
    return {};
}

Result<void> BlockDevice::writev(uint64_t offset, std::span<const WritePiece> pieces) {
    for (WritePiece piece : pieces) {
        TRY(write(offset, piece));
        offset += piece.size();
    }
    return {};
}

Result<void> BlockDevice::discard(uint64_t, uint64_t) {
    return read_only() ? Errno::rofs : Errno::opnotsupp;
}

Result<void> BlockDevice::write_zeros(uint64_t offset, uint64_t length) {
    constexpr uint64_t step = 64 * 1024;
    const std::vector<std::byte> zeros(static_cast<size_t>(std::min(step, length)));
    while (length > 0) {
        uint64_t part = std::min<uint64_t>(length, zeros.size());
        TRY(write(offset, std::span(zeros).first(static_cast<size_t>(part))));
        offset += part;
        length -= part;
    }
    return {};
}

std::optional<DirectRange> BlockDevice::direct(uint64_t, uint64_t, bool) { return std::nullopt; }

void BlockDevice::read_ahead(uint64_t, uint64_t) {}

} // namespace rump::host
