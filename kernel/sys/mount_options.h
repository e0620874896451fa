// The -o options that every mount takes, whoever hosts it: one table, one meaning. A host adds its
// own and asks for these by name.
#pragma once

#include "kernel/sys/mount.h"

#include <string>
#include <string_view>
#include <vector>

namespace rump {

/// The items of a list as after -o: separated by commas, a backslash keeps the next character.
std::vector<std::string> split_options(std::string_view list);

/// "name" or "name=value". Both are parts of `item`.
struct NamedOption {
    explicit NamedOption(std::string_view item);
    std::string_view name;
    std::optional<std::string_view> value;
};

/// Is there an option of that name?
bool lists(std::span<const OptionSpec> specs, std::string_view name);

std::span<const OptionSpec> mount_option_specs();

/// Sets what mount_option_specs() lists; of two that exclude each other the last one counts, as in
/// mount(8). Failure EINVAL names the option and says what it takes.
FailureOr<void> set_mount_option(MountOptions& mount, const NamedOption& option);

/// When all are set. Failure EINVAL: two that do not go together.
FailureOr<void> check_mount_options(const MountOptions& mount);

} // namespace rump
