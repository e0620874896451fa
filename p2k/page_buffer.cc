// See page_buffer.h.
#include "p2k/page_buffer.h"

#include <sys/mman.h>

namespace rump::p2k {

Result<PageBuffer> PageBuffer::create(size_t size) {
    void* memory = ::mmap(nullptr, size, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) return Errno::nomem;
    return PageBuffer({static_cast<std::byte*>(memory), size});
}

PageBuffer::~PageBuffer() {
    if (!bytes_.empty()) ::munmap(bytes_.data(), bytes_.size());
}

} // namespace rump::p2k
