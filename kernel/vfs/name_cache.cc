// Name cache: a set-associative table per shard, so that its memory is bounded and an entry costs
// one cache line. Tables begin small and grow to their share of the limit.
#include "kernel/vfs/name_cache.h"

#include <algorithm>
#include <cstring>
#include <vector>

namespace rump {

using host::MutexGuard;

namespace {
constexpr size_t name_shards = 8;
constexpr size_t ways = 8;

uint32_t hash_of(const Vnode& dir, std::string_view name) {
    uint64_t h = (dir.number().value() + 1) * 0x9e3779b97f4a7c15ull ^ dir.generation();
    size_t i = 0;
    for (; i + 8 <= name.size(); i += 8) {
        uint64_t word;
        std::memcpy(&word, name.data() + i, 8);
        h = (h ^ word) * 0xff51afd7ed558ccdull;
        h ^= h >> 32;
    }
    uint64_t word = 0;
    std::memcpy(&word, name.data() + i, name.size() - i);
    h = (h ^ word ^ name.size() << 56) * 0xc4ceb9fe1a85ec53ull;
    return static_cast<uint32_t>(h >> 32 ^ h);
}
} // namespace

struct NameCache::Entry {
    uint64_t dir = 0;   // 0: free
    uint64_t child = 0; // 0: there is no such name
    uint32_t generation = 0;
    uint32_t hash = 0;
    uint8_t length = 0;
    uint8_t used = 0; // since the last time a victim was looked for
    char name[longest];

    bool matches(uint32_t h, const Vnode& d, std::string_view n) const {
        return hash == h && length == n.size() && dir == d.number().value() &&
               generation == d.generation() && std::memcmp(name, n.data(), n.size()) == 0;
    }
};

struct NameCache::Shard {
    host::Mutex mutex{host::Rank::name_cache};
    std::vector<Entry> entries GUARDED_BY(mutex); // a power of two of sets
    size_t live GUARDED_BY(mutex) = 0;

    Entry* set_of(uint32_t hash) REQUIRES(mutex) {
        const size_t sets = entries.size() / ways;
        return entries.data() + (hash >> 3 & (sets - 1)) * ways;
    }
    Entry* find(uint32_t hash, const Vnode& dir, std::string_view name) REQUIRES(mutex) {
        if (entries.empty()) return nullptr;
        Entry* set = set_of(hash);
        for (size_t i = 0; i < ways; ++i)
            if (set[i].matches(hash, dir, name)) return set + i;
        return nullptr;
    }
    /// A free entry of the set, or one that was not used lately.
    Entry& victim(uint32_t hash) REQUIRES(mutex) {
        Entry* set = set_of(hash);
        for (size_t i = 0; i < ways; ++i)
            if (set[i].dir == 0) return set[i];
        for (size_t i = 0; i < ways; ++i) {
            if (!set[i].used) return set[i];
            set[i].used = 0;
        }
        return set[hash & (ways - 1)];
    }
    void put(const Entry& entry) REQUIRES(mutex) {
        Entry& place = victim(entry.hash);
        if (place.dir == 0) ++live;
        place = entry;
    }
    void grow(size_t limit) REQUIRES(mutex) {
        const size_t size = entries.empty() ? 32 : entries.size() * 2;
        if (size > limit || live * 4 < entries.size() * 3) return;
        std::vector<Entry> old(size);
        old.swap(entries);
        live = 0;
        for (const Entry& entry : old)
            if (entry.dir != 0) put(entry);
    }
};

NameCache::NameCache(uint32_t limit)
    : limit_(std::max<uint32_t>(limit, 32 * name_shards)), shards_(new Shard[name_shards]) {}

NameCache::~NameCache() = default;

NameCache::Shard& NameCache::shard_of(uint64_t hash) { return shards_[hash & (name_shards - 1)]; }

NameCache::Answer NameCache::find(const Vnode& dir, Name name) {
    if (name.size() > longest) return {};
    const uint32_t hash = hash_of(dir, name.view());
    Shard& shard = shard_of(hash);
    MutexGuard guard(shard.mutex);
    Entry* entry = shard.find(hash, dir, name.view());
    if (!entry) {
        misses.add();
        return {};
    }
    entry->used = 1;
    if (entry->child == 0) {
        negative_hits.add();
        return {Answer::Kind::negative, {}};
    }
    hits.add();
    return {Answer::Kind::positive, InodeNumber(entry->child)};
}

void NameCache::put(const Vnode& dir, Name name, uint64_t child) {
    if (name.size() > longest) return;
    const uint32_t hash = hash_of(dir, name.view());
    Shard& shard = shard_of(hash);
    MutexGuard guard(shard.mutex);
    if (Entry* entry = shard.find(hash, dir, name.view())) {
        entry->child = child;
        return;
    }
    shard.grow(limit_ / name_shards);
    Entry entry;
    entry.dir = dir.number().value();
    entry.child = child;
    entry.generation = dir.generation();
    entry.hash = hash;
    entry.length = static_cast<uint8_t>(name.size());
    std::memcpy(entry.name, name.view().data(), name.size());
    shard.put(entry);
}

void NameCache::enter(const Vnode& dir, Name name, InodeNumber number) {
    put(dir, name, number.value());
}

void NameCache::enter_negative(const Vnode& dir, Name name) { put(dir, name, 0); }

void NameCache::remove(const Vnode& dir, Name name) {
    if (name.size() > longest) return;
    const uint32_t hash = hash_of(dir, name.view());
    Shard& shard = shard_of(hash);
    MutexGuard guard(shard.mutex);
    if (Entry* entry = shard.find(hash, dir, name.view())) {
        entry->dir = 0;
        --shard.live;
    }
}

void NameCache::clear() {
    for (size_t i = 0; i < name_shards; ++i) {
        MutexGuard guard(shards_[i].mutex);
        shards_[i].entries.clear();
        shards_[i].live = 0;
    }
}

} // namespace rump
