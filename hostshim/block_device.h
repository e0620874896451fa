// Block devices: where an image's bytes are. All offsets and lengths are bytes; any alignment is
// accepted, devices with a sector size of their own read around it. Thread-safe: requests that do
// not overlap may run in parallel; overlapping ones have no order.
#pragma once

#include "hostshim/result.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

namespace rump::host {

/// One piece of a vectored request.
using ReadPiece = std::span<std::byte>;
using WritePiece = std::span<const std::byte>;

/// A range of a device that is a range of a host file: [offset, offset + length) of `fd`.
/// The descriptor belongs to the device and lives as long as it does.
struct DirectRange {
    int fd;
    uint64_t offset;
};

class BlockDevice {
public:
    virtual ~BlockDevice() = default;

    /// Bytes; constant while the device is open.
    virtual uint64_t size() const = 0;
    virtual bool read_only() const = 0;
    /// Smallest write that is not torn by a power cut; a power of two, at least 512.
    virtual uint32_t sector_size() const { return 512; }
    /// For messages: the path, or what stands in its place.
    virtual std::string name() const = 0;

    /// All of `out`, or an error: EIO (medium, or past the end: the device logs nothing, the caller
    /// knows the place).
    virtual Result<void> read(uint64_t offset, std::span<std::byte> out) = 0;
    /// All of `data`, not yet durable. EIO, ENOSPC (a sparse host file whose disk is full), EROFS.
    virtual Result<void> write(uint64_t offset, std::span<const std::byte> data) = 0;
    /// Consecutive pieces from `offset`. The same errors; the default loops.
    virtual Result<void> readv(uint64_t offset, std::span<const ReadPiece> pieces);
    virtual Result<void> writev(uint64_t offset, std::span<const WritePiece> pieces);
    /// Everything written before the call is durable when it returns. EIO: some write since the
    /// last flush may be lost; reported once.
    virtual Result<void> flush() = 0;
    /// Contents of the range become undefined (zeros where the host can punch holes).
    /// EOPNOTSUPP, EROFS, EIO.
    virtual Result<void> discard(uint64_t offset, uint64_t length);
    /// The range reads as zeros afterwards; cheap where the host can punch holes, else writes
    /// zeros. EIO, ENOSPC, EROFS.
    virtual Result<void> write_zeros(uint64_t offset, uint64_t length);

    /// Where [offset, offset + length) can be moved by splice, sendfile or io_uring past read() and
    /// write(), to be read at once unless `for_write`; none for devices without a plain address
    /// (memory, overlays, recordings, networks).
    virtual std::optional<DirectRange> direct(uint64_t offset, uint64_t length, bool for_write);

    /// A hint that the range will be read soon. Never fails.
    virtual void read_ahead(uint64_t offset, uint64_t length);
};

} // namespace rump::host
