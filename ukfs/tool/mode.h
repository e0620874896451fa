// Modes as chmod(1) takes them: "644", "u+x,go-w", "a=rX".
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace rump::tool {

/// What `text` makes of `mode` (with its type bits); none when `text` is no mode. The umask plays
/// no part.
std::optional<uint32_t> apply_mode(std::string_view text, uint32_t mode);

} // namespace rump::tool
