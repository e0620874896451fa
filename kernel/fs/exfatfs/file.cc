// A node's clusters: where a file's bytes are, how it grows and shrinks, how directories grow.
//
// Clusters behind the valid length hold nothing of the file; they read as zeros. Whoever writes
// behind it fills what lies between with zeros first.
#include "kernel/fs/exfatfs/inode.h"
#include "kernel/fs/exfatfs/volume.h"
#include "kernel/vfs/buffer_cache.h"
#include "kernel/vfs/epoch.h"

#include <fmt/format.h>

#include <algorithm>

namespace rump::exfatfs {

using host::MutexGuard;

namespace {

/// Clusters that are kept for a growing file: as many as it has, so that files written side by side
/// get runs that double, up to this many bytes.
constexpr uint64_t reserve_bytes_max = 16u << 20;
/// What one transaction of a growing file allocates.
constexpr uint64_t extend_bytes = 1u << 30;

} // namespace

Errno Node::chain_broken(uint32_t at, const char* why, Errno error) {
    if (error != Errno::uclean) return error;
    return volume_.mount.corrupt(
        fmt::format("{}, cluster {} of the file: {}", label(), at, why ? why : "is damaged"));
}

Result<std::optional<Chain::Found>> Node::find(uint32_t index) {
    const char* why = nullptr;
    auto first = chain_.first();
    if (first && !volume_.geometry.is_run(first->value(), chain_.contiguous() ? chain_.known() : 1))
        return chain_broken(0, "outside the cluster heap", Errno::uclean);
    auto found = chain_.find(volume_.fat, index, why);
    if (!found) return chain_broken(chain_.known(), why, found.error());
    return found;
}

Result<uint32_t> Node::chain_length() {
    const char* why = nullptr;
    auto first = chain_.first();
    if (first && !volume_.geometry.is_run(first->value(), chain_.contiguous() ? chain_.known() : 1))
        return chain_broken(0, "outside the cluster heap", Errno::uclean);
    auto length = chain_.length(volume_.fat, volume_.geometry.cluster_count, why);
    if (!length) return chain_broken(chain_.known(), why, length.error());
    return length;
}

Result<void> Node::map(uint64_t offset, uint64_t length, ExtentList& out) {
    const Geometry& geometry = volume_.geometry;
    MutexGuard guard(mutex_);
    if (offset >= size_) return {};
    uint64_t end = std::min(size_, offset + std::min(length, size_));
    for (uint64_t at = offset; at < end;) {
        auto index = static_cast<uint32_t>(at >> geometry.cluster_shift);
        auto found = TRY(find(index));
        if (!found)
            return chain_broken(index, "the chain is shorter than the file's size", Errno::uclean);
        uint64_t inside = at & (geometry.cluster_size - 1);
        uint64_t run = (uint64_t{found->run.count} << geometry.cluster_shift) - inside;
        Extent extent;
        extent.kind = at < valid_ ? Extent::Kind::data : Extent::Kind::unwritten;
        extent.file_offset = at;
        extent.length = std::min(run, (at < valid_ ? std::min(end, valid_) : end) - at);
        extent.device_offset = geometry.offset_of(found->run.first) + inside;
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

/// Sees that the file has `clusters`; returns how many it has. A file that cannot grow in place
/// gets a chain. ENOSPC when none could be added.
Result<uint32_t> Node::allocate(Transaction& tx, uint32_t clusters) {
    uint32_t before = chain_.known();
    bool contiguous = chain_.contiguous();
    tx.on_abort([this, before, contiguous] {
        MutexGuard guard(mutex_);
        if (chain_.known() > before) chain_.cut(before);
        if (contiguous) chain_.set_contiguous();
    });
    while (chain_.known() < clusters) {
        auto last = chain_.last();
        Allocator::Want want;
        want.count = clusters - chain_.known();
        if (last) want.goal = *last + 1;
        want.reserve = static_cast<uint32_t>(std::min<uint64_t>(
            chain_.known(), reserve_bytes_max >> volume_.geometry.cluster_shift));
        auto run = volume_.clusters.take(tx, want, directory_ ? nullptr : &reservation_);
        if (!run) {
            if (run.error() == Errno::nospc && chain_.known() > before) break;
            return run.error();
        }
        bool in_place = !last || run->first == *last + 1;
        if (chain_.contiguous() && !in_place) {
            for (ClusterRun old : chain_.runs_from(0)) TRY(volume_.fat.make_chain(tx, old));
            chain_.set_chained();
        }
        if (!chain_.contiguous()) {
            TRY(volume_.fat.make_chain(tx, *run));
            TRY(volume_.fat.link(tx, *last, run->first));
        }
        chain_.append(*run);
    }
    return chain_.known();
}

/// Bytes [from, to) of the file, which are allocated.
Result<void> Node::zero_range(uint64_t from, uint64_t to) {
    const Geometry& geometry = volume_.geometry;
    while (from < to) {
        auto found = TRY(find(static_cast<uint32_t>(from >> geometry.cluster_shift)));
        if (!found)
            return chain_broken(0, "the chain is shorter than the file's size", Errno::uclean);
        uint64_t inside = from & (geometry.cluster_size - 1);
        uint64_t length =
            std::min((uint64_t{found->run.count} << geometry.cluster_shift) - inside, to - from);
        volume_.mount.epoch().note_data_written();
        TRY(volume_.mount.device().write_zeros(geometry.offset_of(found->run.first) + inside,
                                               length));
        from += length;
    }
    return {};
}

Result<void> Node::prepare_write(Transaction& tx, uint64_t offset, uint64_t length,
                                 ExtentList& out) {
    if (offset > file_size_max || length > file_size_max - offset) return Errno::fbig;
    const Geometry& geometry = volume_.geometry;
    uint64_t end = offset + length;
    MutexGuard guard(mutex_);
    uint32_t need = geometry.clusters_for(end);
    if (need == UINT32_MAX) return Errno::nospc;
    if (need > geometry.clusters_for(size_)) {
        uint32_t have = TRY(chain_length());
        if (have < geometry.clusters_for(size_))
            return chain_broken(have, "the chain is shorter than the file's size", Errno::uclean);
        if (have < need) have = TRY(allocate(tx, need));
        cut_ = true;
        end = std::min(end, uint64_t{have} << geometry.cluster_shift);
    }
    // What was never written, up to the cluster in which the write begins, or up to the write.
    uint32_t written = geometry.clusters_for(valid_); // clusters that hold something
    uint64_t cluster_begin = offset & ~uint64_t{geometry.cluster_size - 1};
    uint64_t written_end = uint64_t{written} << geometry.cluster_shift;
    if (offset > valid_)
        TRY(zero_range(valid_,
                       std::min(offset, std::max(written_end, std::min(cluster_begin, end)))));
    if (offset >= end) return length == 0 ? Result<void>{} : Errno::nospc;

    uint32_t to = geometry.clusters_for(end);
    for (auto at = static_cast<uint32_t>(offset >> geometry.cluster_shift); at < to;) {
        auto found = TRY(find(at));
        if (!found)
            return chain_broken(at, "the chain is shorter than the file's size", Errno::uclean);
        bool fresh = at >= written;
        uint32_t stop = fresh ? to : std::min(to, written);
        uint32_t count = std::min(found->run.count, stop - at);
        Extent extent;
        extent.kind = Extent::Kind::data;
        extent.fresh = fresh;
        extent.file_offset = uint64_t{at} << geometry.cluster_shift;
        extent.length = uint64_t{count} << geometry.cluster_shift;
        extent.device_offset = geometry.offset_of(found->run.first);
        if (!fresh) { // just the range asked for
            uint64_t skip = std::max(extent.file_offset, offset) - extent.file_offset;
            extent.file_offset += skip;
            extent.device_offset += skip;
            extent.length = std::min(extent.length - skip, end - extent.file_offset);
        }
        out.push_back(extent);
        at += count;
    }
    return {};
}

void Node::finish_write(uint64_t end, Timespec now) {
    MutexGuard guard(mutex_);
    size_ = std::max(size_, end);
    valid_ = std::max(valid_, end);
    stamp_written(head_.file, now, volume_.options.utc_offset_minutes);
    head_.file.attributes |= disk::attr_archive;
    set_dirty();
}

Result<void> Node::extend(uint64_t size) {
    const Geometry& geometry = volume_.geometry;
    uint64_t before = this->size();
    if (geometry.clusters_for(size) == UINT32_MAX) return Errno::nospc;
    uint32_t missing = geometry.clusters_for(size) - geometry.clusters_for(before);
    if (missing > TRY(volume_.clusters.free_count()) + volume_.frees.waiting()) return Errno::nospc;
    for (uint64_t at = before; at < size;) {
        uint64_t to = std::min(size, at + extend_bytes);
        auto step = [&]() -> Result<void> {
            auto tx = TRY(volume_.mount.begin());
            MutexGuard guard(mutex_);
            uint32_t old = geometry.clusters_for(size_), need = geometry.clusters_for(to);
            if (need > old) {
                if (TRY(chain_length()) < old)
                    return chain_broken(chain_.known(), "the chain is shorter than the file's size",
                                        Errno::uclean);
                if (TRY(allocate(tx, need)) < need) return Errno::nospc;
                cut_ = true;
            }
            size_ = to;
            set_dirty();
            tx.done();
            return {};
        };
        if (auto done = step(); !done) {
            shrink(before);
            return done;
        }
        at = to;
    }
    return {};
}

void Node::shrink(uint64_t size) {
    MutexGuard guard(mutex_);
    reservation_.drop();
    size_ = size;
    valid_ = std::min(valid_, size);
    cut_ = true;
    set_dirty();
}

// --- directories ---------------------------------------------------------------------------------

Result<void> Node::add_to_numbers() {
    if (units_known_ == chain_.known()) return {};
    for (ClusterRun run : chain_.runs_from(units_known_))
        if (!volume_.numbers.add_directory(number_, run.first.value(), run.count))
            return chain_broken(units_known_, "the cluster belongs to another directory",
                                Errno::uclean);
    units_known_ = chain_.known();
    return {};
}

Result<std::optional<uint64_t>> Node::directory_position(uint64_t offset) {
    const Geometry& geometry = volume_.geometry;
    using Place = std::optional<uint64_t>;
    MutexGuard guard(mutex_);
    if (offset >= disk::directory_bytes_max || (!root_ && offset >= size_)) return Place{};
    auto index = static_cast<uint32_t>(offset >> geometry.cluster_shift);
    auto found = TRY(find(index));
    TRY(add_to_numbers());
    if (!found && root_) return Place{};
    if (!found) return chain_broken(index, "the chain is shorter than the size", Errno::uclean);
    return Place{geometry.offset_of(found->run.first) + (offset & (geometry.cluster_size - 1))};
}

Result<uint64_t> Node::directory_offset(uint64_t position) {
    const Geometry& geometry = volume_.geometry;
    MutexGuard guard(mutex_);
    TRY(chain_length());
    uint32_t cluster = geometry.cluster_at(position).value();
    uint64_t before = 0;
    for (ClusterRun run : chain_.runs_from(0)) {
        if (cluster >= run.first.value() && cluster < run.end())
            return ((before + cluster - run.first.value()) << geometry.cluster_shift) +
                   ((position - geometry.heap_offset) & (geometry.cluster_size - 1));
        before += run.count;
    }
    return Errno::stale;
}

Result<void> Node::grow_directory(Transaction& tx) {
    MutexGuard guard(mutex_);
    uint32_t have = TRY(chain_length());
    uint64_t bytes = uint64_t{have} << volume_.geometry.cluster_shift;
    if (bytes + volume_.geometry.cluster_size > disk::directory_bytes_max) return Errno::nospc;
    TRY(allocate(tx, have + 1));
    // Before anything leads there, by the order of a commit: else a cut would show old bytes as
    // entries.
    TRY(zero_range(bytes, bytes + volume_.geometry.cluster_size));
    uint64_t old_size = size_;
    if (!root_) size_ = valid_ = bytes + volume_.geometry.cluster_size;
    set_dirty();
    TRY(add_to_numbers());
    Cluster added = *chain_.last();
    tx.on_abort([this, have, added, old_size] {
        MutexGuard undo_guard(mutex_);
        size_ = valid_ = old_size;
        units_known_ = std::min(units_known_, have);
        volume_.numbers.remove_units(added.value());
    });
    return {};
}

} // namespace rump::exfatfs
