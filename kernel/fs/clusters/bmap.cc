// Walking and changing cluster chains.
#include "kernel/fs/clusters/bmap.h"

#include <algorithm>

namespace rump::clusters {

void Chain::add(Cluster cluster) {
    if (!runs_.empty() && runs_.back().clusters.end() == cluster.value())
        runs_.back().clusters.count++;
    else
        runs_.push_back({known_, {cluster, 1}});
    known_++;
}

/// One cluster further. False: there is none.
Result<bool> Chain::step(ChainTable& fat, ChainTable::Cursor& cursor, const char*& why) {
    if (complete_) return false;
    if (known_ == 0) {
        add(*first_);
        marker_ = first_->value();
        return true;
    }
    if (known_ >= limit_) {
        complete_ = true;
        return false;
    }
    FatEntry entry = TRY(fat.get(Cluster(runs_.back().clusters.end() - 1), cursor));
    switch (entry.kind) {
    case FatEntry::Kind::free:
        why = "leads to a free cluster";
        return Errno::uclean;
    case FatEntry::Kind::end:
        complete_ = true;
        return false;
    case FatEntry::Kind::bad:
        why = "leads to a bad cluster";
        return Errno::uclean;
    case FatEntry::Kind::outside:
        why = "leads to a number that is no cluster";
        return Errno::uclean;
    case FatEntry::Kind::next:
        break;
    }
    if (entry.next.value() == marker_ || entry.next == *first_) {
        why = "goes round in a circle";
        return Errno::uclean;
    }
    add(entry.next);
    if (known_ == next_marker_at_ * 2) {
        next_marker_at_ = known_;
        marker_ = entry.next.value();
    }
    return true;
}

Result<std::optional<Chain::Found>> Chain::find(ChainTable& fat, uint32_t index, const char*& why) {
    if (index >= known_) {
        ChainTable::Cursor cursor;
        // Past the cluster asked for only while the chain is contiguous: one extent in place of
        // two.
        while (index >= known_)
            if (!TRY(step(fat, cursor, why))) return std::optional<Found>{};
    }
    auto behind = std::upper_bound(runs_.begin(), runs_.end(), index,
                                   [](uint32_t at, const Run& run) { return at < run.at; });
    const Run& run = *std::prev(behind);
    uint32_t skip = index - run.at;
    return std::optional<Found>{
        Found{{run.clusters.first + skip, run.clusters.count - skip}, index}};
}

Result<uint32_t> Chain::length(ChainTable& fat, uint32_t limit, const char*& why) {
    ChainTable::Cursor cursor;
    while (!complete_) {
        if (known_ > limit) {
            why = "is too long";
            return Errno::uclean;
        }
        if (!TRY(step(fat, cursor, why))) break;
    }
    return known_;
}

std::optional<Cluster> Chain::last() const {
    ASSERT(complete_);
    if (runs_.empty()) return std::nullopt;
    return Cluster(runs_.back().clusters.end() - 1);
}

std::vector<ClusterRun> Chain::runs_from(uint32_t from) const {
    std::vector<ClusterRun> list;
    for (const Run& run : runs_) {
        if (run.at + run.clusters.count <= from) continue;
        uint32_t skip = from > run.at ? from - run.at : 0;
        list.push_back({run.clusters.first + skip, run.clusters.count - skip});
    }
    return list;
}

void Chain::append(ClusterRun run) {
    ASSERT(complete_ && run.count > 0);
    if (!first_) first_ = run.first;
    if (!runs_.empty() && runs_.back().clusters.end() == run.first.value())
        runs_.back().clusters.count += run.count;
    else
        runs_.push_back({known_, run});
    known_ += run.count;
}

void Chain::cut(uint32_t clusters) {
    ASSERT(clusters <= known_);
    while (!runs_.empty() && runs_.back().at >= clusters) runs_.pop_back();
    if (!runs_.empty()) runs_.back().clusters.count = clusters - runs_.back().at;
    known_ = clusters;
    complete_ = true;
    if (clusters == 0) {
        first_.reset();
        contiguous_ = true;
    }
}

} // namespace rump::clusters
