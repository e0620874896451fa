// Moving images between devices and files. See memory_file.h.
#include "tests/support/memory_file.h"

#include <algorithm>
#include <cstring>
#include <fcntl.h>
#include <stdexcept>
#include <sys/mman.h>
#include <unistd.h>
#include <vector>

namespace rump::test {

namespace {

constexpr size_t piece_size = 1u << 16;

Result<void> read_exactly(int fd, uint64_t at, std::span<std::byte> out) {
    const ssize_t done = ::pread(fd, out.data(), out.size(), static_cast<off_t>(at));
    return done == static_cast<ssize_t>(out.size()) ? Result<void>() : Errno::io;
}

bool same(std::span<const std::byte> a, std::span<const std::byte> b) {
    return std::memcmp(a.data(), b.data(), a.size()) == 0;
}

/// `move(offset, bytes)` for each piece of the device.
template<class Move>
Result<void> each_piece(host::BlockDevice& device, Move&& move) {
    std::vector<std::byte> buffer(piece_size);
    for (uint64_t at = 0; at < device.size(); at += piece_size) {
        const auto length = std::min<uint64_t>(piece_size, device.size() - at);
        TRY(move(at, std::span(buffer).first(length)));
    }
    return {};
}

Result<void> fill(int fd, host::BlockDevice& device) {
    const std::vector<std::byte> zeros(piece_size);
    return each_piece(device, [&](uint64_t at, std::span<std::byte> piece) -> Result<void> {
        TRY(device.read(at, piece));
        if (same(piece, zeros)) return {};
        const ssize_t done = ::pwrite(fd, piece.data(), piece.size(), static_cast<off_t>(at));
        return done == static_cast<ssize_t>(piece.size()) ? Result<void>() : Errno::nospc;
    });
}

} // namespace

MemoryFile::MemoryFile(uint64_t size) : fd_(::memfd_create("image", MFD_CLOEXEC)) {
    if (fd_ < 0 || ::ftruncate(fd_, static_cast<off_t>(size)) != 0)
        throw std::runtime_error(std::string("a file in memory: ") + std::strerror(errno));
}

MemoryFile::~MemoryFile() { ::close(fd_); }

std::string MemoryFile::path() const {
    return "/proc/" + std::to_string(::getpid()) + "/fd/" + std::to_string(fd_);
}

Result<void> MemoryFile::take_from(host::BlockDevice& device) { return fill(fd_, device); }

Result<void> MemoryFile::give_to(host::BlockDevice& device) const {
    std::vector<std::byte> old(piece_size);
    return each_piece(device, [&](uint64_t at, std::span<std::byte> piece) -> Result<void> {
        const auto before = std::span(old).first(piece.size());
        TRY(read_exactly(fd_, at, piece));
        TRY(device.read(at, before));
        return same(piece, before) ? Result<void>() : device.write(at, piece);
    });
}

void write_file(const std::string& path, host::BlockDevice& device) {
    const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    const bool good =
        fd >= 0 && ::ftruncate(fd, static_cast<off_t>(device.size())) == 0 && fill(fd, device).ok();
    if (fd >= 0) ::close(fd);
    if (!good) throw std::runtime_error("cannot write " + path);
}

} // namespace rump::test
