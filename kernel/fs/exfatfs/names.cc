// Names of exFAT: hashing, showing.
#include "kernel/fs/exfatfs/names.h"

#include "kernel/vfs/utf16.h"

namespace rump::exfatfs {

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
    return clusters::usable_in_paths(out) ? Result<void>() : Errno::uclean;
}

} // namespace rump::exfatfs
