// Vnode cache: references, lookup by number, reclaiming by a clock. The life cycle is drawn in
// sys/vnode.h.
//
// The count of references and how often one was taken share one word: dropping the last reference
// of a file that is still linked is then one compare-and-swap that fails if anybody came by since
// its link count was looked at. Only from count 0 a reference is taken under the shard's mutex; a
// vnode with count 0 is freed under it.
#include "kernel/vfs/vnode_cache.h"

#include "kernel/kern/kernel.h"
#include "kernel/sys/mount.h"

#include <algorithm>
#include <vector>

namespace rump {

using host::MutexGuard;

namespace {
constexpr uint64_t one_reference = 1 + (1ull << 32);
constexpr uint32_t count_of(uint64_t references) { return static_cast<uint32_t>(references); }
constexpr size_t vnode_shards = 8;
} // namespace

struct VnodeCache::Shard {
    host::Mutex mutex{host::Rank::vnode_cache};
    struct Member {
        static host::ClockLinks<Vnode>& links(Vnode& vnode) { return vnode.links_; }
        static uint64_t key(const Vnode& vnode) { return vnode.number().value(); }
    };
    host::ClockHash<Vnode, Member> vnodes GUARDED_BY(mutex);
    std::vector<InodeNumber> loading GUARDED_BY(mutex); // few
    host::CondVar loaded;

