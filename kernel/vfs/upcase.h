// Upper case as Windows has it, for formats whose names are compared without case (FAT, exFAT): one
// UTF-16 code unit becomes one, whatever the language; surrogates are their own upper case.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace rump::vfs {

/// The exFAT specification's recommended table as it stands on volumes (upcase_table.cc).
extern const std::array<uint16_t, 2918> compressed_upcase_table;

/// The upper case of every code unit. 128 KiB; a mount owns one.
class UpcaseTable {
public:
    /// Windows' own.
    UpcaseTable();
    /// From a compressed table. False: `compressed` is not one (it runs past 65,536 code units);
    /// the units that it does not reach are their own upper case.
    bool load(std::span<const uint16_t> compressed);

    char16_t upper(char16_t unit) const { return map_[unit]; }
    /// The code unit whose upper case is `unit`; itself when there is none or more than one
    /// candidate (the lowest wins).
    char16_t lower(char16_t unit) const;

private:
    std::vector<char16_t> map_;
};

} // namespace rump::vfs
