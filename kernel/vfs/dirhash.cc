// Directory hashes and the memory limit over them.
#include "kernel/vfs/dirhash.h"

#include "hostshim/assertion.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <new>

namespace rump {

namespace {
constexpr size_t smallest_slots = 64;
constexpr size_t smallest_rooms = 16;
} // namespace

uint32_t DirHash::hash(std::string_view name) {
    // Multiply and fold, eight bytes a step: names are short, and only in-memory tables depend on
    // it.
    constexpr uint64_t multiplier = 0x9e3779b97f4a7c15;
    uint64_t h = multiplier ^ name.size();
    const char* at = name.data();
    for (size_t left = name.size(); left > 0;) {
        uint64_t word = 0;
        size_t n = std::min<size_t>(left, sizeof word);
        std::memcpy(&word, at, n);
        __extension__ using Wide = unsigned __int128;
        Wide product = static_cast<Wide>(h ^ word) * multiplier;
        h = static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
        at += n;
        left -= n;
    }
    return static_cast<uint32_t>(h ^ h >> 32);
}

DirHash::~DirHash() { pool_.bytes_.fetch_sub(charged_, std::memory_order_relaxed); }

size_t DirHash::home(uint32_t hash) const { return (hash * 0x9e3779b1u) & (slots_.size() - 1); }

size_t DirHash::locate(uint32_t hash, uint32_t offset) const {
    if (slots_.empty()) return slots_.size();
    size_t at = home(hash);
    while (slots_[at].offset != free_mark) {
        if (slots_[at].offset == offset && slots_[at].hash == hash) return at;
        at = (at + 1) & (slots_.size() - 1);
    }
    return slots_.size();
}

void DirHash::add(uint32_t hash, uint32_t offset) {
    ASSERT(offset < removed_mark);
    // Three quarters full at the most, so that every probe meets a free slot soon.
    if (slots_.empty() || (used_ + 1) * 4 > slots_.size() * 3) {
        try {
            rehash(std::max(smallest_slots, std::bit_ceil((live_ + 1) * 2)));
        } catch (const std::bad_alloc&) {
            give_up();
            if (slots_.empty() || used_ + 1 >= slots_.size()) return;
        }
    }
    size_t at = home(hash);
    while (slots_[at].offset < removed_mark) at = (at + 1) & (slots_.size() - 1);
    if (slots_[at].offset == free_mark) ++used_;
    slots_[at] = {hash, offset};
    ++live_;
    charge();
}

void DirHash::remove(uint32_t hash, uint32_t offset) {
    size_t at = locate(hash, offset);
    if (at == slots_.size()) return;
    slots_[at].offset = removed_mark;
    --live_;
    // Marks at the end of a probe sequence are of no use to anybody.
    if (slots_[(at + 1) & (slots_.size() - 1)].offset != free_mark) return;
    while (slots_[at].offset == removed_mark) {
        slots_[at].offset = free_mark;
        --used_;
        at = (at - 1) & (slots_.size() - 1);
    }
}

void DirHash::move(uint32_t hash, uint32_t from, uint32_t to) {
    ASSERT(to < removed_mark);
    size_t at = locate(hash, from);
    if (at != slots_.size()) slots_[at].offset = to;
}

bool DirHash::find(uint32_t hash, FunctionRef<bool(uint32_t offset)> candidate) const {
    if (slots_.empty()) return false;
    for (size_t at = home(hash); slots_[at].offset != free_mark;
         at = (at + 1) & (slots_.size() - 1))
        if (slots_[at].hash == hash && slots_[at].offset != removed_mark &&
            candidate(slots_[at].offset))
            return true;
    return false;
}

void DirHash::rehash(size_t slots) {
    std::vector<Slot> old(slots, Slot{0, free_mark});
    old.swap(slots_);
    used_ = live_;
    for (const Slot& slot : old) {
        if (slot.offset >= removed_mark) continue;
        size_t at = home(slot.hash);
        while (slots_[at].offset != free_mark) at = (at + 1) & (slots_.size() - 1);
        slots_[at] = slot;
    }
}

void DirHash::set_room(uint32_t block, uint32_t bytes) {
    if (block >= rooms_.size() / 2) {
        if (bytes == 0) return;
        try {
            grow_rooms(static_cast<size_t>(block) + 1);
        } catch (const std::bad_alloc&) {
            give_up();
            return;
        }
        charge();
    }
    size_t node = rooms_.size() / 2 + block;
    rooms_[node] = bytes;
    for (node /= 2; node > 0; node /= 2)
        rooms_[node] = std::max(rooms_[2 * node], rooms_[2 * node + 1]);
}

void DirHash::grow_rooms(size_t blocks) {
    size_t before = rooms_.size() / 2;
    size_t leaves = std::max(smallest_rooms, std::bit_ceil(blocks));
    std::vector<uint32_t> grown(leaves * 2);
    std::copy_n(rooms_.begin() + static_cast<ptrdiff_t>(before), before,
                grown.begin() + static_cast<ptrdiff_t>(leaves));
    for (size_t node = leaves - 1; node > 0; --node)
        grown[node] = std::max(grown[2 * node], grown[2 * node + 1]);
    rooms_ = std::move(grown);
}

uint32_t DirHash::room(uint32_t block) const {
    size_t leaves = rooms_.size() / 2;
    return block < leaves ? rooms_[leaves + block] : 0;
}

std::optional<uint32_t> DirHash::find_room(uint32_t bytes) const {
    ASSERT(bytes > 0);
    if (rooms_.empty() || rooms_[1] < bytes) return std::nullopt;
    size_t leaves = rooms_.size() / 2, node = 1;
    while (node < leaves) node = rooms_[2 * node] >= bytes ? 2 * node : 2 * node + 1;
    return static_cast<uint32_t>(node - leaves);
}

void DirHash::truncate(uint32_t blocks) {
    for (size_t block = blocks; block < rooms_.size() / 2; ++block)
        if (room(static_cast<uint32_t>(block)) != 0) set_room(static_cast<uint32_t>(block), 0);
}

size_t DirHash::memory() const {
    return sizeof *this + slots_.capacity() * sizeof(Slot) + rooms_.capacity() * sizeof(uint32_t);
}

void DirHash::charge() {
    size_t now = memory();
    if (now == charged_) return;
    size_t before = std::exchange(charged_, now);
    pool_.charge(*static_cast<DirHashPool::Handle*>(handle_), before, now);
}

void DirHash::give_up() {
    host::MutexGuard guard(pool_.mutex_);
    pool_.revoke(*static_cast<DirHashPool::Handle*>(handle_));
}

// --- the pool -----------------------------------------------------------------------------------

DirHashPool::~DirHashPool() {
    host::MutexGuard guard(mutex_);
    while (!handles_.empty()) revoke(*handles_.front());
}

DirHashPool::Use::~Use() {
    if (!handle_) return;
    uint32_t before = handle_->state_.fetch_sub(1, std::memory_order_acq_rel);
    if (before == (Handle::gone | 1)) handle_->hash_.reset();
}

DirHashPool::Use DirHashPool::Handle::get() {
    uint32_t state = state_.load(std::memory_order_relaxed);
    while (!(state & gone))
        if (state_.compare_exchange_weak(state, state + 1, std::memory_order_acquire,
                                         std::memory_order_relaxed))
            return Use(this);
    return Use();
}

void DirHashPool::Handle::revoke() {
    if (state_.fetch_or(gone, std::memory_order_acq_rel) == 0) hash_.reset();
}

void DirHashPool::Handle::drop() {
    // A pool that takes the hash back at this moment is waited for by its mutex.
    DirHashPool* pool = pool_.load(std::memory_order_acquire);
    if (!pool) return;
    host::MutexGuard guard(pool->mutex_);
    if (!pool_.load(std::memory_order_relaxed)) return;
    ASSERT((state_.load(std::memory_order_relaxed) & ~gone) == 0);
    revoke();
    pool->handles_.erase(position_);
    pool_.store(nullptr, std::memory_order_relaxed);
}

void DirHashPool::revoke(Handle& handle) {
    if (!handle.pool_.load(std::memory_order_relaxed)) return;
    handles_.erase(handle.position_);
    handle.revoke();
    handle.pool_.store(nullptr, std::memory_order_release);
    revoked.add();
}

DirHashPool::Use DirHashPool::make(Handle& handle) {
    handle.drop();
    host::MutexGuard guard(mutex_);
    try {
        handle.hash_.reset(new DirHash(*this, &handle));
        handle.position_ = handles_.insert(handles_.end(), &handle);
    } catch (const std::bad_alloc&) {
        handle.hash_.reset();
        return Use();
    }
    handle.pool_.store(this, std::memory_order_relaxed);
    handle.state_.store(1, std::memory_order_release);
    made.add();
    return Use(&handle);
}

void DirHashPool::charge(Handle& self, size_t before, size_t now) {
    // The sum wraps around in between when the hash shrank; it comes out right.
    uint64_t total = bytes_.fetch_add(now - before, std::memory_order_relaxed) + (now - before);
    if (now <= before || total <= limit_) return;
    host::MutexGuard guard(mutex_);
    while (bytes() > limit_ && !handles_.empty()) {
        Handle* oldest = handles_.front();
        if (oldest == &self) {
            if (handles_.size() == 1) break;
            oldest = *std::next(handles_.begin());
        }
        revoke(*oldest);
    }
    if (bytes() > limit_) revoke(self);
}

} // namespace rump
