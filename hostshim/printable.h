// Text that people read, from bytes that an image or another user chose.
#pragma once

#include <string>
#include <string_view>

namespace rump::host {

/// Control characters become `\n`, `\t` or octal (`\033`), as ls -b writes them: a name in a
/// message neither steers the terminal nor looks like a second message.
std::string printable(std::string_view text);

} // namespace rump::host
