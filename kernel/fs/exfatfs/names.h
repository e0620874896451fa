// Names: what exFAT can hold, how they compare and hash. Specification, 7.6.4 and 7.7.
#pragma once

#include "kernel/fs/exfatfs/format.h"
#include "kernel/vfs/upcase.h"

#include "hostshim/result.h"

#include <array>
#include <string>
#include <string_view>

namespace rump::exfatfs {

/// Code units of one name, without an allocation.
struct NameUnits {
    std::array<char16_t, disk::name_units_max + disk::units_per_entry> units;
    size_t size = 0;
    std::u16string_view view() const { return {units.data(), size}; }
};

/// EINVAL: a character that no name holds (control characters, `"*/:<>?\|`), nothing but dots and
/// blanks, no UTF-8; ENAMETOOLONG: over 255 code units. Trailing dots and blanks are cut off, as
/// Windows does. "." and ".." are not given here.
Result<NameUnits> parse_name(std::string_view name);

/// `units` as they compare: upper case, without trailing dots and blanks.
void fold(std::u16string_view units, const vfs::UpcaseTable& upcase, NameUnits& out);
/// The same for a name that a user gave. False: no name on the volume can be this one.
bool fold(std::string_view name, const vfs::UpcaseTable& upcase, NameUnits& out);
uint32_t hash_folded(std::u16string_view folded);

/// The hash that stands in a stream extension: of the upper case of all code units.
uint16_t name_hash(std::u16string_view units, const vfs::UpcaseTable& upcase);

/// What users see: the name, or, where that has more bytes than a path component may have, its
/// beginning, "~" and eight hexadecimal digits that tell it from others. EUCLEAN: it can be no
/// name.
Result<void> show_name(std::u16string_view units, std::string& out);

} // namespace rump::exfatfs
