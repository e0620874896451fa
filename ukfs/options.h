// Options of ukfs, as after -o: which part of an image, how it is mounted, and the type's own.
#pragma once

#include "images/image.h"
#include "kernel/sys/filesystem.h"

#include <string_view>

namespace rump::ukfslib {

struct Options {
    images::ImageOptions image;
    MountOptions mount; // mount.fs: the type's own
    OptionSet own;      // of newfs
};

/// What the options are for: the type's own ones differ, and only a mount takes noatime and the
/// like.
enum class Purpose : uint8_t { mount, image_only, newfs };

/// Parses a list separated by commas; a backslash keeps the next character. `type`: null when not
/// known yet; then options that no one knows are put off, and the list is parsed again. Failure
/// EINVAL names the option.
FailureOr<Options> parse_options(std::string_view list, const FileSystemType* type,
                                 Purpose purpose);

} // namespace rump::ukfslib
