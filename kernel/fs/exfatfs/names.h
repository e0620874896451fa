// Names of exFAT, beyond what they share with FAT's: their hash, and how they are shown.
// Specification, 7.6.4 and 7.7.
#pragma once

#include "kernel/fs/clusters/names.h"
#include "kernel/fs/exfatfs/format.h"

#include <string>

namespace rump::exfatfs {

using clusters::fold;
using clusters::hash_folded;
using clusters::NameUnits;
using clusters::parse_name;
static_assert(disk::units_per_entry <= clusters::piece_units_max);

/// The hash that stands in a stream extension: of the upper case of all code units.
uint16_t name_hash(std::u16string_view units, const vfs::UpcaseTable& upcase);

/// What users see. EUCLEAN: it can be no name.
Result<void> show_name(std::u16string_view units, std::string& out);

} // namespace rump::exfatfs
