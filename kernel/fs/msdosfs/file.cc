// A node's clusters: where a file's bytes are, how it grows and shrinks, how directories grow.
//
// FAT has no holes: whatever lies between the old end of a file and what is written behind it gets
// clusters, and zeros.
#include "kernel/fs/msdosfs/inode.h"
#include "kernel/fs/msdosfs/volume.h"
#include "kernel/vfs/buffer_cache.h"
#include "kernel/vfs/epoch.h"

#include <fmt/format.h>

#include <algorithm>

namespace rump::msdosfs {

using host::MutexGuard;

namespace {

/// Clusters that are kept for a growing file: as many as it has, so that files written side by side
/// get runs that double, up to this many bytes.
constexpr uint64_t reserve_bytes_max = 8u << 20;
/// What one transaction of a growing file allocates and zeroes.
constexpr uint64_t extend_bytes = 8u << 20;

} // namespace

Errno Node::chain_broken(uint32_t at, const char* why, Errno error) {
    if (error != Errno::uclean) return error;
    return volume_.mount.corrupt(
        fmt::format("{}, cluster {} of the chain: {}", label(), at, why ? why : "is damaged"));
}

Result<std::optional<Chain::Found>> Node::find(uint32_t index) {
    const char* why = nullptr;
    if (chain_.first() && !volume_.geometry.is_cluster(chain_.first()->value()))
        return chain_broken(0, "the first cluster is no cluster", Errno::uclean);
    auto found = chain_.find(volume_.fat, index, why);
    if (!found) return chain_broken(chain_.known(), why, found.error());
    return found;
}

Result<uint32_t> Node::chain_length() {
    const char* why = nullptr;
    if (chain_.first() && !volume_.geometry.is_cluster(chain_.first()->value()))
        return chain_broken(0, "the first cluster is no cluster", Errno::uclean);
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
        extent.kind = Extent::Kind::data;
        extent.file_offset = at;
        extent.length = std::min(run, end - at);
        extent.device_offset = geometry.offset_of(found->run.first) + inside;
        if (!out.empty() && out.back().kind == Extent::Kind::data && !out.back().fresh &&
            out.back().file_offset + out.back().length == at &&
            out.back().device_offset + out.back().length == extent.device_offset)
            out.back().length += extent.length;
        else
            out.push_back(extent);
        at += extent.length;
    }
    return {};
}

/// Sees that the chain, which is known to its end, has `clusters`; returns how many it has. ENOSPC
/// when none could be added.
Result<uint32_t> Node::allocate(Transaction& tx, uint32_t clusters) {
    uint32_t before = chain_.known();
    tx.on_abort([this, before] {
        MutexGuard guard(mutex_);
        if (chain_.known() > before) chain_.cut(before);
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
        TRY(volume_.fat.make_chain(tx, *run));
        if (last) TRY(volume_.fat.link(tx, *last, run->first));
        chain_.append(*run);
    }
    return chain_.known();
}

/// Clusters [from, to) of the file, which are allocated.
Result<void> Node::zero_clusters(uint32_t from, uint32_t to) {
    const Geometry& geometry = volume_.geometry;
    while (from < to) {
        auto found = TRY(find(from));
        ASSERT(found);
        uint32_t count = std::min(found->run.count, to - from);
        volume_.mount.epoch().note_data_written();
        TRY(volume_.mount.device().write_zeros(geometry.offset_of(found->run.first),
                                               uint64_t{count} << geometry.cluster_shift));
        from += count;
    }
    return {};
}

Result<void> Node::prepare_write(Transaction& tx, uint64_t offset, uint64_t length,
                                 ExtentList& out) {
    if (offset > file_size_max || length > file_size_max - offset) return Errno::fbig;
    const Geometry& geometry = volume_.geometry;
    uint64_t end = offset + length;
    {
        MutexGuard guard(mutex_);
        // Clusters behind the size hold nothing of this file, whoever left them in its chain.
        uint32_t old = geometry.clusters_for(size_);
        uint32_t need = geometry.clusters_for(end);
        uint32_t have = need;
        if (need > old) {
            have = TRY(chain_length());
            if (have < old)
                return chain_broken(have, "the chain is shorter than the file's size",
                                    Errno::uclean);
            if (have < need) have = TRY(allocate(tx, need));
            cut_ = true;
        }
        auto begins_in = static_cast<uint32_t>(offset >> geometry.cluster_shift);
        if (begins_in > old) TRY(zero_clusters(old, std::min(begins_in, have)));
        end = std::min(end, uint64_t{have} << geometry.cluster_shift);
        if (offset >= end) return length == 0 ? Result<void>{} : Errno::nospc;

        uint32_t to = geometry.clusters_for(end);
        for (uint32_t at = begins_in; at < to;) {
            auto found = TRY(find(at));
            if (!found)
                return chain_broken(at, "the chain is shorter than the file's size", Errno::uclean);
            bool fresh = at >= old;
            uint32_t stop = fresh ? to : std::min(to, old);
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
    }
    return {};
}

void Node::finish_write(uint64_t end, Timespec now) {
    MutexGuard guard(mutex_);
    size_ = std::max(size_, end);
    stamp_written(entry_, now, volume_.options.utc_offset_minutes);
    entry_.attributes |= disk::attr_archive;
    set_dirty();
}

Result<void> Node::extend(uint64_t size) {
    const Geometry& geometry = volume_.geometry;
    if (size > file_size_max) return Errno::fbig;
    uint64_t before = this->size();
    uint32_t missing = geometry.clusters_for(size) - geometry.clusters_for(before);
    // Clusters that this file was cut by lately come back to it, so the count is no proof.
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
                TRY(zero_clusters(old, need));
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
    if (fixed_root_) {
        if (offset >= uint64_t{geometry.root_entries} * disk::dirent_size) return Place{};
        return Place{geometry.root_offset + offset};
    }
    if (offset >= uint64_t{disk::directory_entries_max} * disk::dirent_size) return Place{};
    MutexGuard guard(mutex_);
    if (!chain_.first())
        return chain_broken(0, "a directory without a first cluster", Errno::uclean);
    auto found = TRY(find(static_cast<uint32_t>(offset >> geometry.cluster_shift)));
    TRY(add_to_numbers());
    if (!found) return Place{};
    return Place{geometry.offset_of(found->run.first) + (offset & (geometry.cluster_size - 1))};
}

Result<void> Node::grow_directory(Transaction& tx) {
    if (fixed_root_) return Errno::nospc;
    MutexGuard guard(mutex_);
    uint32_t have = TRY(chain_length());
    if (uint64_t{have} << volume_.geometry.cluster_shift >=
        uint64_t{disk::directory_entries_max} * disk::dirent_size)
        return Errno::nospc;
    TRY(allocate(tx, have + 1));
    // Before the table links it, by the order of a commit: else a cut would show old bytes as
    // entries.
    TRY(zero_clusters(have, have + 1));
    TRY(add_to_numbers());
    Cluster added = *chain_.last();
    tx.on_abort([this, have, added] {
        MutexGuard undo_guard(mutex_);
        units_known_ = std::min(units_known_, have);
        volume_.numbers.remove_units(added.value());
    });
    return {};
}

uint32_t Node::dotdot_cluster() {
    MutexGuard guard(mutex_);
    return is_root() || !chain_.first() ? 0 : chain_.first()->value();
}

} // namespace rump::msdosfs
