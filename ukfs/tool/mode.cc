// Modes as chmod(1) takes them (POSIX.1-2017, chmod, "The symbolic mode").
#include "ukfs/tool/mode.h"

#include <charconv>

namespace rump::tool {
namespace {

/// The permission letters of one clause as bits for all three classes, with the special bits.
std::optional<uint32_t> letters(std::string_view& text, uint32_t who, uint32_t mode) {
    uint32_t bits = 0;
    for (; !text.empty() && text[0] != ',' && text[0] != '+' && text[0] != '-' && text[0] != '=';
         text.remove_prefix(1)) {
        switch (text[0]) {
        case 'r':
            bits |= 0444;
            break;
        case 'w':
            bits |= 0222;
            break;
        case 'x':
            bits |= 0111;
            break;
        case 'X':
            if ((mode & 0170000) == 0040000 || mode & 0111) bits |= 0111;
            break;
        case 's':
            bits |= 06000;
            break;
        case 't':
            bits |= 01000;
            break;
        case 'u':
            bits |= (mode >> 6 & 7) * 0111;
            break;
        case 'g':
            bits |= (mode >> 3 & 7) * 0111;
            break;
        case 'o':
            bits |= (mode & 7) * 0111;
            break;
        default:
            return std::nullopt;
        }
    }
    return bits & who;
}

/// Which bits the letters before the operator reach.
uint32_t classes(std::string_view& text) {
    uint32_t who = 0;
    for (; !text.empty(); text.remove_prefix(1)) {
        if (text[0] == 'u')
            who |= 04700;
        else if (text[0] == 'g')
            who |= 02070;
        else if (text[0] == 'o')
            who |= 01007;
        else if (text[0] == 'a')
            who |= 07777;
        else
            break;
    }
    return who ? who : 07777;
}

} // namespace

std::optional<uint32_t> apply_mode(std::string_view text, uint32_t mode) {
    if (text.empty()) return std::nullopt;
    uint32_t octal = 0;
    auto parsed = std::from_chars(text.data(), text.data() + text.size(), octal, 8);
    if (parsed.ec == std::errc() && parsed.ptr == text.data() + text.size())
        return octal <= 07777 ? std::optional((mode & ~07777u) | octal) : std::nullopt;

    for (;;) {
        uint32_t who = classes(text);
        if (text.empty() || std::string_view("+-=").find(text[0]) == text.npos) return std::nullopt;
        while (!text.empty() && text[0] != ',') {
            char operation = text[0];
            if (std::string_view("+-=").find(operation) == std::string_view::npos)
                return std::nullopt;
            text.remove_prefix(1);
            auto bits = letters(text, who, mode);
            if (!bits) return std::nullopt;
            if (operation == '+')
                mode |= *bits;
            else if (operation == '-')
                mode &= ~*bits;
            else
                mode = (mode & ~who) | *bits;
        }
        if (text.empty()) return mode;
        text.remove_prefix(1); // the comma
        if (text.empty()) return std::nullopt;
    }
}

} // namespace rump::tool
