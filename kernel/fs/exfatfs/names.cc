// Names of exFAT: parsing, folding, hashing, showing.
#include "kernel/fs/exfatfs/names.h"

#include "kernel/sys/types.h"
#include "kernel/vfs/dirhash.h"
#include "kernel/vfs/utf16.h"

#include <fmt/format.h>

#include <algorithm>

namespace rump::exfatfs {

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
    if (!size) return name.size() > disk::name_units_max ? Errno::nametoolong : Errno::inval;
    parsed.size = without_tail({parsed.units.data(), *size}).size();
    if (parsed.size == 0) return Errno::inval;
    std::u16string_view units = parsed.view();
    if (std::any_of(units.begin(), units.end(), in_no_name)) return Errno::inval;
    if (units.size() > disk::name_units_max) return Errno::nametoolong;
    return parsed;
}

void fold(std::u16string_view units, const vfs::UpcaseTable& upcase, NameUnits& out) {
    units = without_tail(units);
    out.size = std::min(units.size(), out.units.size());
    for (size_t i = 0; i < out.size; i++) out.units[i] = upcase.upper(units[i]);
}

bool fold(std::string_view name, const vfs::UpcaseTable& upcase, NameUnits& out) {
    auto size = vfs::utf8_to_utf16(name, out.units);
    if (!size) return false;
    fold({out.units.data(), *size}, upcase, out);
    return out.size > 0;
}

uint32_t hash_folded(std::u16string_view folded) {
    return DirHash::hash({reinterpret_cast<const char*>(folded.data()), folded.size() * 2});
}

uint16_t name_hash(std::u16string_view units, const vfs::UpcaseTable& upcase) {
    unsigned sum = 0;
    for (char16_t unit : units) {
        char16_t upper = upcase.upper(unit);
        for (unsigned byte : {upper & 0xffu, static_cast<unsigned>(upper >> 8)})
            sum = (((sum & 1) << 15 | sum >> 1) + byte) & 0xffff;
    }
    return static_cast<uint16_t>(sum);
}

Result<void> show_name(std::u16string_view units, std::string& out) {
    out.clear();
    vfs::append_utf8(units, out);
    if (out.size() > name_max) {
        size_t keep = name_max - 9;
        while (keep > 0 && (static_cast<unsigned char>(out[keep]) & 0xc0) == 0x80) keep--;
        out.resize(keep);
        out += fmt::format("~{:08x}", hash_folded(units));
    }
    bool usable = !out.empty() && out != "." && out != ".." && out.find('/') == out.npos &&
                  out.find('\0') == out.npos;
    if (!usable) return Errno::uclean;
    return {};
}

} // namespace rump::exfatfs
