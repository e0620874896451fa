// sysconf(3) knows the pages of the host.
#include "hostshim/memory.h"

#include <algorithm>
#include <unistd.h>

namespace rump::host {

uint64_t memory_bytes() {
    constexpr uint64_t least = 64u << 20;
    const long pages = sysconf(_SC_PHYS_PAGES);
    const long page = sysconf(_SC_PAGESIZE);
    if (pages <= 0 || page <= 0) return least;
    return std::max(least, static_cast<uint64_t>(pages) * static_cast<uint64_t>(page));
}

} // namespace rump::host
