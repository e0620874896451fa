// The host's table of mounts. A line (proc(5), "/proc/pid/mountinfo"):
//
//     36 35 98:0 /root /where rw,noatime master:1 … - ext3 /dev/root rw,errors=continue
//
// Fields are divided by single blanks; any number of optional ones stands before the dash.
#include "hostshim/mountinfo.h"

#include <algorithm>
#include <fstream>
#include <iterator>

namespace rump::host {
namespace {

/// Takes what stands before the next `end`, and that.
std::string_view take(std::string_view& text, char end) {
    const size_t length = std::min(text.find(end), text.size());
    const std::string_view taken = text.substr(0, length);
    text.remove_prefix(std::min(length + 1, text.size()));
    return taken;
}

/// Blanks, tabs, newlines and backslashes are three octal digits behind a backslash.
std::string unescape(std::string_view text) {
    std::string plain;
    for (size_t i = 0; i < text.size(); ++i) {
        auto octal = [&](size_t at) { return text[at] >= '0' && text[at] <= '7'; };
        if (text[i] == '\\' && i + 3 < text.size() && octal(i + 1) && octal(i + 2) &&
            octal(i + 3)) {
            plain += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 +
                                       (text[i + 3] - '0'));
            i += 3;
        } else {
            plain += text[i];
        }
    }
    return plain;
}

} // namespace

std::vector<MountEntry> parse_mountinfo(std::string_view table) {
    std::vector<MountEntry> entries;
    while (!table.empty()) {
        std::string_view line = take(table, '\n');
        MountEntry entry;
        take(line, ' '); // its number
        take(line, ' '); // its parent's
        entry.device = take(line, ' ');
        take(line, ' '); // what of the file system is its root
        entry.where = unescape(take(line, ' '));
        entry.options = take(line, ' ');
        bool whole = false;
        while (!whole && !line.empty()) whole = take(line, ' ') == "-";
        if (!whole) continue;
        entry.type = unescape(take(line, ' '));
        entry.source = unescape(take(line, ' '));
        entry.super_options = line;
        entries.push_back(std::move(entry));
    }
    return entries;
}

std::vector<MountEntry> mount_table() {
    std::ifstream file("/proc/self/mountinfo");
    return parse_mountinfo(std::string(std::istreambuf_iterator<char>(file), {}));
}

bool has_mount_option(std::string_view options, std::string_view word) {
    while (!options.empty())
        if (take(options, ',') == word) return true;
    return false;
}

} // namespace rump::host
