// A file's life, where its bytes are, how it grows and shrinks; how directories grow.
//
// Clusters behind the valid length hold nothing of the file; they read as zeros. Whoever writes
// behind it fills what lies between with zeros first. Where the format stores no valid length, it
// is the size.
#include "kernel/fs/clusters/file.h"

#include "kernel/sys/rounding.h"
#include "kernel/vfs/buffer_cache.h"
#include "kernel/vfs/epoch.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace rump::clusters {

using host::MutexGuard;

namespace {
constexpr const char* too_short = "the chain is shorter than the file's size";
constexpr uint32_t page_size = 4096;      // of the host's page cache, mostly
constexpr uint32_t copy_bytes = 1u << 20; // at once, of clusters that two names share
} // namespace

ClusterFile::ClusterFile(Space& space, const FileFormat& format, InodeNumber number, bool directory,
                         bool root)
    : space_(space), format_(format), number_(number), directory_(directory), root_(root),
      reservation_(space.clusters) {}

std::string ClusterFile::label() const {
    return fmt::format("{} inode {}", directory_ ? "directory" : "file", number_.value());
}

void ClusterFile::set_dirty() {
    if (!dirty_.exchange(true, std::memory_order_acq_rel)) space_.dirty.add(shared_from_this());
}

uint64_t ClusterFile::position() {
    MutexGuard guard(mutex_);
    return position_locked();
}

uint64_t ClusterFile::size() {
    MutexGuard guard(mutex_);
    return size_;
}

void ClusterFile::change(const EntryChange& change) {
    MutexGuard guard(mutex_);
    edit(change);
    set_dirty();
}

void ClusterFile::set_unlinked(Transaction& tx) {
    MutexGuard guard(mutex_);
    unlinked_.store(true, std::memory_order_release);
    unlinked_in_ = space_.frees.epoch();
    space_.numbers.removed(number_, position_locked());
    tx.on_abort([this] {
        MutexGuard undo_guard(mutex_);
        unlinked_.store(false, std::memory_order_release);
        space_.numbers.restored(number_, position_locked());
    });
}

Result<void> ClusterFile::collect(Transaction& tx) {
    MutexGuard guard(mutex_);
    if (unlinked() || root_) return {};
    TRY(store(tx));
    return cut_ ? cut_tail() : Result<void>{};
}

/// Parts with the clusters that the size has no use for. Nobody has used them since: what is
/// written behind the end takes them up again.
Result<void> ClusterFile::cut_tail() {
    cut_ = false;
    if (auto first = chain_.first(); first && space_.twins.shares(*first)) return {};
    uint32_t keep = space_.heap.clusters_for(size_);
    auto have = chain_length();
    if (!have && have.error() == Errno::uclean) return {}; // reported; a check's business
    if (TRY(std::move(have)) <= keep) return {};
    PendingFrees::Clusters tail{chain_.runs_from(keep), std::nullopt, false, space_.frees.epoch()};
    if (keep > 0 && has_chain()) tail.kept = TRY(find(keep - 1))->run.first;
    chain_.cut(keep);
    space_.frees.add(std::move(tail));
    return {};
}

Result<void> ClusterFile::release_clusters() {
    MutexGuard guard(mutex_);
    reservation_.drop();
    if (directory_) space_.numbers.remove_directory(number_);
    if (!chain_.first() || space_.twins.leave(*chain_.first())) return {};
    auto have = chain_length();
    auto runs = have ? chain_.runs_from(0) : std::vector<ClusterRun>{};
    chain_ = Chain();
    if (!have && have.error() != Errno::uclean) return have.error();
    if (!runs.empty()) space_.frees.add({std::move(runs), std::nullopt, directory_, unlinked_in_});
    return {};
}

// --- where the clusters are ---------------------------------------------------------------------

Errno ClusterFile::chain_broken(uint32_t at, const char* why, Errno error) {
    if (error != Errno::uclean) return error;
    return space_.mount.corrupt(
        fmt::format("{}, cluster {} of the chain: {}", label(), at, why ? why : "is damaged"));
}

