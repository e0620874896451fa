// Name cache: which number a name of a directory has, or that it is not there. Keyed by the
// directory's number and generation, so that entries of a removed directory can never be met again.
// Holds numbers, not vnodes: it keeps nothing in core.
#pragma once

#include "kernel/kern/counters.h"
#include "kernel/sys/vnode.h"

#include "hostshim/lock.h"

#include <memory>

namespace rump {

class NameCache {
public:
    /// Longer names are not kept: they are rare, and entries have one size.
    static constexpr size_t longest = 38;

    explicit NameCache(uint32_t limit);
    ~NameCache();

    struct Answer {
        enum class Kind : uint8_t { unknown, positive, negative } kind = Kind::unknown;
        InodeNumber number{};
    };
    Answer find(const Vnode& dir, Name name);
    void enter(const Vnode& dir, Name name, InodeNumber number);
    void enter_negative(const Vnode& dir, Name name);
    /// Forgets one name. Whoever changes a directory calls it (or enters the new truth) while it
    /// holds the directory's lock exclusively.
    void remove(const Vnode& dir, Name name);
    void clear();

    Counter hits, negative_hits, misses; // enrolled by the mount

private:
    struct Shard;
    struct Entry;
    Shard& shard_of(uint64_t hash);
    void put(const Vnode& dir, Name name, uint64_t child);
    const uint32_t limit_;
    std::unique_ptr<Shard[]> shards_;
};

} // namespace rump
