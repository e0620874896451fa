// What a user's image argument means: a file or block device, a part of it, a partition, with or
// without a copy-on-write layer.
#pragma once

#include "hostshim/block_device.h"
#include "hostshim/file_device.h"
#include "kernel/sys/options.h"

#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace rump::images {

struct ImageOptions {
    host::Access access = host::Access::read_only;
    uint64_t offset = 0;   // bytes: where the file system, or with a partition the disk, begins
    uint64_t size = 0;     // bytes; 0: to the end
    std::string partition; // number, BSD letter, name or UUID; empty: none
    bool cow = false;      // changes live in memory and vanish; the image is opened for reading
    std::string cow_file;  // changes live in this delta file instead
};

/// The -o options that say what of an image is meant: offset, size, part, cow.
std::span<const OptionSpec> image_option_specs();
/// Sets one of them. Failure EINVAL names the option and says what it takes.
FailureOr<void> set_image_option(ImageOptions& image, std::string_view name,
                                 std::optional<std::string_view> value);

/// An argument taken apart: "disk.img%PART:e%" names a partition behind the image's name, as ukfs
/// has always had it ("%DISKLABEL:e%" is the same). A file that really has such a name is taken as
/// it is.
struct ImageArgument {
    std::string path;
    std::string partition; // empty: none
};
ImageArgument parse_argument(std::string_view argument);

/// Opens an image argument. Failures are one line, without the image's name: those of
/// open_file_device and open_file_overlay, of partitions.h select(), and EINVAL for two different
/// partitions named. What is in use is waited for, up to a second and a half: umount(8) returns
/// before the daemon has ended.
FailureOr<std::unique_ptr<host::BlockDevice>> open(std::string_view argument,
                                                   const ImageOptions& options);

/// A file that is to get a new size together with new contents: made or made larger at once, made
/// smaller by keep(). Without keep() it is as before in the end, or gone again.
class SizedFile {
public:
    /// Failures: EBUSY (in use), EINVAL (a block device of another size), EACCES, ENOSPC, EFBIG.
    static FailureOr<SizedFile> create(const std::string& path, uint64_t size);
    SizedFile(SizedFile&& other) noexcept;
    ~SizedFile();

    /// When nobody has it open.
    Result<void> keep();

private:
    SizedFile(std::string path, uint64_t size, std::optional<uint64_t> before)
        : path_(std::move(path)), size_(size), before_(before) {}

    std::string path_;
    uint64_t size_;
    std::optional<uint64_t> before_; // none: there was no file
    bool undo_ = true;
};

} // namespace rump::images
