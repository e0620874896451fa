// Vnode cache: every vnode of one mount that is in core, by number; the life cycle drawn in
// sys/vnode.h.
#pragma once

#include "kernel/kern/counters.h"
#include "kernel/sys/vnode.h"

#include "hostshim/lock.h"

#include <memory>

namespace rump {

class VnodeCache {
public:
    /// When there are more than `limit`, unreferenced ones are reclaimed as new ones come, roughly
    /// least recently used first.
    explicit VnodeCache(uint32_t limit);
    /// ASSERTs that it is empty: drop_inactive(true) comes first.
    ~VnodeCache();

    /// A new reference to the cached vnode of `number`; empty when there is none. ESTALE: it is
    /// being taken apart.
    Result<VnodeRef> find(InodeNumber number);
    /// The same; when there is none, what `load` makes of it. One thread at a time loads a number,
    /// others wait for it: so nobody reads an inode that another thread is taking apart. `load`
    /// waits for no transaction. Errors: those of find() and of `load`.
    Result<VnodeRef> get(InodeNumber number, FunctionRef<Result<std::unique_ptr<Vnode>>()> load);
    /// Makes a fresh vnode active. When another thread was first with this number, its vnode is
    /// returned and the fresh one dropped.
    VnodeRef insert(std::unique_ptr<Vnode> fresh);
    /// Calls `visit` for every vnode in the cache, with a reference held, no shard locked.
    void each(FunctionRef<void(Vnode&)> visit);

    uint64_t active() const; // with references
    uint64_t cached() const; // all
    /// Reclaims every inactive vnode, dirty ones only when told so (their changes are lost: after a
    /// commit that failed).
    void drop_inactive(bool even_dirty);

    Counter loads, hits, reclaims; // enrolled by the mount

private:
    friend class VnodeRef;
    struct Shard;
    struct Loading;
    static void reference(Vnode& vnode);
    void release(Vnode& vnode);
    void retire(Vnode& vnode);
    void shrink(Shard& shard, std::vector<Vnode*>& doomed) NO_THREAD_SAFETY_ANALYSIS;
    Shard& shard_of(InodeNumber number);

    const uint32_t limit_;
    std::unique_ptr<Shard[]> shards_;
};

} // namespace rump
