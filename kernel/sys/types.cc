// Names are checked here, once, before any format code sees them.
#include "kernel/sys/types.h"

namespace rump {

Result<Name> Name::from(std::string_view bytes, size_t longest) {
    if (bytes.empty()) return Errno::noent;
    if (bytes.size() > longest) return Errno::nametoolong;
    for (char c : bytes)
        if (c == '/' || c == '\0') return Errno::inval;
    return Name(bytes);
}

} // namespace rump
