// An open file of the host.
#include "hostshim/host_file.h"

#include "hostshim/device_range.h"
#include "hostshim/thread.h"

#include <array>
#include <cerrno>
#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/uio.h>
#include <unistd.h>
#include <vector>

namespace rump::host {
namespace {

Errno last_error() { return errno_from_host(errno); }

/// Below this, writing zeros is cheaper than changing the host's block map.
constexpr uint64_t punch_minimum = 64 * 1024;

/// Moves all pieces by `transfer` (preadv or pwritev), as many iovecs at a time as the host takes.
template<class Piece, class Transfer>
Result<void> transfer_all(uint64_t offset, std::span<const Piece> pieces, Transfer transfer) {
    constexpr size_t batch = 64;
    std::array<iovec, batch> vector;
    size_t piece = 0, inside = 0; // the first byte that is still to be moved
    while (piece < pieces.size()) {
        size_t count = 0;
        for (size_t i = piece, skip = inside; i < pieces.size() && count < batch; ++i, skip = 0)
            vector[count++] = {const_cast<std::byte*>(pieces[i].data()) + skip,
                               pieces[i].size() - skip};
        ssize_t moved =
            transfer(vector.data(), static_cast<int>(count), static_cast<off_t>(offset));
        if (moved < 0) {
            if (errno == EINTR) continue;
            return last_error();
        }
        offset += static_cast<uint64_t>(moved);
        auto left = static_cast<size_t>(moved);
        bool progress = moved > 0;
        while (piece < pieces.size() && left >= pieces[piece].size() - inside) {
            left -= pieces[piece].size() - inside;
            inside = 0;
            ++piece;
            progress = true; // empty pieces are passed, too
        }
        inside += left;
        if (!progress) return Errno::io; // the file ends here
    }
    return {};
}

} // namespace

HostFile::HostFile(int fd) : fd_(fd) {
    std::byte first;
    const iovec piece = {&first, 1};
    tells_waits_ = ::preadv2(fd, &piece, 1, 0, RWF_NOWAIT) >= 0 || errno == EAGAIN;
}

HostFile::~HostFile() {
    if (fd_ >= 0) ::close(fd_);
}

Result<HostFile> HostFile::open(const std::string& path, int flags, unsigned mode) {
    for (;;) {
        int fd = ::open(path.c_str(), flags | O_CLOEXEC, mode);
        if (fd >= 0) return HostFile(fd);
        if (errno != EINTR) return last_error();
    }
}

Result<struct stat> HostFile::status() const {
    struct stat status;
    if (::fstat(fd_, &status) != 0) return last_error();
    return status;
}

/// As preadv(2). What is in the host's memory comes without a question.
ssize_t HostFile::read_some(const iovec* pieces, int count, off_t offset) const {
    if (WaitObserver* observer = wait_observer(); observer && tells_waits_) {
        const ssize_t got = ::preadv2(fd_, pieces, count, offset, RWF_NOWAIT);
        if (got >= 0) return got;
        if (errno == EAGAIN) observer->about_to_wait();
    }
    return ::preadv(fd_, pieces, count, offset);
}

void HostFile::announce_wait(uint64_t offset, uint64_t length) const {
    WaitObserver* observer = wait_observer();
    if (!observer || !tells_waits_ || length == 0) return;
    std::byte last;
    const iovec piece = {&last, 1};
    const auto at = static_cast<off_t>(offset + length - 1);
    if (::preadv2(fd_, &piece, 1, at, RWF_NOWAIT) < 0 && errno == EAGAIN) observer->about_to_wait();
}

Result<void> HostFile::read(uint64_t offset, std::span<std::byte> out) const {
    while (!out.empty()) {
        const iovec whole = {out.data(), out.size()};
        ssize_t got = read_some(&whole, 1, static_cast<off_t>(offset));
        if (got < 0) {
            if (errno == EINTR) continue;
            return last_error();
        }
        if (got == 0) return Errno::io;
        offset += static_cast<uint64_t>(got);
        out = out.subspan(static_cast<size_t>(got));
    }
    return {};
}

Result<void> HostFile::write(uint64_t offset, std::span<const std::byte> data) const {
    while (!data.empty()) {
        ssize_t put = ::pwrite(fd_, data.data(), data.size(), static_cast<off_t>(offset));
        if (put < 0) {
            if (errno == EINTR) continue;
            return last_error();
        }
        if (put == 0) return Errno::io;
        offset += static_cast<uint64_t>(put);
        data = data.subspan(static_cast<size_t>(put));
    }
    return {};
}

Result<void> HostFile::readv(uint64_t offset, std::span<const ReadPiece> pieces) const {
    return transfer_all(offset, pieces, [this](const iovec* vector, int count, off_t at) {
        return read_some(vector, count, at);
    });
}

Result<void> HostFile::writev(uint64_t offset, std::span<const WritePiece> pieces) const {
    return transfer_all(offset, pieces, [this](const iovec* vector, int count, off_t at) {
        return ::pwritev(fd_, vector, count, at);
    });
}

Result<void> HostFile::sync_data() const {
    // No retry but after a signal: the host reports a lost write once, a second call would hide it.
    // Nor does it matter why: what was lost for lack of space is lost.
    while (::fdatasync(fd_) != 0)
        if (errno != EINTR) return Errno::io;
    return {};
}

Result<void> HostFile::resize(uint64_t size) const {
    while (::ftruncate(fd_, static_cast<off_t>(size)) != 0)
        if (errno != EINTR) return last_error();
    return {};
}

Result<void> HostFile::punch(uint64_t offset, uint64_t length) const {
    if (length == 0) return {};
    while (::fallocate(fd_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset),
                       static_cast<off_t>(length)) != 0) {
        if (errno == EINTR) continue;
        return errno == ENOSYS || errno == ENODEV ? Errno::opnotsupp : last_error();
    }
    return {};
}

Result<void> HostFile::zero(uint64_t offset, uint64_t length) const {
    if (length >= punch_minimum) {
        auto punched = punch(offset, length);
        if (punched.ok() || punched.error() != Errno::opnotsupp) return punched;
    }
    constexpr uint64_t step = 256 * 1024;
    const std::vector<std::byte> zeros(static_cast<size_t>(std::min(step, length)));
    while (length > 0) {
        uint64_t part = std::min<uint64_t>(length, zeros.size());
        TRY(write(offset, std::span(zeros).first(static_cast<size_t>(part))));
        offset += part;
        length -= part;
    }
    return {};
}

Result<void> HostFile::lock(uint64_t offset, uint64_t length, bool exclusive) const {
    struct flock request = {};
    request.l_type = exclusive ? F_WRLCK : F_RDLCK;
    request.l_whence = SEEK_SET;
    request.l_start = static_cast<off_t>(offset);
    request.l_len = static_cast<off_t>(length);
    while (::fcntl(fd_, F_OFD_SETLK, &request) != 0) {
        if (errno == EINTR) continue;
        return errno == EACCES ? Errno::again : last_error();
    }
    return {};
}

} // namespace rump::host