/// Entries may say anything: what is impossible is met when the clusters are looked for, so that
/// listing still works.
Result<void> ClusterFile::check_first() {
    auto first = chain_.first();
    if (!first) return {};
    if (!space_.heap.is_cluster(first->value()))
        return chain_broken(0, "the first cluster is no cluster", Errno::uclean);
    if (!has_chain() && !space_.heap.is_run(first->value(), chain_.known()))
        return chain_broken(0, "outside the cluster heap", Errno::uclean);
    return {};
}

Result<std::optional<Chain::Found>> ClusterFile::find(uint32_t index) {
    TRY(check_first());
    const char* why = nullptr;
    auto found = chain_.find(space_.table, index, why);
    if (!found) return chain_broken(chain_.known(), why, found.error());
    return found;
}

Result<uint32_t> ClusterFile::chain_length() {
    TRY(check_first());
    const char* why = nullptr;
    auto length = chain_.length(space_.table, space_.heap.cluster_count, why);
    if (!length) return chain_broken(chain_.known(), why, length.error());
    return length;
}

Result<void> ClusterFile::map(uint64_t offset, uint64_t length, ExtentList& out) {
    const Heap& heap = space_.heap;
    MutexGuard guard(mutex_);
    if (offset >= size_) return {};
    uint64_t end = std::min(size_, offset + std::min(length, size_));
    for (uint64_t at = offset; at < end;) {
        auto index = static_cast<uint32_t>(at >> heap.cluster_shift);
        auto found = TRY(find(index));
        if (!found) return chain_broken(index, too_short, Errno::uclean);
        uint64_t inside = at & (heap.cluster_size - 1);
        uint64_t run = heap.bytes_of(found->run.count) - inside;
        Extent extent;
        extent.kind = at < valid_ ? Extent::Kind::data : Extent::Kind::unwritten;
        extent.file_offset = at;
        extent.length = std::min(run, (at < valid_ ? std::min(end, valid_) : end) - at);
        extent.device_offset = heap.offset_of(found->run.first) + inside;
        if (!out.empty() && out.back().kind == extent.kind && !out.back().fresh &&
            out.back().file_offset + out.back().length == at &&
            out.back().device_offset + out.back().length == extent.device_offset)
            out.back().length += extent.length;
        else
            out.push_back(extent);
        at += extent.length;
    }
    return {};
}

// --- growing and shrinking ----------------------------------------------------------------------

/// Takes `count` clusters behind `last`, or as many as there are.
Result<std::vector<ClusterRun>> ClusterFile::take(Transaction& tx, std::optional<Cluster> last,
                                                  uint32_t count) {
    std::vector<ClusterRun> runs;
    uint32_t reserve = static_cast<uint32_t>(
        std::min<uint64_t>(chain_.known(), format_.reserve_bytes_max >> space_.heap.cluster_shift));
    // Where there are only short runs, looking for a long one each time would cost too much.
    constexpr unsigned often = 32;
    uint32_t hope = UINT32_MAX;
    unsigned fulfilled = 0;
    while (count > 0) {
        Allocator::Want want;
        want.count = std::min(count, hope);
        if (last) want.goal = *last + 1;
        want.reserve = hope == UINT32_MAX ? reserve : 0;
        auto run = space_.clusters.take(tx, want, directory_ ? nullptr : &reservation_);
        if (!run) {
            if (run.error() == Errno::nospc && !runs.empty()) break;
            return run.error();
        }
        if (run->count < want.count)
            hope = run->count, fulfilled = 0;
        else if (++fulfilled == often && hope <= UINT32_MAX / 2)
            hope *= 2, fulfilled = 0;
        count -= run->count;
        last = Cluster(run->end() - 1);
        if (!runs.empty() && runs.back().end() == run->first.value())
            runs.back().count += run->count;
        else
            runs.push_back(*run);
    }
    return runs;
}

