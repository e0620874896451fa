// A file that gets its size together with its contents, or stays as it was.
#include "hostshim/file_device.h"
#include "images/image.h"

#include <fmt/format.h>

#include <cerrno>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

namespace rump::images {
namespace {

Result<void> resize(const std::string& path, uint64_t size) {
    if (::truncate(path.c_str(), static_cast<off_t>(size)) != 0) return errno_from_host(errno);
    return {};
}

Result<void> make(const std::string& path) {
    const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0) return errno_from_host(errno);
    ::close(fd);
    return {};
}

} // namespace

FailureOr<SizedFile> SizedFile::create(const std::string& path, uint64_t size) {
    struct stat status;
    if (::stat(path.c_str(), &status) != 0) {
        TRY(make(path));
        SizedFile made(path, size, std::nullopt);
        TRY(resize(path, size));
        return made;
    }
    auto before = static_cast<uint64_t>(status.st_size);
    if (!S_ISREG(status.st_mode) || before > 0) {
        // Asks for it as a mount would, so that nobody's image changes its size under him.
        auto device = TRY(open(path, {.access = host::Access::read_write}));
        if (!S_ISREG(status.st_mode) && device->size() != size)
            return Failure(Errno::inval,
                           fmt::format("it has {} bytes, not {}", device->size(), size));
        before = device->size();
    }
    SizedFile file(path, size, before);
    if (size > before) TRY(resize(path, size));
    return file;
}

SizedFile::SizedFile(SizedFile&& other) noexcept
    : path_(std::move(other.path_)), size_(other.size_), before_(other.before_),
      undo_(std::exchange(other.undo_, false)) {}

SizedFile::~SizedFile() {
    if (!undo_) return;
    if (!before_)
        ::unlink(path_.c_str());
    else if (size_ > *before_)
        (void)resize(path_, *before_);
}

Result<void> SizedFile::keep() {
    undo_ = false;
    return before_ && size_ < *before_ ? resize(path_, size_) : Result<void>();
}

} // namespace rump::images
