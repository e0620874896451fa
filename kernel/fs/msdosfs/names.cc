// Names of FAT: short ones, and the pieces of long ones.
#include "kernel/fs/msdosfs/names.h"

#include <algorithm>
#include <cstring>

namespace rump::msdosfs {

namespace {

/// Characters of long names that short ones lack, though both are ASCII (FAT specification, 6.1).
constexpr std::u16string_view only_long = u"+,;=[]";

/// One part of a short name while it is made.
struct Part {
    std::array<uint8_t, 8> bytes;
    uint8_t length = 0;
    bool cut = false; // characters were left out or replaced
    bool has_upper = false;
    bool has_lower = false;
    bool beyond_ascii = false;
};

/// Takes characters from `units` into `part`, as many as `limit`.
void make_part(std::u16string_view units, uint8_t limit, const NameRules& rules, Part& part) {
    part.bytes.fill(' ');
    for (char16_t unit : units) {
        if (unit == u' ' || unit == u'.') {
            part.cut = true;
            continue;
        }
        part.beyond_ascii |= unit >= 0x80;
        char16_t upper = rules.upcase.upper(unit);
        part.has_lower |= unit >= u'a' && unit <= u'z';
        part.has_upper |= unit >= u'A' && unit <= u'Z';
        auto byte = rules.code_page.encode(upper);
        // DEL is none of those, but fsck.fat faults it.
        if (!byte || upper == 0x7f || only_long.find(upper) != only_long.npos) {
            byte = '_';
            part.cut = true;
        }
        if (part.length == limit) {
            part.cut = true;
            continue;
        }
        part.bytes[part.length++] = *byte;
    }
}

/// The digits that Windows NT makes of a long name once the first numbers are taken.
uint16_t long_name_hash(std::u16string_view units) {
    uint16_t sum = 0;
    for (char16_t unit : units) sum = static_cast<uint16_t>(sum * 37 + unit);
    auto spread = static_cast<int32_t>(sum * 314159269u);
    int64_t positive = spread < 0 ? -static_cast<int64_t>(spread) : spread;
    auto rest = static_cast<uint16_t>(positive % 1000000007);
    return static_cast<uint16_t>((rest & 0xf000) >> 12 | (rest & 0x0f00) >> 4 |
                                 (rest & 0x00f0) << 4 | (rest & 0x000f) << 12);
}

/// Puts `tail` behind the first characters of the base, at most `keep` of them.
ShortName with_tail(const Shortened& basis, size_t keep, std::string_view tail) {
    ShortName name = basis.name;
    size_t at = std::min<size_t>({basis.base_length, keep, 8 - tail.size()});
    for (char c : tail) name[at++] = static_cast<uint8_t>(c);
    while (at < 8) name[at++] = ' ';
    return name;
}

} // namespace

uint8_t short_name_checksum(const ShortName& name) {
    unsigned sum = 0;
    for (uint8_t byte : name) sum = (((sum & 1) << 7 | sum >> 1) + byte) & 0xff;
    return static_cast<uint8_t>(sum);
}

void show_short_name(const ShortName& name, uint8_t case_bits, const NameRules& rules,
                     NameUnits& out) {
    std::array<char, 11> bytes;
    std::memcpy(bytes.data(), name.data(), bytes.size());
    if (name[0] == disk::name_is_e5) bytes[0] = static_cast<char>(0xe5);
    std::string_view base(bytes.data(), 8);
    std::string_view extension(bytes.data() + 8, 3);
    base = base.substr(0, base.find_last_not_of(' ') + 1);
    extension = extension.substr(0, extension.find_last_not_of(' ') + 1);

    bool all_lower = rules.style == ShortNameStyle::lower;
    bool heed = rules.style == ShortNameStyle::winnt || rules.style == ShortNameStyle::mixed;
    out.size = 0;
    auto add = [&](std::string_view part, uint8_t bit) {
        std::array<char16_t, 8> units;
        size_t count = rules.code_page.decode(part, units);
        for (size_t i = 0; i < count; i++)
            out.units[out.size++] =
                all_lower || (heed && case_bits & bit) ? rules.upcase.lower(units[i]) : units[i];
    };
    add(base, disk::case_lower_base);
    if (!extension.empty()) {
        out.units[out.size++] = u'.';
        add(extension, disk::case_lower_extension);
    }
}

Shortened shorten(std::u16string_view units, const NameRules& rules) {
    size_t lead = units.find_first_not_of(u". ");
    std::u16string_view body = units.substr(lead == units.npos ? units.size() : lead);
    size_t dot = body.rfind(u'.');
    Part base, extension;
    make_part(body.substr(0, dot), 8, rules, base);
    make_part(dot == body.npos ? u"" : body.substr(dot + 1), 3, rules, extension);

    Shortened made;
    if (base.length == 0) { // all of it was dots and blanks
        base.bytes[base.length++] = '_';
        base.cut = true;
    }
    std::copy_n(base.bytes.begin(), 8, made.name.begin());
    std::copy_n(extension.bytes.begin(), 3, made.name.begin() + 8);
    if (made.name[0] == disk::name_deleted) made.name[0] = disk::name_is_e5;
    made.base_length = base.length;
    made.fits = lead == 0 && !base.cut && !extension.cut;
    if (!made.fits) return made;

    // Letters beyond ASCII read differently in another code page: as Windows has it, they are safe
    // in a long name only.
    if (base.beyond_ascii || extension.beyond_ascii) return made;

    bool any_lower = base.has_lower || extension.has_lower;
    bool one_case =
        !(base.has_lower && base.has_upper) && !(extension.has_lower && extension.has_upper);
    if (!any_lower) {
        made.needs_long = false;
    } else if (rules.style == ShortNameStyle::winnt && one_case) {
        made.needs_long = false;
        if (base.has_lower) made.case_bits |= disk::case_lower_base;
        if (extension.has_lower) made.case_bits |= disk::case_lower_extension;
    }
    // A style that shows short names in lower case cannot show an upper case one without a long
    // name.
    if (rules.style == ShortNameStyle::lower && !any_lower &&
        (base.has_upper || extension.has_upper))
        made.needs_long = true;
    return made;
}

ShortName numbered_short_name(const Shortened& basis, std::u16string_view name,
                              uint32_t candidate) {
    char tail[7] = {'~', static_cast<char>('1' + candidate % 9)};
    if (candidate < 9) return with_tail(basis, 6, {tail, 2});
    constexpr char digits[] = "0123456789ABCDEF";
    auto hash = static_cast<uint16_t>(long_name_hash(name) + (candidate - 9) / 9);
    for (int i = 0; i < 4; i++) tail[i] = digits[hash >> (12 - 4 * i) & 15];
    tail[4] = '~';
    tail[5] = static_cast<char>('1' + candidate % 9);
    return with_tail(basis, 2, {tail, 6});
}

void encode_long_entry(std::u16string_view units, uint32_t order, uint8_t checksum,
                       disk::LongEntry& out) {
    size_t begin = size_t{order - 1} * disk::long_units_per_entry;
    auto unit = [&](size_t i) -> uint16_t {
        size_t at = begin + i;
        return at < units.size() ? units[at] : at == units.size() ? 0 : 0xffff;
    };
    out = {};
    bool last = begin + disk::long_units_per_entry >= units.size();
    out.order = static_cast<uint8_t>(order | (last ? disk::long_last : 0));
    out.attributes = disk::attr_long_name;
    out.checksum = checksum;
    for (size_t i = 0; i < 5; i++) out.name1[i] = unit(i);
    for (size_t i = 0; i < 6; i++) out.name2[i] = unit(5 + i);
    for (size_t i = 0; i < 2; i++) out.name3[i] = unit(11 + i);
}

void decode_long_entry(const disk::LongEntry& entry,
                       std::span<char16_t, disk::long_units_per_entry> out) {
    for (size_t i = 0; i < 5; i++) out[i] = entry.name1[i];
    for (size_t i = 0; i < 6; i++) out[5 + i] = entry.name2[i];
    for (size_t i = 0; i < 2; i++) out[11 + i] = entry.name3[i];
}

} // namespace rump::msdosfs
