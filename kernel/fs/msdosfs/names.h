// Names of FAT, beyond what they share with exFAT's: short ones, and how long ones are stored. FAT
// specification, 7; Windows NT's case bits; the shortening of names as Windows does it.
//
// Pure functions over characters: no device, no directory.
#pragma once

#include "kernel/fs/clusters/names.h"
#include "kernel/fs/msdosfs/codepage.h"
#include "kernel/fs/msdosfs/format.h"

#include <array>
#include <span>
#include <string>
#include <string_view>

namespace rump::msdosfs {

using clusters::fold;
using clusters::hash_folded;
using clusters::NameUnits;
using clusters::parse_name;
static_assert(disk::long_units_per_entry <= clusters::piece_units_max);

/// Which names get by without a long entry, and how short ones are shown (shortname=).
enum class ShortNameStyle : uint8_t {
    lower, // shown in lower case; a long entry where there is any upper case
    win95, // shown as stored; a long entry unless all is upper case
    winnt, // shown by the case bits; a long entry unless each part is of one case
    mixed, // shown by the case bits; a long entry unless all is upper case
};

/// What a mount knows about names.
struct NameRules {
    CodePage code_page = *CodePage::find(CodePage::standard);
    ShortNameStyle style = ShortNameStyle::winnt;
    vfs::UpcaseTable upcase{};
};

using ShortName = std::array<uint8_t, 11>;

/// The sum that binds long entries to their short name (FAT specification, 7.2).
uint8_t short_name_checksum(const ShortName& name);

/// How a short name reads: "NAME.EXT" by the code page; lower case where `case_bits` says so and
/// the style heeds them.
void show_short_name(const ShortName& name, uint8_t case_bits, const NameRules& rules,
                     NameUnits& out);

/// What a name becomes as a short name.
struct Shortened {
    ShortName name{};        // padded; of a name that does not fit: without its number
    uint8_t case_bits = 0;   // for an entry without a long name
    bool fits = false;       // is the whole name, but for case
    bool needs_long = true;  // a long entry must say what `name` cannot
    uint8_t base_length = 0; // characters before the blanks
};
Shortened shorten(std::u16string_view name, const NameRules& rules);

/// The candidates for a name that does not fit or whose short form is taken: 0 to 8 give "~1" to
/// "~9" behind six characters, higher ones two characters, four hex digits made from the long name,
/// and "~1" to "~9" again, the digits counting up after each nine.
ShortName numbered_short_name(const Shortened& basis, std::u16string_view name, uint32_t candidate);
inline constexpr uint32_t short_name_candidates = 9 + 9 * 65536;

/// Long entries that hold `units`.
constexpr uint32_t long_entries_for(size_t units) {
    return static_cast<uint32_t>((units + disk::long_units_per_entry - 1) /
                                 disk::long_units_per_entry);
}
/// Fills the entry of `order` (1 is the one before the short entry) of the name.
void encode_long_entry(std::u16string_view units, uint32_t order, uint8_t checksum,
                       disk::LongEntry& out);
/// The 13 code units of an entry, terminator and padding included.
void decode_long_entry(const disk::LongEntry& entry,
                       std::span<char16_t, disk::long_units_per_entry> out);

} // namespace rump::msdosfs
