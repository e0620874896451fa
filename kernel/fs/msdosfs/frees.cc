// Freeing clusters one epoch after the last pointer to them went.
#include "kernel/fs/msdosfs/frees.h"

#include "kernel/kern/kernel.h"
#include "kernel/vfs/buffer_cache.h"

#include <algorithm>

namespace rump::msdosfs {

using host::MutexGuard;

void PendingFrees::add(const Chain& chain) {
    MutexGuard guard(mutex_);
    chains_.push_back(chain);
    waiting_ += chain.count;
}

uint64_t PendingFrees::epoch() {
    MutexGuard guard(mutex_);
    return open_epoch_;
}

uint32_t PendingFrees::waiting() {
    MutexGuard guard(mutex_);
    return static_cast<uint32_t>(std::min<uint64_t>(waiting_, geometry_.cluster_count));
}

void PendingFrees::epoch_collected() {
    MutexGuard guard(mutex_);
    open_epoch_++;
}

void PendingFrees::epoch_committed(Transaction& tx) {
    std::vector<Chain> ready;
    uint64_t committed;
    {
        MutexGuard guard(mutex_);
        committed = open_epoch_ - 1;
        auto later = std::partition(chains_.begin(), chains_.end(),
                                    [&](const Chain& c) { return c.epoch > committed; });
        ready.assign(later, chains_.end());
        chains_.erase(later, chains_.end());
        for (const Chain& chain : ready) waiting_ -= chain.count;
    }
    discard_ready(committed);
    for (const Chain& chain : ready)
        if (auto cleared = clear(tx, chain); !cleared)
            mount_.kernel().log().warning("{}: cluster {}: clusters of a removed file are lost: {}",
                                          mount_.type().name(), chain.first.value(),
                                          errno_message(cleared.error()));
}

Result<void> PendingFrees::clear(Transaction& tx, const Chain& chain) {
    if (chain.kept) {
        // The file may have grown since, into other clusters.
        FatEntry entry = TRY(fat_.get(*chain.kept));
        if (entry.kind == FatEntry::Kind::next && entry.next == chain.first)
            TRY(fat_.end_chain(tx, *chain.kept));
    }
    FatTable::Cursor cursor;
    std::optional<Cluster> at = chain.first;
    // A cleared entry ends the walk, so a chain that goes round in a circle does, too.
    while (at) {
        ClusterRun run{*at, 0};
        at.reset();
        for (bool together = true; together;) {
            FatEntry entry = TRY(fat_.get(run.first + run.count, cursor));
            if (entry.kind == FatEntry::Kind::free || entry.kind == FatEntry::Kind::bad) break;
            run.count++;
            together = entry.kind == FatEntry::Kind::next && entry.next.value() == run.end();
            if (!together && entry.kind == FatEntry::Kind::next) at = entry.next;
        }
        if (run.count == 0) break;
        uint64_t bytes = uint64_t{run.count} << geometry_.cluster_shift;
        if (chain.metadata) mount_.buffers().forget(geometry_.offset_of(run.first), bytes);
        cursor = {};
        TRY(clusters_.free(tx, run, discard_));
        if (!discard_) continue;
        MutexGuard guard(mutex_);
        discards_.push_back({run, open_epoch_});
    }
    return {};
}

/// Clusters are kept from being used until the device has been told.
void PendingFrees::discard_ready(uint64_t committed) {
    if (!discard_) return;
    std::vector<Discard> ready;
    {
        MutexGuard guard(mutex_);
        auto later = std::partition(discards_.begin(), discards_.end(),
                                    [&](const Discard& d) { return d.epoch > committed; });
        ready.assign(later, discards_.end());
        discards_.erase(later, discards_.end());
    }
    for (const Discard& d : ready) {
        // A hint: a device that cannot do it keeps the bytes.
        (void)mount_.device().discard(geometry_.offset_of(d.run.first),
                                      uint64_t{d.run.count} << geometry_.cluster_shift);
        clusters_.release(d.run);
    }
}

} // namespace rump::msdosfs
