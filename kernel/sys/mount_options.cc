// Options of mounts. Names and meanings are mount(8)'s where that has them.
#include "kernel/sys/mount_options.h"

#include <fmt/core.h>

#include <algorithm>

namespace rump {

namespace {

using Kind = OptionSpec::Kind;

constexpr OptionSpec specs[] = {
    {"ro", Kind::flag, "", "read-only"},
    {"rw", Kind::flag, "", "read and write (default)"},
    {"uid", Kind::number, "ID", "show this owner for all files"},
    {"gid", Kind::number, "ID", "show this group for all files"},
    {"umask", Kind::octal, "MODE", "take these bits from all modes"},
    {"noatime", Kind::flag, "", "never update access times"},
    {"relatime", Kind::flag, "", "update access times once a day or after changes (default)"},
    {"atime", Kind::flag, "", "as relatime"},
    {"strictatime", Kind::flag, "", "always update access times"},
    {"sync", Kind::flag, "", "every operation is durable when it returns"},
    {"async", Kind::flag, "", "changes are durable within 5 seconds (default)"},
    {"acl", Kind::flag, "", "POSIX ACLs are in force where the format has them (default)"},
    {"noacl", Kind::flag, "", "ignore POSIX ACLs: modes alone decide"},
    {"errors", Kind::text, "WHAT", "after corruption: remount-ro (default), continue, abort"},
    {"norecovery", Kind::flag, "", "with ro: leave a log alone, do not replay it in memory"},
    {"cache", Kind::size, "BYTES", "memory for metadata (default 8M)"},
};

constexpr uint64_t least_cache = 256u << 10, most_cache = uint64_t{1} << 40;

FailureOr<uint32_t> id(std::string_view name, uint64_t value) {
    if (value < UINT32_MAX) return static_cast<uint32_t>(value);
    return Failure(Errno::inval,
                   fmt::format("option {}={}: not from 0 to {}", name, value, UINT32_MAX - 1));
}

FailureOr<ErrorPolicy> error_policy(std::string_view text) {
    if (text == "remount-ro") return ErrorPolicy::remount_read_only;
    if (text == "continue") return ErrorPolicy::carry_on;
    if (text == "abort") return ErrorPolicy::abort;
    return Failure(Errno::inval,
                   fmt::format("option errors={}: not remount-ro, continue or abort", text));
}

} // namespace

std::vector<std::string> split_options(std::string_view list) {
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

NamedOption::NamedOption(std::string_view item) : name(item.substr(0, item.find('='))) {
    if (name.size() < item.size()) value = item.substr(name.size() + 1);
}

bool lists(std::span<const OptionSpec> specs, std::string_view name) {
    return std::any_of(specs.begin(), specs.end(),
                       [&](const OptionSpec& spec) { return spec.name == name; });
}

std::span<const OptionSpec> mount_option_specs() { return specs; }

FailureOr<void> set_mount_option(MountOptions& mount, const NamedOption& option) {
    const std::string_view name = option.name;
    OptionSet checked;
    TRY(checked.set(specs, name, option.value));
    const uint64_t number = checked.number(name, 0);
    if (name == "ro" || name == "rw") mount.read_only = name == "ro";
    if (name == "uid") mount.uid = TRY(id(name, number));
    if (name == "gid") mount.gid = TRY(id(name, number));
    if (name == "noatime") mount.atime = AtimePolicy::none;
    if (name == "relatime" || name == "atime") mount.atime = AtimePolicy::relative;
    if (name == "strictatime") mount.atime = AtimePolicy::strict;
    if (name == "sync" || name == "async") mount.sync = name == "sync";
    if (name == "sync") mount.sync = true;
    if (name == "acl" || name == "noacl") mount.acl = name == "acl";
    if (name == "norecovery") mount.no_recovery = true;
    if (name == "errors") mount.errors = TRY(error_policy(checked.text(name)));
    if (name == "umask") {
        if (number > 0777)
            return Failure(Errno::inval,
                           fmt::format("option umask={:o}: not from 0 to 0777", number));
        mount.umask = static_cast<uint32_t>(number);
    }
    if (name == "cache") {
        if (number < least_cache || number > most_cache)
            return Failure(Errno::inval,
                           fmt::format("option cache={}: not from 256k to 1T", checked.text(name)));
        mount.cache_bytes = number;
    }
    return {};
}

FailureOr<void> check_mount_options(const MountOptions& mount) {
    if (mount.no_recovery && !mount.read_only) return Failure(Errno::inval, "norecovery needs ro");
    return {};
}

} // namespace rump
