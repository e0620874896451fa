// Names of FAT and exFAT: what they can hold, and how they compare. FAT specification, 7; exFAT
// specification, 7.6.4 and 7.7.
//
// Pure functions over characters: no device, no directory.
#pragma once

#include "kernel/vfs/upcase.h"

#include "hostshim/result.h"

#include <array>
#include <cstdint>
#include <string_view>

namespace rump::clusters {

inline constexpr size_t name_units_max = 255; // UTF-16 code units
/// Names are stored in pieces of so many code units at the most.
inline constexpr size_t piece_units_max = 15;

/// Code units of one name, without an allocation; what a whole number of pieces holds fits.
struct NameUnits {
    std::array<char16_t, name_units_max + piece_units_max> units;
    size_t size = 0;
    std::u16string_view view() const { return {units.data(), size}; }
};

/// EINVAL: a character that no name holds (control characters, `"*/:<>?\|`), nothing but dots and
/// blanks, no UTF-8; ENAMETOOLONG: over 255 code units. Trailing dots and blanks are cut off, as
/// Windows does. "." and ".." are not given here.
Result<NameUnits> parse_name(std::string_view name);

/// A path can hold it: it is not empty, "." or "..", and has no '/' and no NUL.
bool usable_in_paths(std::string_view name);

/// `units` as they compare: upper case, without trailing dots and blanks.
void fold(std::u16string_view units, const vfs::UpcaseTable& upcase, NameUnits& out);
/// The same for a name that a user looks for. ENOENT: no name on the volume can be this one;
/// ENAMETOOLONG: over 255 code units.
Result<void> fold(std::string_view name, const vfs::UpcaseTable& upcase, NameUnits& out);
uint32_t hash_folded(std::u16string_view folded);

} // namespace rump::clusters
