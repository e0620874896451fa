// Volumes that are longer than their image: a copy that was cut short.
#pragma once

#include <fmt/core.h>

#include <cstdint>
#include <string>

namespace rump {

/// The end of the sentence that refuses a volume of `count` units, so many bytes each: how what is
/// there can be read. Empty where no device could be that long.
inline std::string how_to_read_the_rest(uint64_t count, uint64_t unit) {
    if (count > INT64_MAX / unit) return {};
    return fmt::format("; its end is missing: -o ro,size={} reads the rest", count * unit);
}

} // namespace rump
