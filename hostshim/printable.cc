// Escapes of control characters, those of UTF-8 beyond ASCII (U+0080 to U+009F) too.
#include "hostshim/printable.h"

#include <fmt/format.h>

#include <iterator>

namespace rump::host {

std::string printable(std::string_view text) {
    std::string out;
    bool second_of_c1 = false;
    for (size_t i = 0; i < text.size(); ++i) {
        const auto c = static_cast<unsigned char>(text[i]);
        const bool c1 = c == 0xc2 && i + 1 < text.size() && (text[i + 1] & 0xe0) == 0x80;
        if (c == '\n')
            out += "\\n";
        else if (c == '\t')
            out += "\\t";
        else if (c < 0x20 || c == 0x7f || c1 || second_of_c1)
            fmt::format_to(std::back_inserter(out), "\\{:03o}", c);
        else
            out += text[i];
        second_of_c1 = c1;
    }
    return out;
}

} // namespace rump::host