    bool is_loading(InodeNumber number) const REQUIRES(mutex) {
        return std::find(loading.begin(), loading.end(), number) != loading.end();
    }
    /// A new reference; empty: none is cached. ESTALE: it is being taken apart.
    Result<VnodeRef> find(InodeNumber number) REQUIRES(mutex) {
        Vnode* vnode = vnodes.find(number.value());
        if (!vnode) return VnodeRef();
        if (vnode->dying_) return Errno::stale;
        vnode->references_.fetch_add(one_reference, std::memory_order_acquire);
        vnode->accessed_.store(true, std::memory_order_relaxed);
        return VnodeRef::adopt(vnode);
    }
};

/// This thread loads a number, which is noted already.
struct VnodeCache::Loading {
    ~Loading() {
        MutexGuard guard(shard.mutex);
        std::erase(shard.loading, number);
        shard.loaded.notify_all();
    }
    Shard& shard;
    const InodeNumber number;
};

// --- VnodeRef -----------------------------------------------------------------------------------

VnodeRef::VnodeRef(const VnodeRef& other) : vnode_(other.vnode_) {
    if (vnode_) VnodeCache::reference(*vnode_);
}

VnodeRef VnodeRef::to(Vnode& vnode) {
    VnodeCache::reference(vnode);
    return adopt(&vnode);
}

void VnodeRef::reset() {
    if (Vnode* vnode = std::exchange(vnode_, nullptr)) vnode->mount().vnodes().release(*vnode);
}

// --- cache --------------------------------------------------------------------------------------

VnodeCache::VnodeCache(uint32_t limit) : limit_(limit), shards_(new Shard[vnode_shards]) {}

VnodeCache::~VnodeCache() { ASSERT(cached() == 0); }

VnodeCache::Shard& VnodeCache::shard_of(InodeNumber number) {
    return shards_[number.value() * 0x9e3779b97f4a7c15ull >> 61 & (vnode_shards - 1)];
}

void VnodeCache::reference(Vnode& vnode) {
    vnode.references_.fetch_add(one_reference, std::memory_order_relaxed);
}

Result<VnodeRef> VnodeCache::find(InodeNumber number) {
    Shard& shard = shard_of(number);
    MutexGuard guard(shard.mutex);
    VnodeRef found = TRY(shard.find(number));
    if (found) hits.add();
    return found;
}

Result<VnodeRef> VnodeCache::get(InodeNumber number,
                                 FunctionRef<Result<std::unique_ptr<Vnode>>()> load) {
    Shard& shard = shard_of(number);
    {
        MutexGuard guard(shard.mutex);
        for (;;) {
            if (VnodeRef found = TRY(shard.find(number))) {
                hits.add();
                return found;
            }
            if (!shard.is_loading(number)) break;
            shard.loaded.wait(shard.mutex);
        }
        shard.loading.push_back(number);
    }
    const Loading loading{shard, number};
    return insert(TRY(load()));
}

VnodeRef VnodeCache::insert(std::unique_ptr<Vnode> fresh) {
    Shard& shard = shard_of(fresh->number());
    Vnode* vnode;
    std::vector<Vnode*> doomed;
    {
        MutexGuard guard(shard.mutex);
        vnode = shard.vnodes.find(fresh->number().value());
        // Its number is another file's already: all that is left for it is to leave the table.
        if (vnode && vnode->dying_) shard.vnodes.remove(*std::exchange(vnode, nullptr));
        const bool is_new = !vnode;
        if (is_new) {
            vnode = fresh.release();
            shard.vnodes.insert(*vnode);
            loads.add();
        }
        vnode->references_.fetch_add(one_reference, std::memory_order_acquire);
        if (is_new) shrink(shard, doomed);
    }
    for (Vnode* gone : doomed) delete gone;
    return VnodeRef::adopt(vnode);
}

/// Few steps each time: where most vnodes are in use (a FUSE kernel holds what it has looked up),
/// walking past all of them at each insertion would be quadratic.
void VnodeCache::shrink(Shard& shard, std::vector<Vnode*>& doomed) {
    const size_t limit = limit_ / vnode_shards + 1;
    for (int steps = 8; steps > 0 && shard.vnodes.size() > limit; --steps) {
        Vnode& vnode = *shard.vnodes.tick();
        if (count_of(vnode.references_.load(std::memory_order_acquire)) != 0 || vnode.dying_)
            continue;
        if (vnode.accessed_.exchange(false, std::memory_order_relaxed)) continue;
        if (vnode.dirty()) continue;
        shard.vnodes.remove(vnode);
        reclaims.add();
        doomed.push_back(&vnode);
    }
}

void VnodeCache::release(Vnode& vnode) {
    uint64_t seen = vnode.references_.load(std::memory_order_acquire);
    for (;;) {
        ASSERT(count_of(seen) > 0);
        if (count_of(seen) == 1 && vnode.unlinked()) {
            // Ours is the last one, so nobody else can link the file again meanwhile.
            Shard& shard = shard_of(vnode.number());
            MutexGuard guard(shard.mutex);
            if (vnode.references_.load(std::memory_order_acquire) == seen) {
                vnode.dying_ = true;
                break;
            }
            seen = vnode.references_.load(std::memory_order_acquire);
            continue;
        }
        if (vnode.references_.compare_exchange_weak(seen, seen - 1, std::memory_order_acq_rel))
            return;
    }
    retire(vnode);
}

void VnodeCache::retire(Vnode& vnode) {
    Mount& mount = vnode.mount();
    {
        host::ExclusiveGuard guard(vnode.lock);
        if (!mount.dead() && !mount.read_only())
            if (auto result = vnode.inactive(); !result)
                mount.kernel().log().warning("{}: inode {}: space of a removed file is lost: {}",
                                             mount.type().name(), vnode.number().value(),
                                             errno_message(result.error()));
    }
    Shard& shard = shard_of(vnode.number());
    {
        MutexGuard guard(shard.mutex);
        if (shard.vnodes.find(vnode.number().value()) == &vnode) shard.vnodes.remove(vnode);
    }
    reclaims.add();
    delete &vnode;
}

void VnodeCache::each(FunctionRef<void(Vnode&)> visit) {
    for (size_t i = 0; i < vnode_shards; ++i) {
        std::vector<VnodeRef> held;
        {
            MutexGuard guard(shards_[i].mutex);
            shards_[i].vnodes.each([&](Vnode& vnode) {
                if (vnode.dying_) return;
                vnode.references_.fetch_add(one_reference, std::memory_order_acquire);
                held.push_back(VnodeRef::adopt(&vnode));
            });
        }
        for (VnodeRef& ref : held) visit(*ref);
    }
}

uint64_t VnodeCache::cached() const {
    uint64_t n = 0;
    for (size_t i = 0; i < vnode_shards; ++i) {
        MutexGuard guard(shards_[i].mutex);
        n += shards_[i].vnodes.size();
    }
    return n;
}

uint64_t VnodeCache::active() const {
    uint64_t active = 0;
    for (size_t i = 0; i < vnode_shards; ++i) {
        MutexGuard guard(shards_[i].mutex);
        shards_[i].vnodes.each([&](const Vnode& vnode) {
            if (count_of(vnode.references_.load(std::memory_order_relaxed)) > 0) ++active;
        });
    }
    return active;
}

void VnodeCache::drop_inactive(bool even_dirty) {
    for (size_t i = 0; i < vnode_shards; ++i) {
        std::vector<Vnode*> doomed;
        {
            Shard& shard = shards_[i];
            MutexGuard guard(shard.mutex);
            shard.vnodes.each([&](Vnode& vnode) NO_THREAD_SAFETY_ANALYSIS {
                if (count_of(vnode.references_.load(std::memory_order_acquire)) != 0 ||
                    (!even_dirty && vnode.dirty()))
                    return;
                shard.vnodes.remove(vnode);
                doomed.push_back(&vnode);
            });
        }
        reclaims.add(doomed.size());
        for (Vnode* vnode : doomed) delete vnode;
    }
}

} // namespace rump
