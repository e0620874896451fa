// Freeing clusters one epoch after the last pointer to them went.
#include "kernel/fs/clusters/frees.h"

#include "kernel/kern/kernel.h"
#include "kernel/vfs/buffer_cache.h"

#include <algorithm>

namespace rump::clusters {

using host::MutexGuard;

namespace {

uint64_t count_of(const PendingFrees::Clusters& clusters) {
    uint64_t count = 0;
    for (ClusterRun run : clusters.runs) count += run.count;
    return count;
}

} // namespace

void PendingFrees::add(Clusters clusters) {
    MutexGuard guard(mutex_);
    waiting_ += count_of(clusters);
    pending_.push_back(std::move(clusters));
}

uint64_t PendingFrees::epoch() {
    MutexGuard guard(mutex_);
    return open_epoch_;
}

uint32_t PendingFrees::waiting() {
    MutexGuard guard(mutex_);
    return static_cast<uint32_t>(std::min<uint64_t>(waiting_, heap_.cluster_count));
}

void PendingFrees::epoch_collected() {
    MutexGuard guard(mutex_);
    open_epoch_++;
}

void PendingFrees::epoch_committed(Transaction& tx) {
    std::vector<Clusters> ready;
    uint64_t committed;
    {
        MutexGuard guard(mutex_);
        committed = open_epoch_ - 1;
        auto later = std::partition(pending_.begin(), pending_.end(),
                                    [&](const Clusters& c) { return c.epoch > committed; });
        ready.assign(std::make_move_iterator(later), std::make_move_iterator(pending_.end()));
        pending_.erase(later, pending_.end());
        for (const Clusters& clusters : ready) waiting_ -= count_of(clusters);
    }
    discard_ready(committed);
    for (const Clusters& clusters : ready)
        if (auto cleared = clear(tx, clusters); !cleared)
            mount_.kernel().log().warning("{}: clusters of a removed file are lost: {}",
                                          mount_.type().name(), errno_message(cleared.error()));
}

Result<void> PendingFrees::clear(Transaction& tx, const Clusters& clusters) {
    if (clusters.kept && !clusters.runs.empty()) {
        // The file may have grown since, into other clusters.
        FatEntry entry = TRY(table_.get(*clusters.kept));
        if (entry.kind == FatEntry::Kind::next && entry.next == clusters.runs[0].first)
            TRY(table_.end_chain(tx, *clusters.kept));
        // Not in the same epoch, which may write the two sectors in any order: no chain must lead
        // to a free cluster.
        add({clusters.runs, std::nullopt, clusters.metadata, epoch()});
        return {};
    }
    for (ClusterRun run : clusters.runs) {
        uint64_t bytes = uint64_t{run.count} << heap_.cluster_shift;
        if (clusters.metadata) mount_.buffers().forget(heap_.offset_of(run.first), bytes);
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
        (void)mount_.device().discard(heap_.offset_of(d.run.first),
                                      uint64_t{d.run.count} << heap_.cluster_shift);
        clusters_.release(d.run);
    }
}

} // namespace rump::clusters
