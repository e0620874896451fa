// Counting in operator new and delete, over malloc, which the sanitizers watch.
#include "tests/corrupt/memory_watch.h"

#include <algorithm>
#include <cstdlib>
#include <malloc.h>
#include <new>

namespace rump::corrupt {

namespace {
thread_local constinit MemoryUse use;

void* counted(void* memory) {
    if (memory) {
        use.live += static_cast<int64_t>(::malloc_usable_size(memory));
        use.most = std::max(use.most, use.live);
    }
    return memory;
}

void uncounted(void* memory) {
    if (memory) use.live -= static_cast<int64_t>(::malloc_usable_size(memory));
    std::free(memory);
}

void* allocate(std::size_t size) {
    if (void* memory = counted(std::malloc(size ? size : 1))) return memory;
    throw std::bad_alloc();
}

void* allocate_aligned(std::size_t size, std::align_val_t alignment) {
    void* memory = nullptr;
    auto bytes = std::max(static_cast<std::size_t>(alignment), sizeof(void*));
    if (::posix_memalign(&memory, bytes, size ? size : 1) != 0) throw std::bad_alloc();
    return counted(memory);
}
} // namespace

MemoryUse memory_use() { return use; }
void reset_most() { use.most = use.live; }

} // namespace rump::corrupt

void* operator new(std::size_t size) { return rump::corrupt::allocate(size); }
void* operator new[](std::size_t size) { return rump::corrupt::allocate(size); }
void* operator new(std::size_t size, std::align_val_t alignment) {
    return rump::corrupt::allocate_aligned(size, alignment);
}
void* operator new[](std::size_t size, std::align_val_t alignment) {
    return rump::corrupt::allocate_aligned(size, alignment);
}
void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
    return rump::corrupt::counted(std::malloc(size ? size : 1));
}
void* operator new[](std::size_t size, const std::nothrow_t&) noexcept {
    return rump::corrupt::counted(std::malloc(size ? size : 1));
}
void operator delete(void* memory) noexcept { rump::corrupt::uncounted(memory); }
void operator delete[](void* memory) noexcept { rump::corrupt::uncounted(memory); }
void operator delete(void* memory, std::size_t) noexcept { rump::corrupt::uncounted(memory); }
void operator delete[](void* memory, std::size_t) noexcept { rump::corrupt::uncounted(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { rump::corrupt::uncounted(memory); }
void operator delete[](void* memory, std::align_val_t) noexcept {
    rump::corrupt::uncounted(memory);
}
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept {
    rump::corrupt::uncounted(memory);
}
void operator delete[](void* memory, std::size_t, std::align_val_t) noexcept {
    rump::corrupt::uncounted(memory);
}
