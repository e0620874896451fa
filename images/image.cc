// What a user's image argument means.
#include "images/image.h"

#include "hostshim/overlay_device.h"
#include "images/identify.h"
#include "images/partitions.h"

#include <fmt/format.h>

#include <array>
#include <cerrno>
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

namespace rump::images {
namespace {

using Kind = OptionSpec::Kind;

constexpr OptionSpec specs[] = {
    {"offset", Kind::size, "BYTES", "where the file system, or the disk, begins in the image"},
    {"size", Kind::size, "BYTES", "how long it is"},
    {"part", Kind::text, "WHICH", "a partition: its number, BSD letter, name or UUID"},
    {"cow", Kind::text, "[FILE]", "never write to the image: changes go to FILE, or vanish"},
};

/// Where a partition is within the host's file.
FailureOr<host::FileDeviceOptions>
partition_window(const std::string& path, const ImageOptions& options, const std::string& which) {
    // Looks without a lock: another partition of this disk may be in use for writing.
    auto disk = TRY(host::open_file_device(path, {.access = host::Access::read_only,
                                                  .offset = options.offset,
                                                  .size = options.size,
                                                  .lock = false}));
    auto all = TRY(partitions(*disk));
    if (all.empty())
        return Failure(Errno::noent,
                       fmt::format("no partition {}, for there is no partition table: {}", which,
                                   what_it_is(*disk)));
    auto chosen = TRY(select(all, which, disk->size()));
    return host::FileDeviceOptions{.offset = options.offset + chosen.offset, .size = chosen.size};
}

} // namespace

std::span<const OptionSpec> image_option_specs() { return specs; }

FailureOr<void> set_image_option(ImageOptions& image, std::string_view name,
                                 std::optional<std::string_view> value) {
    if (name == "cow") image.cow = true;
    if (name == "cow" && (!value || value->empty())) return {}; // its file may be left out
    OptionSet checked;
    TRY(checked.set(specs, name, value));
    if (name == "offset") image.offset = checked.number(name, 0);
    if (name == "size") image.size = checked.number(name, 0);
    if (name == "size" && image.size == 0)
        return Failure(Errno::inval, "option size=0: not from 1");
    if (name == "part") image.partition = checked.text(name);
    if (name == "cow") image.cow_file = checked.text(name);
    return {};
}

ImageArgument parse_argument(std::string_view argument) {
    std::string whole(argument);
    if (!argument.ends_with('%') || ::access(whole.c_str(), F_OK) == 0) return {whole, {}};
    constexpr std::array<std::string_view, 2> marks{"%PART:", "%DISKLABEL:"};
    for (std::string_view mark : marks) {
        size_t at = argument.rfind(mark);
        if (at == argument.npos || at == 0) continue;
        std::string_view which = argument.substr(at + mark.size());
        which.remove_suffix(1);
        if (which.empty() || which.find('%') != which.npos) continue;
        return {std::string(argument.substr(0, at)), std::string(which)};
    }
    return {whole, {}};
}

namespace {

FailureOr<std::unique_ptr<host::BlockDevice>> open_once(const ImageArgument& image,
                                                        const ImageOptions& options) {
    if (!image.partition.empty() && !options.partition.empty() &&
        image.partition != options.partition)
        return Failure(Errno::inval,
                       fmt::format("the name asks for partition {}, the option for {}",
                                   image.partition, options.partition));
    const std::string& which = image.partition.empty() ? options.partition : image.partition;

    host::FileDeviceOptions window{.offset = options.offset, .size = options.size};
    if (!which.empty()) window = TRY(partition_window(image.path, options, which));
    const bool overlaid = options.cow || !options.cow_file.empty();
    window.access = overlaid ? host::Access::read_only : options.access;
    auto opened = host::open_file_device(image.path, window);
    if (!opened.ok()) {
        Failure failure = opened.release_error();
        const bool denied = failure.code == Errno::acces || failure.code == Errno::rofs;
        if (denied && window.access == host::Access::read_write)
            failure.text += "; -o ro and -o cow only read it";
        return failure;
    }
    auto device = opened.release_value();
    if (!options.cow_file.empty())
        return host::open_file_overlay(std::move(device), options.cow_file);
    if (options.cow) return host::make_memory_overlay(std::move(device));
    return device;
}

} // namespace

FailureOr<std::unique_ptr<host::BlockDevice>> open(std::string_view argument,
                                                   const ImageOptions& options) {
    const ImageArgument image = parse_argument(argument);
    // A mount is gone a little before its daemon has written the image and closed it.
    for (long wait_ms = 50;; wait_ms *= 2) {
        auto device = open_once(image, options);
        if (device.ok() || device.error().code != Errno::busy || wait_ms > 800) return device;
        const timespec pause{.tv_sec = 0, .tv_nsec = wait_ms * 1'000'000};
        ::nanosleep(&pause, nullptr);
    }
}

} // namespace rump::images