/// Sees that the file, whose chain is known to its end, has `clusters`; returns how many it has.
/// One without a chain that cannot grow in place gets one. ENOSPC when none could be added.
Result<uint32_t> ClusterFile::allocate(Transaction& tx, uint32_t clusters) {
    uint32_t before = chain_.known();
    if (clusters <= before) return before;
    bool contiguous = chain_.contiguous();
    tx.on_abort([this, before, contiguous] {
        MutexGuard guard(mutex_);
        if (chain_.known() > before) chain_.cut(before);
        if (contiguous) chain_.set_contiguous();
    });
    auto last = chain_.last();
    auto runs = TRY(take(tx, last, clusters - before));
    bool in_place = runs.size() == 1 && (!last || runs[0].first == *last + 1);
    if (!has_chain() && !in_place) {
        TRY(space_.table.make_chain(tx, chain_.runs_from(0)));
        chain_.set_chained();
    }
    if (has_chain()) {
        TRY(space_.table.make_chain(tx, runs));
        if (last) TRY(link(tx, *last, runs));
    }
    for (ClusterRun run : runs) chain_.append(run);
    return chain_.known();
}

/// Two chains that grow into each other's sectors ask for a commit in between. One that by itself
/// goes back into a sector of its own leaves no order: the size in the directory entry keeps its
/// last link from being followed.
Result<void> ClusterFile::link(Transaction& tx, Cluster last, ChainTable::Runs next) {
    auto linked = space_.table.link(tx, last, next, true);
    if (linked || linked.error() != Errno::again) return linked;
    uint64_t epoch = space_.frees.epoch();
    if (epoch - std::exchange(disordered_in_, epoch) > 1) return Errno::again;
    return space_.table.link(tx, last, next, false);
}

/// Bytes [from, to) of the file, which are allocated.
Result<void> ClusterFile::zero_range(uint64_t from, uint64_t to) {
    const Heap& heap = space_.heap;
    while (from < to) {
        auto found = TRY(find(static_cast<uint32_t>(from >> heap.cluster_shift)));
        if (!found) return chain_broken(0, too_short, Errno::uclean);
        uint64_t inside = from & (heap.cluster_size - 1);
        uint64_t length = std::min(heap.bytes_of(found->run.count) - inside, to - from);
        space_.mount.epoch().note_data_written();
        TRY(space_.mount.device().write_zeros(heap.offset_of(found->run.first) + inside, length));
        from += length;
    }
    return {};
}

bool ClusterFile::overwritable() {
    if (!(attributes() & attribute_archive)) return false;
    MutexGuard guard(mutex_);
    const std::optional<Cluster> first = chain_.first();
    return first && !space_.twins.shares(*first);
}

Result<void> ClusterFile::prepare_write(Transaction& tx, uint64_t offset, uint64_t length,
                                        ExtentList& out) {
    if (offset > format_.file_size_max || length > format_.file_size_max - offset)
        return Errno::fbig;
    const Heap& heap = space_.heap;
    uint64_t end = offset + length;
    MutexGuard guard(mutex_);
    uint32_t need = heap.clusters_for(end);
    if (need == UINT32_MAX) return Errno::nospc;
    // Clusters behind the size hold nothing of this file, whoever left them in its chain.
    if (need > heap.clusters_for(size_)) {
        uint32_t have = TRY(chain_length());
        if (have < heap.clusters_for(size_)) return chain_broken(have, too_short, Errno::uclean);
        if (have < need) have = TRY(allocate(tx, need));
        cut_ = true;
        end = std::min(end, heap.bytes_of(have));
    }
    // What was never written, up to the page in which the write begins, or up to the write.
    const uint64_t page = std::min(heap.cluster_size, page_size);
    const uint64_t written = round_up(valid_, page);
    if (offset > valid_)
        TRY(zero_range(valid_,
                       std::min(offset, std::max(written, std::min(offset & ~(page - 1), end)))));
    if (offset >= end) return length == 0 ? Result<void>{} : Errno::nospc;

    for (uint64_t at = offset; at < end;) {
        auto index = static_cast<uint32_t>(at >> heap.cluster_shift);
        auto found = TRY(find(index));
        if (!found) return chain_broken(index, too_short, Errno::uclean);
        uint64_t run_begin = heap.bytes_of(index);
        uint64_t run_end = run_begin + heap.bytes_of(found->run.count);
        Extent extent;
        extent.kind = Extent::Kind::data;
        extent.fresh = at >= written;
        // Whole pages, so that the host need not read what is there; what follows in the cluster is
        // nobody's business before somebody writes behind the valid length.
        extent.file_offset = extent.fresh ? at & ~(page - 1) : at;
        uint64_t stop =
            std::min(run_end, extent.fresh ? round_up(end, page) : std::min(end, written));
        extent.length = stop - extent.file_offset;
        extent.device_offset = heap.offset_of(found->run.first) + (extent.file_offset - run_begin);
        out.push_back(extent);
        at = stop;
    }
    return {};
}

