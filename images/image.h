// What a user's image argument means: a file or block device, a part of it, a partition, with or
// without a copy-on-write layer.
#pragma once

#include "hostshim/block_device.h"
#include "hostshim/file_device.h"
#include "kernel/sys/options.h"

#include <memory>
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
/// partitions named.
FailureOr<std::unique_ptr<host::BlockDevice>> open(std::string_view argument,
                                                   const ImageOptions& options);

/// Makes a file of `size` bytes of zeros, sparse, or gives an existing one that size; what it holds
/// stays. Failures: EBUSY (in use), EINVAL (a block device of another size), EACCES, ENOSPC, EFBIG.
FailureOr<void> create_file(const std::string& path, uint64_t size);

} // namespace rump::images
