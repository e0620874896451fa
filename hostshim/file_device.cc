// A block device over a file or block special file of the host.
//
// Who else might write: other instances of this suite are kept out by an open file description lock
// on the range (so that two partitions of one image can be in use at the same time), mounts of the
// host by O_EXCL on a block device, and by asking sysfs for loop devices over a file.
#include "hostshim/file_device.h"

#include "hostshim/device_range.h"
#include "hostshim/file_users.h"
#include "hostshim/host_file.h"

#include <fmt/format.h>

#include <array>
#include <bit>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>

namespace rump::host {
namespace {

class FileDevice final : public BlockDevice {
public:
    struct Shape {
        uint64_t offset;
        uint64_t size;
        uint32_t sector_size;
        bool block_special;
        bool read_only;
    };

    FileDevice(HostFile file, std::string path, const Shape& shape)
        : file_(std::move(file)), path_(std::move(path)), shape_(shape) {}

    uint64_t size() const override { return shape_.size; }
    bool read_only() const override { return shape_.read_only; }
    uint32_t sector_size() const override { return shape_.sector_size; }
    std::string name() const override { return path_; }

    Result<void> read(uint64_t offset, std::span<std::byte> out) override {
        if (!within(shape_.size, offset, out.size())) return Errno::io;
        return file_.read(shape_.offset + offset, out);
    }

    Result<void> write(uint64_t offset, std::span<const std::byte> data) override {
        TRY(check_write(offset, data.size()));
        return file_.write(shape_.offset + offset, data);
    }

    Result<void> readv(uint64_t offset, std::span<const ReadPiece> pieces) override {
        if (!within(shape_.size, offset, total(pieces))) return Errno::io;
        return file_.readv(shape_.offset + offset, pieces);
    }

    Result<void> writev(uint64_t offset, std::span<const WritePiece> pieces) override {
        TRY(check_write(offset, total(pieces)));
        return file_.writev(shape_.offset + offset, pieces);
    }

    Result<void> flush() override { return shape_.read_only ? Result<void>{} : file_.sync_data(); }

    Result<void> discard(uint64_t offset, uint64_t length) override {
        TRY(check_write(offset, length));
        offset += shape_.offset;
        if (!shape_.block_special) return file_.punch(offset, length);
        // Whole sectors only; what sticks out keeps its contents, which are undefined anyway.
        uint64_t first =
            (offset + shape_.sector_size - 1) / shape_.sector_size * shape_.sector_size;
        uint64_t end = (offset + length) / shape_.sector_size * shape_.sector_size;
        return first < end ? range_ioctl(BLKDISCARD, first, end - first) : Result<void>{};
    }

    Result<void> write_zeros(uint64_t offset, uint64_t length) override {
        TRY(check_write(offset, length));
        offset += shape_.offset;
        if (!shape_.block_special) return file_.zero(offset, length);
        if (offset % shape_.sector_size == 0 && length % shape_.sector_size == 0 && length > 0) {
            auto zeroed = range_ioctl(BLKZEROOUT, offset, length);
            if (zeroed.ok() || zeroed.error() != Errno::opnotsupp) return zeroed;
        }
        return BlockDevice::write_zeros(offset - shape_.offset, length);
    }

    std::optional<DirectRange> direct(uint64_t offset, uint64_t length, bool for_write) override {
        if (!within(shape_.size, offset, length)) return std::nullopt;
        if (for_write && shape_.read_only) return std::nullopt;
        if (!shape_.block_special && !file_reaches(shape_.offset + offset + length))
            return std::nullopt; // cut short by somebody: read() says so
        if (!for_write) file_.announce_wait(shape_.offset + offset, length);
        return DirectRange{file_.fd(), shape_.offset + offset};
    }

    void read_ahead(uint64_t offset, uint64_t length) override {
        if (!within(shape_.size, offset, length)) return;
        posix_fadvise(file_.fd(), static_cast<off_t>(shape_.offset + offset),
                      static_cast<off_t>(length), POSIX_FADV_WILLNEED);
    }

private:
    template<class Piece>
    static uint64_t total(std::span<const Piece> pieces) {
        uint64_t sum = 0;
        for (const Piece& piece : pieces) sum += piece.size();
        return sum;
    }

    Result<void> check_write(uint64_t offset, uint64_t length) const {
        if (shape_.read_only) return Errno::rofs;
        if (!within(shape_.size, offset, length)) return Errno::io;
        return {};
    }

    bool file_reaches(uint64_t end) const {
        const auto status = file_.status();
        return status.ok() && static_cast<uint64_t>(status->st_size) >= end;
    }

    Result<void> range_ioctl(unsigned long request, uint64_t offset, uint64_t length) const {
        std::array<uint64_t, 2> range{offset, length};
        while (::ioctl(file_.fd(), request, range.data()) != 0) {
            if (errno == EINTR) continue;
            return errno == ENOTTY || errno == ENOSYS ? Errno::opnotsupp : errno_from_host(errno);
        }
        return {};
    }

