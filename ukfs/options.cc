// Options of ukfs.
#include "ukfs/options.h"

#include "kernel/sys/mount_options.h"

#include <fmt/format.h>

#include <string>

namespace rump::ukfslib {
namespace {

/// One option of the list. EINVAL as parse_options.
FailureOr<void> set(Options& options, const NamedOption& option, const FileSystemType* type,
                    Purpose purpose) {
    // The type's own come first: tmpfs has a size= of another meaning.
    if (type && purpose == Purpose::mount && lists(type->mount_options(), option.name))
        return options.mount.fs.set(type->mount_options(), option.name, option.value);
    if (type && purpose == Purpose::newfs && lists(type->newfs_options(), option.name))
        return options.own.set(type->newfs_options(), option.name, option.value);
    if (lists(images::image_option_specs(), option.name))
        return images::set_image_option(options.image, option.name, option.value);
    if (purpose == Purpose::mount && lists(mount_option_specs(), option.name))
        return set_mount_option(options.mount, option);
    if (!type) return {};
    return Failure(Errno::inval, fmt::format("unknown option \"{}\"", option.name));
}

} // namespace

FailureOr<Options> parse_options(std::string_view list, const FileSystemType* type,
                                 Purpose purpose) {
    Options options;
    for (const std::string& item : split_options(list))
        TRY(set(options, NamedOption(item), type, purpose));
    return options;
}

} // namespace rump::ukfslib
