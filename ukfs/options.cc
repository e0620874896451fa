// Options of ukfs.
#include "ukfs/options.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <vector>

namespace rump::ukfslib {
namespace {

using Kind = OptionSpec::Kind;

constexpr OptionSpec image_specs[] = {
    {"offset", Kind::size, "BYTES", "where the file system, or the disk, begins in the image"},
    {"size", Kind::size, "BYTES", "how long it is"},
    {"part", Kind::text, "WHICH", "a partition: number, letter, name or UUID"},
    {"cow", Kind::text, "[FILE]", "never write to the image: changes go to FILE, or vanish"},
};

constexpr OptionSpec mount_specs[] = {
    {"ro", Kind::flag, "", "read-only"},
    {"rw", Kind::flag, "", "read and write"},
    {"uid", Kind::number, "ID", "show this owner for all files"},
    {"gid", Kind::number, "ID", "show this group for all files"},
    {"umask", Kind::octal, "MODE", "take these bits from all modes"},
    {"noatime", Kind::flag, "", "never update access times"},
    {"relatime", Kind::flag, "", "update access times once a day or after changes"},
    {"strictatime", Kind::flag, "", "always update access times"},
    {"sync", Kind::flag, "", "every operation is durable when it returns"},
    {"errors", Kind::text, "WHAT", "after corruption: remount-ro, continue, abort"},
    {"norecovery", Kind::flag, "", "with ro: leave a log alone, do not replay it in memory"},
    {"cache", Kind::size, "BYTES", "memory for metadata"},
};

std::vector<std::string> split(std::string_view list) {
    std::vector<std::string> items(1);
    for (size_t i = 0; i < list.size(); ++i) {
        if (list[i] == '\\' && i + 1 < list.size())
            items.back() += list[++i];
        else if (list[i] == ',')
            items.emplace_back();
        else
            items.back() += list[i];
    }
    std::erase(items, "");
    return items;
}

bool listed(std::span<const OptionSpec> specs, std::string_view name) {
    return std::any_of(specs.begin(), specs.end(),
                       [&](const OptionSpec& spec) { return spec.name == name; });
}

class Parser {
public:
    Parser(const FileSystemType* type, Purpose purpose) : type_(type), purpose_(purpose) {
        if (!type) return;
        if (purpose == Purpose::mount) own_specs_ = type->mount_options();
        if (purpose == Purpose::newfs) own_specs_ = type->newfs_options();
    }

    FailureOr<void> item(const std::string& text) {
        size_t equals = text.find('=');
        std::string_view name = std::string_view(text).substr(0, equals);
        std::optional<std::string_view> value;
        if (equals != text.npos) value = std::string_view(text).substr(equals + 1);
        // The type's own come first: tmpfs has a size= of another meaning.
        if (listed(own_specs_, name)) {
            OptionSet& own = purpose_ == Purpose::mount ? options_.mount.fs : options_.own;
            return own.set(own_specs_, name, value);
        }
        if (listed(image_specs, name)) {
            if (name == "cow") {
                options_.image.cow = true;
                if (!value || value->empty()) return {};
            }
            return common_.set(image_specs, name, value);
        }
        if (purpose_ == Purpose::mount && listed(mount_specs, name)) {
            if (name == "ro" || name == "rw") options_.mount.read_only = name == "ro";
            if (name == "noatime") options_.mount.atime = AtimePolicy::none;
            if (name == "relatime") options_.mount.atime = AtimePolicy::relative;
            if (name == "strictatime") options_.mount.atime = AtimePolicy::strict;
            return common_.set(mount_specs, name, value);
        }
        if (!type_) return {};
        return Failure(Errno::inval, fmt::format("unknown option \"{}\"", name));
    }

    FailureOr<Options> conclude() {
        options_.image.offset = common_.number("offset", 0);
        options_.image.size = common_.number("size", 0);
        options_.image.partition = common_.text("part");
        options_.image.cow_file = common_.text("cow");
        MountOptions& mount = options_.mount;
        if (common_.has("uid")) mount.uid = TRY(id("uid"));
        if (common_.has("gid")) mount.gid = TRY(id("gid"));
        if (common_.has("umask")) {
            if (common_.number("umask", 0) > 0777)
                return Failure(Errno::inval, "option umask: not from 0 to 0777");
            mount.umask = static_cast<uint32_t>(common_.number("umask", 0));
        }
        mount.sync = common_.has("sync");
        mount.no_recovery = common_.has("norecovery");
        mount.cache_bytes = common_.number("cache", mount.cache_bytes);
        if (mount.cache_bytes < 256u << 10 || mount.cache_bytes > uint64_t{1} << 40)
            return Failure(Errno::inval, "option cache: not from 256k to 1T");
        TRY(errors_policy());
        return std::move(options_);
    }

private:
    FailureOr<uint32_t> id(std::string_view name) const {
        uint64_t value = common_.number(name, 0);
        if (value >= UINT32_MAX)
            return Failure(Errno::inval, fmt::format("option {}: {} is no id", name, value));
        return static_cast<uint32_t>(value);
    }

    FailureOr<void> errors_policy() {
        std::string policy = common_.text("errors", "remount-ro");
        if (policy == "remount-ro")
            options_.mount.errors = ErrorPolicy::remount_read_only;
        else if (policy == "continue")
            options_.mount.errors = ErrorPolicy::carry_on;
        else if (policy == "abort")
            options_.mount.errors = ErrorPolicy::abort;
        else
            return Failure(
                Errno::inval,
                fmt::format("option errors={}: not remount-ro, continue or abort", policy));
        return {};
    }

    const FileSystemType* const type_;
    const Purpose purpose_;
    std::span<const OptionSpec> own_specs_;
    Options options_;
    OptionSet common_;
};

} // namespace

FailureOr<Options> parse_options(std::string_view list, const FileSystemType* type,
                                 Purpose purpose) {
    Parser parser(type, purpose);
    for (const std::string& text : split(list)) TRY(parser.item(text));
    return parser.conclude();
}

} // namespace rump::ukfslib
