// Finding, taking and giving back clusters.
#include "kernel/fs/clusters/alloc.h"

#include <algorithm>
#include <bit>

namespace rump::clusters {

using host::MutexGuard;

namespace {
/// A run this long is good enough to stop looking for a longer one.
constexpr uint32_t good_run = 64;
/// Segments that are looked at in search of one run for all that is wanted.
constexpr uint32_t segments_searched = 3;
/// Free runs that are looked at: a volume may have nothing but single clusters.
constexpr uint32_t runs_searched = 64;
/// Volumes of so few segments are counted in a few milliseconds, which is better than to be lied
/// to.
constexpr size_t segments_counted = 8;
} // namespace

Reservation::~Reservation() { drop(); }

void Reservation::drop() {
    MutexGuard guard(owner_.mutex_);
    owner_.drop_locked(*this);
}

Allocator::Allocator(UsageMap& map, const Heap& heap, std::optional<uint32_t> free_hint,
                     std::optional<uint32_t> next_hint)
    : map_(map), heap_(heap),
      segments_((heap.cluster_count + segment_clusters - 1) / segment_clusters),
      next_(first_cluster) {
    if (free_hint && *free_hint <= heap.cluster_count) free_ = free_hint;
    if (next_hint && heap.is_cluster(*next_hint)) next_ = *next_hint;
}

Result<Allocator::Segment*> Allocator::segment(uint32_t index) {
    if (segments_[index]) return segments_[index].get();
    auto made = std::make_unique<Segment>();
    uint32_t first = index * segment_clusters;
    uint32_t count = std::min(segment_clusters, heap_.cluster_count - first);
    made->used.fill(~uint64_t{0});
    TRY(map_.read_used({Cluster(first + first_cluster), count}, made->used));
    for (uint32_t bit = count; bit < segment_clusters; bit++) // behind the last cluster
        made->used[bit / 64] |= uint64_t{1} << bit % 64;
    for (uint64_t word : made->used) made->free += static_cast<uint32_t>(std::popcount(~word));
    segments_[index] = std::move(made);
    if (++segments_known_ == segments_.size()) {
        // All has been seen: what the volume said of itself does not matter any more.
        uint32_t total = 0;
        for (const auto& known : segments_) total += known->free;
        for (const Reservation* kept : reservations_) total += kept->run_.count;
        free_ = total;
    }
    return segments_[index].get();
}

/// The first run of free clusters at or behind `from` in a segment; count 0: none.
ClusterRun Allocator::run_in(const Segment& segment, uint32_t index, uint32_t from) const {
    auto next = [&](uint32_t bit, bool used) {
        while (bit < segment_clusters) {
            uint64_t word = segment.used[bit / 64] ^ (used ? 0 : ~uint64_t{0});
            word &= ~uint64_t{0} << bit % 64;
            if (word) return bit / 64 * 64 + static_cast<uint32_t>(std::countr_zero(word));
            bit = bit / 64 * 64 + 64;
        }
        return segment_clusters;
    };
    uint32_t begin = next(from, false);
    if (begin == segment_clusters) return {};
    return {Cluster(index * segment_clusters + begin + first_cluster), next(begin, true) - begin};
}

/// A run of `count` clusters near `goal`, else the longest that a short search meets; count 0:
/// none.
Result<ClusterRun> Allocator::find(uint32_t goal, uint32_t count) {
    uint32_t start = goal - first_cluster;
    auto total = static_cast<uint32_t>(segments_.size());
    ClusterRun best;
    uint32_t searched = 0, runs = 0;
    // The goal's segment comes up twice: from the goal on, and at last from its beginning.
    for (uint32_t step = 0; step <= total; step++) {
        uint32_t index = (start / segment_clusters + step) % total;
        Segment& here = *TRY(segment(index));
        if (here.free == 0) continue;
        uint32_t from = step == 0 ? start % segment_clusters : 0;
        for (ClusterRun run; (run = run_in(here, index, from)).count > 0;
             from = run.end() - first_cluster - index * segment_clusters) {
            if (run.first.value() == goal || run.count >= count)
                return ClusterRun{run.first, std::min(run.count, count)};
            if (run.count > best.count) best = run;
            if (++runs == runs_searched) return best;
        }
        if (best.count > 0 && (best.count >= good_run || ++searched >= segments_searched)) break;
    }
    return best;
}

Result<ClusterRun> Allocator::find_anywhere(uint32_t goal, uint32_t count) {
    ClusterRun run = TRY(find(goal, count));
    if (run.count == 0 && drop_all_reservations()) run = TRY(find(goal, count));
    if (run.count == 0) return Errno::nospc;
    return run;
}

void Allocator::mark(ClusterRun run, bool used) {
    for (uint32_t number = run.first.value(); number < run.end(); number++) {
        uint32_t bit = number - first_cluster;
        Segment* known = segments_[bit / segment_clusters].get();
        if (!known) continue; // will be read from the map
        uint64_t& word = known->used[bit % segment_clusters / 64];
        uint64_t mask = uint64_t{1} << bit % 64;
        if (((word & mask) != 0) == used) continue;
        word ^= mask;
        known->free += used ? -1u : 1u;
    }
}

void Allocator::drop_locked(Reservation& reservation) {
    if (reservation.run_.count == 0) return;
    mark(reservation.run_, false);
    reservation.run_ = {};
    reservations_.erase(&reservation);
}

bool Allocator::drop_all_reservations() {
    bool any = !reservations_.empty();
    while (!reservations_.empty()) drop_locked(**reservations_.begin());
    return any;
}

Result<ClusterRun> Allocator::take(Transaction& tx, const Want& want, Reservation* reservation) {
    MutexGuard guard(mutex_);
    ClusterRun taken;
    if (reservation && reservation->run_.count > 0) {
        ClusterRun& kept = reservation->run_;
        if (want.goal == kept.first) {
            taken = {kept.first, std::min(kept.count, want.count)};
            kept = {kept.first + taken.count, kept.count - taken.count};
            if (kept.count == 0) reservations_.erase(reservation);
        } else {
            drop_locked(*reservation);
        }
    }
    if (taken.count == 0) {
        uint32_t goal = want.goal ? want.goal->value() : next_;
        if (!heap_.is_cluster(goal)) goal = first_cluster;
        ClusterRun found = TRY(find_anywhere(goal, want.count + (reservation ? want.reserve : 0)));
        taken = {found.first, std::min(found.count, want.count)};
        mark(found, true);
        if (found.count > taken.count) {
            reservation->run_ = {found.first + taken.count, found.count - taken.count};
            reservations_.insert(reservation);
        }
        if (!want.goal || want.goal->value() != taken.first.value()) next_ = found.end();
        if (!heap_.is_cluster(next_)) next_ = first_cluster;
    }
    if (free_) *free_ -= std::min(*free_, taken.count);
    tx.on_abort([this, taken] { release(taken); });
    TRY(map_.set_used(tx, taken));
    return taken;
}

/// Under one lock, so that a segment that is read meanwhile never shows a run as free that is to be
/// kept, or one that somebody has taken as free again.
Result<void> Allocator::free(Transaction& tx, ClusterRun run, bool keep) {
    MutexGuard guard(mutex_);
    if (keep)
        for (uint32_t number = run.first.value(); number < run.end();
             number += std::min(segment_clusters, run.end() - number))
            TRY(segment((number - first_cluster) / segment_clusters));
    if (keep) TRY(segment((run.end() - 1 - first_cluster) / segment_clusters));
    TRY(map_.set_free(tx, run));
    if (!keep) release_locked(run);
    return {};
}

void Allocator::release_locked(ClusterRun run) {
    mark(run, false);
    if (free_) *free_ = std::min(*free_ + run.count, heap_.cluster_count);
}

void Allocator::release(ClusterRun run) {
    MutexGuard guard(mutex_);
    release_locked(run);
}

Result<void> Allocator::count_all() {
    for (uint32_t index = 0; index < segments_.size(); index++) TRY(segment(index));
    return {};
}

Result<uint32_t> Allocator::free_count() {
    MutexGuard guard(mutex_);
    if (!free_ || segments_.size() <= segments_counted) TRY(count_all());
    return *free_;
}

Result<bool> Allocator::has_free(uint64_t count) {
    MutexGuard guard(mutex_);
    if (!free_ || *free_ < count) TRY(count_all());
    return *free_ >= count;
}

Allocator::Hints Allocator::hints() {
    MutexGuard guard(mutex_);
    return {free_, next_};
}

Result<void> Allocator::each_free(uint32_t first, uint32_t end,
                                  FunctionRef<Result<void>(ClusterRun)> visit) {
    MutexGuard guard(mutex_);
    end = std::min(end, heap_.cluster_count + first_cluster);
    for (uint32_t at = std::max(first, first_cluster); at < end;) {
        uint32_t index = (at - first_cluster) / segment_clusters;
        uint32_t segment_end = (index + 1) * segment_clusters + first_cluster;
        ClusterRun run =
            run_in(*TRY(segment(index)), index, (at - first_cluster) % segment_clusters);
        if (run.count == 0) {
            at = segment_end;
            continue;
        }
        at = run.end();
        if (run.first.value() >= end) break;
        run.count = std::min(run.end(), end) - run.first.value();
        TRY(visit(run));
    }
    return {};
}

} // namespace rump::clusters
