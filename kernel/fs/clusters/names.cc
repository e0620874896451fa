// Parsing and folding.
#include "kernel/fs/clusters/names.h"

#include "kernel/sys/types.h"
#include "kernel/vfs/dirhash.h"
#include "kernel/vfs/utf16.h"

#include <algorithm>

namespace rump::clusters {

namespace {

constexpr bool in_no_name(char16_t unit) {
    return unit < 0x20 ||
           std::u16string_view(u"\"*/:<>?\\|").find(unit) != std::u16string_view::npos;
}

std::u16string_view without_tail(std::u16string_view units) {
    size_t end = units.find_last_not_of(u". ");
    return units.substr(0, end == units.npos ? 0 : end + 1);
}

} // namespace

Result<NameUnits> parse_name(std::string_view name) {
    NameUnits parsed;
    auto size = vfs::utf8_to_utf16(name, parsed.units);
    if (!size) return name.size() > name_units_max ? Errno::nametoolong : Errno::inval;
    parsed.size = without_tail({parsed.units.data(), *size}).size();
    if (parsed.size == 0) return Errno::inval;
    std::u16string_view units = parsed.view();
    if (std::any_of(units.begin(), units.end(), in_no_name)) return Errno::inval;
    if (units.size() > name_units_max) return Errno::nametoolong;
    return parsed;
}

bool usable_in_paths(std::string_view name) {
    return !name.empty() && name != "." && name != ".." && name.find('/') == name.npos &&
           name.find('\0') == name.npos;
}

void fold(std::u16string_view units, const vfs::UpcaseTable& upcase, NameUnits& out) {
    units = without_tail(units);
    out.size = std::min(units.size(), out.units.size());
    for (size_t i = 0; i < out.size; i++) out.units[i] = upcase.upper(units[i]);
}

Result<void> fold(std::string_view name, const vfs::UpcaseTable& upcase, NameUnits& out) {
    auto size = vfs::utf8_to_utf16(name, out.units);
    if (!size) return name.size() > name_units_max ? Errno::nametoolong : Errno::noent;
    fold({out.units.data(), *size}, upcase, out);
    if (out.size > name_units_max) return Errno::nametoolong;
    return out.size > 0 ? Result<void>() : Errno::noent;
}

uint32_t hash_folded(std::u16string_view folded) {
    return DirHash::hash({reinterpret_cast<const char*>(folded.data()), folded.size() * 2});
}

} // namespace rump::clusters
