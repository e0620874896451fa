// Names and messages of error numbers.
#include "hostshim/error.h"

#include <cstring>

namespace rump {

std::string_view errno_name(Errno error) {
    const char* name = strerrorname_np(to_int(error));
    return name ? name : "E?";
}

std::string_view errno_message(Errno error) {
    const char* text = strerrordesc_np(to_int(error));
    return text ? text : "Unknown error";
}

} // namespace rump
