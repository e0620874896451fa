// Entries of a directory. See directory.h.
#include "kernel/fs/tmpfs/directory.h"

#include "hostshim/assertion.h"

#include <algorithm>
#include <cstring>
#include <new>

namespace rump::tmpfs {

namespace {

constexpr size_t smallest_table = 8;

uint64_t mix(uint64_t x) { // the finalizer of splitmix64
    x ^= x >> 30;
    x *= 0xbf58476d1ce4e5b9u;
    x ^= x >> 27;
    x *= 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

} // namespace

/// Seeded by the mount, so that nobody can prepare names that collide.
uint32_t Directory::hash_of(std::string_view name) const {
    uint64_t hash = hash_seed_ ^ name.size();
    while (name.size() > 8) {
        uint64_t word;
        std::memcpy(&word, name.data(), 8);
        hash = mix(hash ^ word);
        name.remove_prefix(8);
    }
    uint64_t word = 0;
    std::memcpy(&word, name.data(), name.size());
    return static_cast<uint32_t>(mix(hash ^ word) >> 32);
}

Entry* Directory::find(Name name) const {
    if (buckets_.empty()) return nullptr;
    const uint32_t hash = hash_of(name.view());
    Entry* entry = buckets_[hash & (buckets_.size() - 1)];
    while (entry != nullptr && (entry->hash != hash || entry->name() != name.view()))
        entry = entry->hash_next;
    return entry;
}

Result<void> Directory::insert(Name name, InodeNumber number, FileType type) {
    Charge charge = TRY(Charge::take(budget_, charge_of(name.size())));
    void* memory = ::operator new(sizeof(Entry) + name.size(), std::nothrow);
    if (memory == nullptr) return Errno::nomem;
    auto* entry = new (memory) Entry{.cookie = next_cookie_,
                                     .number = number,
                                     .hash_next = nullptr,
                                     .hash = hash_of(name.view()),
                                     .type = type,
                                     .name_length = static_cast<uint8_t>(name.size())};
    std::memcpy(static_cast<char*>(memory) + sizeof(Entry), name.view().data(), name.size());
    try {
        if (live_ >= buckets_.size()) rehash(std::max(smallest_table, buckets_.size() * 2));
        order_.push_back({next_cookie_, entry});
    } catch (const std::bad_alloc&) {
        free(entry);
        return Errno::nomem;
    }
    Entry*& head = buckets_[entry->hash & (buckets_.size() - 1)];
    entry->hash_next = head;
    head = entry;
    ++next_cookie_;
    ++live_;
    charge.keep();
    return {};
}

void Directory::erase(Entry* entry) {
    Entry** link = &buckets_[entry->hash & (buckets_.size() - 1)];
    while (*link != entry) link = &(*link)->hash_next;
    *link = entry->hash_next;

    const size_t at = position(entry->cookie);
    ASSERT(at < order_.size() && order_[at].entry == entry);
    order_[at].entry = nullptr;
    --live_;
    budget_.give(charge_of(entry->name_length));
    free(entry);

    while (!order_.empty() && order_.back().entry == nullptr) order_.pop_back();
    if (order_.size() > 2 * live_ + smallest_table) compact();
}

void Directory::clear() {
    for (const Slot& slot : order_) {
        if (slot.entry == nullptr) continue;
        budget_.give(charge_of(slot.entry->name_length));
        free(slot.entry);
    }
    order_.clear();
    buckets_.clear();
    live_ = 0;
}

const Entry* Directory::at_or_after(uint64_t cookie) const {
    for (size_t at = position(cookie); at < order_.size(); ++at)
        if (order_[at].entry != nullptr) return order_[at].entry;
    return nullptr;
}

/// Where the first slot is whose cookie is at least `cookie`.
size_t Directory::position(uint64_t cookie) const {
    if (order_.empty()) return 0;
    // Cookies without gaps, the common case, are found without a search.
    const uint64_t base = order_.front().cookie;
    if (cookie <= base) return 0;
    if (const uint64_t at = cookie - base; at < order_.size() && order_[at].cookie == cookie)
        return at;
    const auto found = std::lower_bound(order_.begin(), order_.end(), cookie,
                                        [](const Slot& s, uint64_t c) { return s.cookie < c; });
    return static_cast<size_t>(found - order_.begin());
}

void Directory::rehash(size_t buckets) {
    std::vector<Entry*> fresh(buckets, nullptr);
    for (const Slot& slot : order_) {
        if (slot.entry == nullptr) continue;
        Entry*& head = fresh[slot.entry->hash & (buckets - 1)];
        slot.entry->hash_next = head;
        head = slot.entry;
    }
    buckets_.swap(fresh);
}

/// Gives back what removed entries still hold. Memory is never needed for it: a table that cannot
/// be made smaller stays as it is.
void Directory::compact() {
    std::erase_if(order_, [](const Slot& slot) { return slot.entry == nullptr; });
    if (live_ * 8 >= buckets_.size() || buckets_.size() <= smallest_table) return;
    try {
        order_.shrink_to_fit();
        rehash(std::max(smallest_table, buckets_.size() / 4));
    } catch (const std::bad_alloc&) {
        return;
    }
}

void Directory::free(Entry* entry) { ::operator delete(entry); }

} // namespace rump::tmpfs