void ClusterFile::finish_write(uint64_t end, Timespec now) {
    MutexGuard guard(mutex_);
    size_ = std::max(size_, end);
    valid_ = std::max(valid_, end);
    EntryChange written;
    written.archive = true;
    written.written = now;
    edit(written);
    set_dirty();
}

/// One transaction of own_clusters(): some more of the first `clusters`, with what was written to
/// them.
Result<void> ClusterFile::copy_clusters(Chain& to, uint32_t clusters, uint64_t valid) {
    const Heap& heap = space_.heap;
    const uint32_t piece = std::max(copy_bytes >> heap.cluster_shift, 1u); // clusters
    auto tx = TRY(space_.mount.begin());
    MutexGuard guard(mutex_);
    auto last = to.last();
    uint32_t at = to.known();
    auto runs = TRY(take(tx, last, std::min(8 * piece, clusters - at)));
    TRY(space_.table.make_chain(tx, runs));
    if (last) TRY(link(tx, *last, runs));
    const uint32_t written = heap.clusters_for(valid);
    std::vector<std::byte> bytes(heap.bytes_of(std::min(piece, clusters - at)));
    space_.mount.epoch().note_data_written();
    for (ClusterRun run : runs)
        while (run.count > 0) {
            auto from = TRY(find(at));
            if (!from) return chain_broken(at, too_short, Errno::uclean);
            uint32_t count = std::min({run.count, from->run.count, piece});
            auto some = std::span(bytes).first(heap.bytes_of(count));
            if (at < written) {
                TRY(space_.mount.device().read(heap.offset_of(from->run.first), some));
                TRY(space_.mount.device().write(heap.offset_of(run.first), some));
            }
            run = {run.first + count, run.count - count};
            at += count;
        }
    tx.done();
    for (ClusterRun run : runs) to.append(run);
    return {};
}

Result<void> ClusterFile::own_clusters(uint64_t keep) {
    std::optional<Cluster> shared;
    uint64_t valid;
    {
        MutexGuard guard(mutex_);
        shared = chain_.first();
        if (!shared || !space_.twins.shares(*shared)) return {};
        keep = std::min(keep, size_);
        valid = std::min(keep, valid_);
        if (TRY(chain_length()) < space_.heap.clusters_for(keep))
            return chain_broken(chain_.known(), too_short, Errno::uclean);
    }
    Chain own;
    const uint32_t clusters = space_.heap.clusters_for(keep);
    if (clusters > 0) own.set_chained();
    Result<void> copied;
    while (copied && own.known() < clusters)
        copied = in_order(space_.mount, [&] { return copy_clusters(own, clusters, valid); });
    auto tx = copied ? space_.mount.begin() : Result<Transaction>(copied.error());
    if (!tx) {
        if (own.known() > 0)
            space_.frees.add({own.runs_from(0), std::nullopt, false, space_.frees.epoch()});
        return tx.error();
    }
    MutexGuard guard(mutex_);
    (void)space_.twins.leave(*shared);
    chain_ = std::move(own);
    size_ = keep;
    valid_ = valid;
    set_dirty();
    tx->done();
    return {};
}

