// Conversions between UTF-8 (RFC 3629) and UTF-16 (RFC 2781).
#include "kernel/vfs/utf16.h"

#include <cstdint>

namespace rump::vfs {

namespace {

constexpr bool is_high(char16_t unit) { return unit >= 0xd800 && unit < 0xdc00; }
constexpr bool is_low(char16_t unit) { return unit >= 0xdc00 && unit < 0xe000; }

/// Bytes of the sequence that `first` begins; 0: none begins so.
constexpr size_t sequence_length(unsigned char first) {
    if (first < 0x80) return 1;
    if (first < 0xc2) return 0;
    if (first < 0xe0) return 2;
    if (first < 0xf0) return 3;
    return first < 0xf5 ? 4 : 0;
}

constexpr uint32_t smallest_of_length[] = {0, 0, 0x80, 0x800, 0x10000};

void put(uint32_t code, std::string& out) {
    if (code < 0x80) {
        out += static_cast<char>(code);
        return;
    }
    if (code < 0x800) {
        out += static_cast<char>(0xc0 | code >> 6);
    } else {
        if (code < 0x10000) {
            out += static_cast<char>(0xe0 | code >> 12);
        } else {
            out += static_cast<char>(0xf0 | code >> 18);
            out += static_cast<char>(0x80 | (code >> 12 & 0x3f));
        }
        out += static_cast<char>(0x80 | (code >> 6 & 0x3f));
    }
    out += static_cast<char>(0x80 | (code & 0x3f));
}

/// Hands the code units of `text` to `put` until that says no.
template<class Put>
bool decode(std::string_view text, Put put) {
    for (size_t at = 0; at < text.size();) {
        auto first = static_cast<unsigned char>(text[at]);
        size_t length = sequence_length(first);
        if (length == 0 || at + length > text.size()) return false;
        uint32_t code = length == 1 ? first : first & (0x7fu >> length);
        for (size_t i = 1; i < length; i++) {
            auto next = static_cast<unsigned char>(text[at + i]);
            if ((next & 0xc0) != 0x80) return false;
            code = code << 6 | (next & 0x3f);
        }
        if (code < smallest_of_length[length] || code > 0x10ffff) return false;
        if (code < 0x10000) {
            if (!put(static_cast<char16_t>(code))) return false;
        } else if (!put(static_cast<char16_t>(0xd800 + ((code - 0x10000) >> 10))) ||
                   !put(static_cast<char16_t>(0xdc00 + ((code - 0x10000) & 0x3ff)))) {
            return false;
        }
        at += length;
    }
    return true;
}

} // namespace

bool append_utf16(std::string_view text, std::u16string& out) {
    return decode(text, [&](char16_t unit) {
        out += unit;
        return true;
    });
}

std::optional<size_t> utf8_to_utf16(std::string_view text, std::span<char16_t> out) {
    size_t used = 0;
    bool whole = decode(text, [&](char16_t unit) {
        if (used == out.size()) return false;
        out[used++] = unit;
        return true;
    });
    if (!whole) return std::nullopt;
    return used;
}

Result<std::u16string> utf8_to_utf16(std::string_view text) {
    std::u16string out;
    out.reserve(text.size());
    if (!append_utf16(text, out)) return Errno::ilseq;
    return out;
}

void append_utf8(std::u16string_view units, std::string& out) {
    for (size_t at = 0; at < units.size(); at++) {
        uint32_t code = units[at];
        if (is_high(units[at]) && at + 1 < units.size() && is_low(units[at + 1]))
            code = 0x10000 + ((code & 0x3ff) << 10) + (units[++at] & 0x3ffu);
        put(code, out);
    }
}

std::string utf16_to_utf8(std::u16string_view units) {
    std::string out;
    out.reserve(units.size());
    append_utf8(units, out);
    return out;
}

} // namespace rump::vfs