    const HostFile file_;
    const std::string path_;
    const Shape shape_;
};

Failure open_failure(Errno error, bool writing) {
    switch (error) {
    case Errno::acces:
    case Errno::perm:
        return {Errno::acces, writing ? "you may not write it" : "you may not read it"};
    case Errno::rofs:
        return {error, "it is on a read-only file system, or a read-only device"};
    case Errno::busy:
        return {error, "the host has it mounted or in use"};
    default:
        return error;
    }
}

/// Refuses what a block device or file must not be opened over.
FailureOr<void> check_host_users(const struct stat& status, bool writing) {
    if (S_ISBLK(status.st_mode)) {
        // For writing, O_EXCL has been asked and says it all.
        if (writing) return {};
        if (auto where = writable_mount_of(status))
            return Failure(Errno::busy, fmt::format("the host has it mounted on {}", *where));
    } else if (writing) {
        if (auto loop = loop_device_over(status))
            return Failure(Errno::busy, fmt::format("it is attached to {}", *loop));
    }
    return {};
}

struct HostSize {
    uint64_t bytes;
    uint32_t sector_size;
};

FailureOr<HostSize> host_size(const HostFile& file, const struct stat& status, bool writing) {
    if (!S_ISBLK(status.st_mode)) return HostSize{static_cast<uint64_t>(status.st_size), 512};
    uint64_t bytes = 0;
    int sector_size = 0, write_protected = 0;
    if (::ioctl(file.fd(), BLKGETSIZE64, &bytes) != 0 ||
        ::ioctl(file.fd(), BLKSSZGET, &sector_size) != 0)
        return errno_from_host(errno);
    if (writing && ::ioctl(file.fd(), BLKROGET, &write_protected) == 0 && write_protected)
        return open_failure(Errno::rofs, true);
    if (sector_size < 512 || !std::has_single_bit(static_cast<unsigned>(sector_size)))
        return Failure(Errno::io,
                       fmt::format("the host gives it sectors of {} bytes", sector_size));
    return HostSize{bytes, static_cast<uint32_t>(sector_size)};
}

FailureOr<FileDevice::Shape> shape_of(const HostFile& file, const struct stat& status,
                                      const FileDeviceOptions& options) {
    bool writing = options.access == Access::read_write;
    auto host = TRY(host_size(file, status, writing));
    if (host.bytes == 0) return Failure(Errno::nxio, "it is empty");
    if (options.offset >= host.bytes)
        return Failure(Errno::inval, fmt::format("offset {} is beyond its end, it has {} bytes",
                                                 options.offset, host.bytes));
    uint64_t left = host.bytes - options.offset;
    if (options.size > (writing ? left : INT64_MAX - options.offset))
        return Failure(Errno::inval, fmt::format("too short: {} bytes from offset {}, asked for {}",
                                                 left, options.offset, options.size));
    return FileDevice::Shape{.offset = options.offset,
                             .size = options.size ? options.size : left,
                             .sector_size = host.sector_size,
                             .block_special = static_cast<bool>(S_ISBLK(status.st_mode)),
                             .read_only = !writing};
}

Failure locked_failure(const struct stat& status) {
    auto who = process_using(status);
    return {Errno::busy, "it is in use" + (who ? " by " + *who : std::string(" by another mount"))};
}

} // namespace

FailureOr<std::unique_ptr<BlockDevice>> open_file_device(const std::string& path,
                                                         const FileDeviceOptions& options) {
    const bool writing = options.access == Access::read_write;
    ASSERT(options.lock || !writing);
    // Looked at before it is opened: opening a device or FIFO that is no disk may wait or do
    // things.
    struct stat before;
    if (::stat(path.c_str(), &before) != 0) return open_failure(errno_from_host(errno), false);
    if (S_ISDIR(before.st_mode)) return Failure(Errno::isdir, "it is a directory, not an image");
    if (!S_ISREG(before.st_mode) && !S_ISBLK(before.st_mode))
        return Failure(Errno::inval, "it is neither a file nor a block device");

    int flags = writing ? O_RDWR : O_RDONLY;
    if (writing && S_ISBLK(before.st_mode)) flags |= O_EXCL;
    auto opened = HostFile::open(path, flags);
    if (!opened.ok()) return open_failure(opened.error(), writing);
    HostFile file = opened.release_value();

    struct stat status = TRY(file.status());
    if (status.st_dev != before.st_dev || status.st_ino != before.st_ino)
        return Failure(Errno::busy, "it was replaced while it was being opened");
    if (options.lock) TRY(check_host_users(status, writing));
    auto shape = TRY(shape_of(file, status, options));

    if (options.lock) {
        auto locked = file.lock(shape.offset, shape.size, writing);
        if (!locked.ok() && locked.error() == Errno::again) {
            file = HostFile(); // so that the search for the holder does not find us
            return locked_failure(status);
        }
        // A host file system without locks: nobody can be kept out, so nobody may write.
        if (!locked.ok() && writing)
            return Failure(locked.error(), "the host cannot lock it; open it read-only");
    }
    return std::unique_ptr<BlockDevice>(std::make_unique<FileDevice>(std::move(file), path, shape));
}

} // namespace rump::host
