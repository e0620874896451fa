// Unpacking of compressed upper case tables (exFAT specification, 7.2.5).
#include "kernel/vfs/upcase.h"

namespace rump::vfs {

namespace {
constexpr size_t all_units = 65536;
constexpr uint16_t identity_mark = 0xffff;
} // namespace

UpcaseTable::UpcaseTable() { load(compressed_upcase_table); }

bool UpcaseTable::load(std::span<const uint16_t> compressed) {
    map_.resize(all_units);
    for (size_t unit = 0; unit < all_units; unit++) map_[unit] = static_cast<char16_t>(unit);
    size_t unit = 0;
    for (size_t at = 0; at < compressed.size(); at++) {
        if (unit >= all_units) return false;
        // A mark that ends the table, or stands for the last code unit, is no mark.
        if (compressed[at] == identity_mark && at + 1 < compressed.size() &&
            unit != all_units - 1) {
            unit += compressed[++at];
            if (unit > all_units) return false;
        } else {
            map_[unit++] = static_cast<char16_t>(compressed[at]);
        }
    }
    return true;
}

char16_t UpcaseTable::lower(char16_t unit) const {
    // Alphabets keep their two cases side by side or at a fixed distance: asked first, because a
    // search of everything costs more than anybody's name is worth.
    static constexpr int distances[] = {32, 1, 80, 48, 26, 38, 37, 63, 64, 8, -8};
    for (int distance : distances) {
        int candidate = unit + distance;
        if (candidate > 0 && candidate < static_cast<int>(all_units) &&
            map_[static_cast<size_t>(candidate)] == unit && candidate != unit)
            return static_cast<char16_t>(candidate);
    }
    if (unit < 0x80) return unit;
    for (size_t candidate = 0x80; candidate < all_units; candidate++)
        if (map_[candidate] == unit && candidate != unit) return static_cast<char16_t>(candidate);
    return unit;
}

} // namespace rump::vfs
