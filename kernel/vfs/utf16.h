// UTF-8 and UTF-16, for formats that store names in UTF-16 (FAT's long names, exFAT).
//
// Code units that are half of a surrogate pair occur in names on real disks. They have no UTF-8;
// they are shown in the three-byte form that a code point of their value would have (as WTF-8
// does), and that form is taken back, so that every name can be shown, and found by what is shown.
#pragma once

#include "hostshim/result.h"

#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace rump::vfs {

/// EILSEQ: not UTF-8 (overlong forms, values above 0x10ffff, cut sequences).
Result<std::u16string> utf8_to_utf16(std::string_view text);
/// The same, appended to `out`; false in place of an error.
bool append_utf16(std::string_view text, std::u16string& out);

/// The same into `out`, for callers that allocate nothing: the number of code units. None: not
/// UTF-8, or more than `out` holds.
std::optional<size_t> utf8_to_utf16(std::string_view text, std::span<char16_t> out);

/// Never fails.
std::string utf16_to_utf8(std::u16string_view units);
void append_utf8(std::u16string_view units, std::string& out);

} // namespace rump::vfs
