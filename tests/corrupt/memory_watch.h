// Counts what a thread allocates: operator new of the whole test program.
#pragma once

#include <cstdint>

namespace rump::corrupt {

struct MemoryUse {
    int64_t live = 0; // bytes that this thread has allocated and not freed
    int64_t most = 0; // the greatest value of `live` since reset_most()
};

MemoryUse memory_use();
/// `most` counts anew from what is live now.
void reset_most();

} // namespace rump::corrupt
