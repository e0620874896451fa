// An open file of the host: whole reads and writes (short counts and EINTR are dealt with here),
// space, locks on byte ranges. Private to hostshim; what block devices over files are made of.
#pragma once

#include "hostshim/block_device.h"
#include "hostshim/result.h"

#include <sys/stat.h>
#include <sys/uio.h>

namespace rump::host {

class HostFile {
public:
    HostFile() = default;
    /// Takes the descriptor over.
    explicit HostFile(int fd);
    HostFile(HostFile&& other) noexcept
        : fd_(std::exchange(other.fd_, -1)), tells_waits_(other.tells_waits_) {}
    HostFile& operator=(HostFile&& other) noexcept {
        std::swap(fd_, other.fd_);
        std::swap(tells_waits_, other.tells_waits_);
        return *this;
    }
    ~HostFile();

    /// open(2), close-on-exec. Its errno.
    static Result<HostFile> open(const std::string& path, int flags, unsigned mode = 0);

    int fd() const { return fd_; }
    Result<struct stat> status() const;

    /// All or an error. EIO also when the file ends before `out` is full. Reads that wait for the
    /// disk tell the thread's WaitObserver first, where the host knows beforehand.
    Result<void> read(uint64_t offset, std::span<std::byte> out) const;
    Result<void> write(uint64_t offset, std::span<const std::byte> data) const;
    Result<void> readv(uint64_t offset, std::span<const ReadPiece> pieces) const;
    Result<void> writev(uint64_t offset, std::span<const WritePiece> pieces) const;
    /// Tells the observer if a read of the range would wait.
    void announce_wait(uint64_t offset, uint64_t length) const;
    Result<void> sync_data() const;
    Result<void> resize(uint64_t size) const;
    /// Gives the range's space back; it reads as zeros. EOPNOTSUPP.
    Result<void> punch(uint64_t offset, uint64_t length) const;
    /// The range reads as zeros, by a hole where that is possible and worth it, else by writing.
    Result<void> zero(uint64_t offset, uint64_t length) const;

    /// Locks [offset, offset + length) for this open file (open file description lock), so that
    /// another open of the same file, in this process too, meets it. EAGAIN: held by somebody else.
    Result<void> lock(uint64_t offset, uint64_t length, bool exclusive) const;

private:
    ssize_t read_some(const iovec* pieces, int count, off_t offset) const;

    int fd_ = -1;
    bool tells_waits_ = false; // the host says beforehand that a read would wait
};

} // namespace rump::host