/// One transaction of extend().
Result<void> ClusterFile::extend_to(uint64_t size) {
    const Heap& heap = space_.heap;
    auto tx = TRY(space_.mount.begin());
    MutexGuard guard(mutex_);
    uint32_t old = heap.clusters_for(size_), need = heap.clusters_for(size);
    if (need > old) {
        if (TRY(chain_length()) < old)
            return chain_broken(chain_.known(), too_short, Errno::uclean);
        if (TRY(allocate(tx, need)) < need) return Errno::nospc;
        cut_ = true;
    }
    if (!format_.stores_lengths) {
        TRY(zero_range(valid_, size));
        valid_ = size;
    }
    size_ = size;
    set_dirty();
    tx.done();
    return {};
}

Result<void> ClusterFile::extend(uint64_t size) {
    const Heap& heap = space_.heap;
    if (size > format_.file_size_max) return Errno::fbig;
    if (heap.clusters_for(size) == UINT32_MAX) return Errno::nospc;
    uint64_t before = this->size();
    uint32_t missing = heap.clusters_for(size) - heap.clusters_for(before);
    // Clusters that this file was cut by lately come back to it, so the count is no proof.
    uint64_t back = std::min<uint64_t>(space_.frees.waiting(), missing);
    if (!TRY(space_.clusters.has_free(missing - back))) return Errno::nospc;
    for (uint64_t at = before; at < size;) {
        at = std::min(size, at + format_.extend_bytes);
        if (auto done = in_order(space_.mount, [&] { return extend_to(at); }); !done) {
            shrink(before);
            return done;
        }
    }
    return {};
}

void ClusterFile::shrink(uint64_t size) {
    MutexGuard guard(mutex_);
    reservation_.drop();
    size_ = size;
    valid_ = std::min(valid_, size);
    cut_ = true;
    set_dirty();
}

// --- directories ---------------------------------------------------------------------------------

Result<void> ClusterFile::add_to_numbers() {
    if (units_known_ == chain_.known()) return {};
    for (ClusterRun run : chain_.runs_from(units_known_))
        if (!space_.numbers.add_directory(number_, run.first.value(), run.count))
            return chain_broken(units_known_, "the cluster belongs to another directory",
                                Errno::uclean);
    units_known_ = chain_.known();
    return {};
}

Result<std::optional<uint64_t>> ClusterFile::directory_position(uint64_t offset) {
    const Heap& heap = space_.heap;
    using Place = std::optional<uint64_t>;
    if (offset >= format_.directory_bytes_max) return Place{};
    MutexGuard guard(mutex_);
    bool sized = format_.stores_lengths && !root_;
    if (sized && offset >= size_) return Place{};
    if (!chain_.first())
        return chain_broken(0, "a directory without a first cluster", Errno::uclean);
    auto index = static_cast<uint32_t>(offset >> heap.cluster_shift);
    auto found = TRY(find(index));
    TRY(add_to_numbers());
    if (!found && !sized) return Place{};
    if (!found) return chain_broken(index, too_short, Errno::uclean);
    return Place{heap.offset_of(found->run.first) + (offset & (heap.cluster_size - 1))};
}

Result<void> ClusterFile::grow_directory(Transaction& tx) {
    MutexGuard guard(mutex_);
    uint32_t have = TRY(chain_length());
    uint64_t bytes = space_.heap.bytes_of(have);
    if (bytes >= format_.directory_bytes_max) return Errno::nospc;
    TRY(allocate(tx, have + 1));
    // Before anything leads there, by the order of a commit: else a cut would show old bytes as
    // entries.
    TRY(zero_range(bytes, bytes + space_.heap.cluster_size));
    uint64_t old_size = size_;
    if (format_.stores_lengths && !root_) size_ = valid_ = bytes + space_.heap.cluster_size;
    set_dirty();
    TRY(add_to_numbers());
    Cluster added = *chain_.last();
    tx.on_abort([this, have, added, old_size] {
        MutexGuard undo_guard(mutex_);
        size_ = valid_ = old_size;
        units_known_ = std::min(units_known_, have);
        space_.numbers.remove_units(added.value());
    });
    return {};
}

} // namespace rump::clusters
