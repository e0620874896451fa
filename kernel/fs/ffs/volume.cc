// Volume: inodes in and out of buffers, and the life of what was freed. See
// volume.h for the picture.
#include "kernel/fs/ffs/volume.h"

#include "kernel/fs/ffs/bmap.h"

#include "kernel/kern/kernel.h"
#include "kernel/vfs/epoch.h"

#include <fmt/format.h>

#include <algorithm>

namespace rump::ffs {

using host::MutexGuard;

Volume::Volume(Mount& mount, const Geometry& geo) : mount(mount), geo(geo), alloc(*this) {}

Volume::~Volume() = default;

void Volume::set_logged(uint64_t log_bytes) {
    logged_ = true;
    // A block that is freed changes three sectors of its group at most: the header, and each map.
    const uint64_t blocks = std::clamp<uint64_t>(log_bytes / 4096, 16, 16384);
    free_step_bytes_ = blocks << geo.bshift;
}

Timespec Volume::now() const { return mount.kernel().now(); }

Result<void> Volume::write_early(FragNumber f, std::span<const std::byte> bytes) {
    if (auto written = mount.device().write(geo.bytes(f), bytes); !written)
        return mount.io_error(fmt::format("writing fragment {}", f.value()), written.error());
    mount.epoch().note_data_written();
    return {};
}

Result<void> Volume::zero_early(FragNumber f, uint32_t bytes) {
    const std::vector<std::byte> zeros(bytes);
    return write_early(f, zeros);
}

Result<void> Volume::move_entries(Transaction& tx, FragNumber from, FragNumber to, uint64_t bytes) {
    const uint32_t unit = geo.dir_unit();
    for (uint64_t at = 0; at < bytes; at += unit) {
        const Buf now = TRY(read(from + (at >> geo.fshift), unit));
        Buf there = TRY(buffers().get_fresh(geo.bytes(to) + at, unit));
        const auto room = tx.modify(there, 0, unit, WritePhase::directory);
        std::copy(now.bytes().begin(), now.bytes().end(), room.begin());
    }
    if (logged_) return {};
    MutexGuard guard(mutex_);
    moved_.push_back({from, to, bytes});
    tx.on_abort([this, from, to] {
        MutexGuard locked(mutex_);
        std::erase_if(moved_, [&](const Moved& m) { return m.from == from && m.to == to; });
    });
    return {};
}

/// No epoch but this one has anything in memory: what was committed is on the device. What could
/// not be copied is tried again by the next commit.
Result<void> Volume::copy_moved() {
    std::vector<Moved> moved;
    {
        MutexGuard guard(mutex_);
        moved = moved_;
    }
    std::vector<std::byte> bytes;
    for (const Moved& m : moved) {
        bytes.resize(m.bytes);
        if (auto read = mount.device().read(geo.bytes(m.from), bytes); !read)
            return mount.io_error(fmt::format("fragment {}", m.from.value()), read.error());
        TRY(write_early(m.to, bytes));
    }
    MutexGuard guard(mutex_);
    moved_.clear(); // no transaction is open: nothing has come meanwhile
    return {};
}

std::string Volume::place(const Inode& inode, uint64_t lbn) {
    return fmt::format("inode {}, block {}", inode.number(), lbn);
}

Result<InodeState> Volume::load(uint64_t number) {
    if (!geo.is_inode(number) || is_doomed(number)) return Errno::stale;
    Buf buf = TRY(read(geo.inode_block(number), geo.bsize));
    const auto raw = buf.bytes().subspan(geo.inode_offset(number), geo.inode_size);
    InodeState s = decode_inode(geo, raw);
    if (s.mode == 0) return Errno::stale;
    const auto bad = [&](std::string_view what) {
        return mount.corrupt(fmt::format("inode {}: {}", number, what));
    };
    if (!inode_hash_ok(geo, raw)) return bad("check hash");
    if (mode_to_type(s.mode) == FileType::unknown || mode_to_type(s.mode) == FileType::wht)
        return bad("mode");
    if (s.nlink == 0) return Errno::stale;
    if (s.size > geo.max_file_size) return bad("size");
    if (s.extsize > disk::ext_count * geo.bsize) return bad("extsize");
    if (s.is_dir() && (s.size == 0 || s.size % geo.dirblk != 0 || s.size > UINT32_MAX))
        return bad("size of a directory");
    if (s.is_symlink() && s.size > path_max) return bad("size of a symlink");
    return s;
}

Result<void> Volume::load_unlinked(Inode& inode) {
    Buf buf = TRY(read(geo.inode_block(inode.number()), geo.bsize));
    const auto raw = buf.bytes().subspan(geo.inode_offset(inode.number()), geo.inode_size);
    inode.state = decode_inode(geo, raw);
    if (inode.state.nlink != 0) return Errno::stale;
    return {};
}

// --- dirty inodes
// -----------------------------------------------------------------------------------

void Volume::mark_dirty(Inode& inode) {
    if (inode.dirty_.load(std::memory_order_relaxed)) return;
    MutexGuard guard(mutex_);
    if (inode.dirty_.exchange(true, std::memory_order_relaxed)) return;
    add_dirty(inode);
    will_change(geo.inode_block(inode.number()), geo.bsize);
}

void Volume::add_dirty(Inode& inode) {
    inode.dirty_slot_ = dirty_.size();
    dirty_.push_back(&inode);
}

void Volume::will_change(FragNumber block, uint32_t bytes) {
    if (logged_ && collecting_.insert(block.value()).second)
        to_collect_.fetch_add(bytes, std::memory_order_relaxed);
}

uint64_t Volume::collect_bytes() const {
    // The summary area and the superblock are nearly always among them.
    return to_collect_.load(std::memory_order_relaxed) + geo.frag_round(geo.cssize) +
           disk::superblock_size;
}

void Volume::forget_dirty(Inode& inode) {
    if (!inode.dirty()) return;
    MutexGuard guard(mutex_);
    if (const size_t slot = inode.dirty_slot_; slot < dirty_.size() && dirty_[slot] == &inode) {
        dirty_[slot] = dirty_.back();
        dirty_[slot]->dirty_slot_ = slot;
        dirty_.pop_back();
    }
    if (inode.deferred_sealed_.load(std::memory_order_relaxed) != 0) std::erase(deferred_, &inode);
}

Result<void> Volume::write_inode(Transaction& tx, Inode& inode) {
    const uint64_t number = inode.number();
    Buf buf = TRY(read(geo.inode_block(number), geo.bsize));
    auto raw = tx.modify(buf, geo.inode_offset(number), geo.inode_size, WritePhase::inode);
    const uint16_t nlink = static_cast<uint16_t>(
        inode.state.nlink + inode.deferred_open_.load(std::memory_order_relaxed) +
        inode.deferred_sealed_.load(std::memory_order_relaxed));
    encode_inode(geo, inode.state, nlink, raw);
    return {};
}

/// An inode that is not dirty any more may be gone the next moment.
void Volume::stored(std::span<Inode* const> inodes) {
    for (Inode* inode : inodes) {
        inode->fresh = false;
        if (const uint16_t open = inode->deferred_open_.load(std::memory_order_relaxed)) {
            inode->deferred_sealed_.fetch_add(open, std::memory_order_relaxed);
            inode->deferred_open_.store(0, std::memory_order_release);
            MutexGuard guard(mutex_);
            deferred_.push_back(inode);
        }
        inode->dirty_.store(false, std::memory_order_release);
    }
}

Result<void> Volume::collect(Transaction& tx) {
    std::vector<Inode*> dirty;
    std::vector<Freed> freed;
    {
        MutexGuard guard(mutex_);
        dirty.swap(dirty_);
        collecting_.clear();
        to_collect_.store(0, std::memory_order_relaxed);
        if (logged_) freed = open_;
        // What an epoch sealed that could not be collected goes with this one.
        sealed_.insert(sealed_.end(), open_.begin(), open_.end());
        open_.clear();
        doomed_sealed_.insert(doomed_sealed_.end(), doomed_open_.begin(), doomed_open_.end());
        doomed_open_.clear();
    }
    // An error has been reported and taints the mount; the space stays lost until check.
    for (const Freed& f : freed) (void)apply(tx, f, true);
    Result<void> collected = copy_moved();
    for (Inode* inode : dirty)
        if (collected) collected = write_inode(tx, *inode);
    if (collected) collected = alloc.collect(tx);
    if (collected) {
        stored(dirty);
    } else { // the buffers will be as they were
        MutexGuard guard(mutex_);
        for (Inode* inode : dirty) add_dirty(*inode);
    }
    return collected;
}

void Volume::committed(Transaction& tx) {
    std::vector<Freed> freed;
    std::vector<Inode*> deferred;
    std::vector<Doomed> doomed;
    {
        MutexGuard guard(mutex_);
        freed.swap(sealed_);
        deferred.swap(deferred_);
        doomed.swap(doomed_sealed_);
        for (Inode* inode : deferred) {
            if (!inode->dirty_.exchange(true, std::memory_order_relaxed)) add_dirty(*inode);
            inode->deferred_sealed_.store(0, std::memory_order_release);
        }
    }
    for (const Freed& f : freed) {
        if (f.frags != 0) buffers().forget(geo.bytes(FragNumber(f.start)), f.frags << geo.fshift);
        // An error has been reported and taints the mount; the space stays lost
        // until check.
        if (!logged_) (void)apply(tx, f, false);
        pending_.fetch_sub(1, std::memory_order_relaxed);
        (f.frags != 0 ? pending_frags_ : pending_inodes_)
            .fetch_sub(f.frags != 0 ? f.frags : 1, std::memory_order_relaxed);
    }
    if (logged_) alloc.lift_embargo();
    for (const Doomed& d : doomed) {
        (void)reap_doomed(tx, d.number);
        pending_.fetch_sub(1, std::memory_order_relaxed);
        pending_inodes_.fetch_sub(1, std::memory_order_relaxed);
        pending_frags_.fetch_sub(d.frags, std::memory_order_relaxed);
        MutexGuard guard(mutex_);
        doomed_.erase(d.number);
    }
}

// --- frees
// ------------------------------------------------------------------------------------------

Result<void> Volume::apply(Transaction& tx, const Freed& f, bool embargo) {
    if (f.frags != 0) return alloc.release_frags(tx, FragNumber(f.start), f.frags, embargo);
    return alloc.release_inode(tx, f.start, f.was_dir);
}

void Volume::add_freed(Transaction& tx, const Freed& f) {
    const auto count = [this](const Freed& freed, bool add) {
        auto& sum = freed.frags != 0 ? pending_frags_ : pending_inodes_;
        const uint64_t n = freed.frags != 0 ? freed.frags : 1;
        if (add) {
            pending_.fetch_add(1, std::memory_order_relaxed);
            sum.fetch_add(n, std::memory_order_relaxed);
        } else {
            pending_.fetch_sub(1, std::memory_order_relaxed);
            sum.fetch_sub(n, std::memory_order_relaxed);
        }
    };
    {
        const uint32_t cg =
            f.frags != 0 ? geo.cg_of(FragNumber(f.start)) : geo.cg_of_inode(f.start);
        MutexGuard guard(mutex_);
        open_.push_back(f);
        will_change(geo.cg_block(cg), geo.frag_round(geo.cgsize));
    }
    count(f, true);
    tx.on_abort([this, f, count] {
        MutexGuard guard(mutex_);
        // The latest first: it is near the end.
        const auto it = std::find(open_.rbegin(), open_.rend(), f);
        ASSERT(it != open_.rend());
        open_.erase(std::next(it).base());
        count(f, false);
    });
}

void Volume::free_frags(Transaction& tx, FragNumber f, uint32_t frags) {
    add_freed(tx, {f.value(), frags, false});
    if (auto* journal = mount.epoch().journal()) journal->revoke(geo.bytes(f), frags << geo.fshift);
}

void Volume::free_inode(Transaction& tx, uint64_t number, bool was_dir) {
    add_freed(tx, {number, 0, was_dir});
}

bool Volume::is_doomed(uint64_t number) const {
    MutexGuard guard(mutex_);
    return doomed_.contains(number);
}

Result<void> Volume::reap_now(Transaction& tx, Inode& inode) {
    const bool dir = inode.state.is_dir();
    const uint64_t number = inode.number();
    TRY(free_all(tx, inode));
    Buf buf = TRY(read(geo.inode_block(number), geo.bsize));
    auto raw = tx.modify(buf, geo.inode_offset(number), geo.inode_size, WritePhase::inode);
    InodeState cleared;
    cleared.gen = inode.state.gen;
    encode_inode(geo, cleared, 0, raw);
    free_inode(tx, number, dir);
    return {};
}

Result<void> Volume::reap_doomed(Transaction& tx, uint64_t number) {
    Inode inode(*this, number);
    {
        Buf buf = TRY(read(geo.inode_block(number), geo.bsize));
        inode.state =
            decode_inode(geo, buf.bytes().subspan(geo.inode_offset(number), geo.inode_size));
    }
    return reap_now(tx, inode);
}

Result<void> Volume::shrink_in_steps(Inode& inode, uint64_t size) {
    const uint64_t step = free_step_bytes_;
    if (!logged_ || inode.state.is_device() || inode.is_short_symlink()) return {};
    while (inode.state.size > size + step) {
        const uint64_t end = TRY(blocks_end(inode)) << geo.bshift;
        if (end <= size + step) return {}; // the rest goes at once, however large the hole is
        Transaction tx = TRY(mount.begin());
        TRY(cut_blocks(tx, inode, geo.block_of(std::min(end, inode.state.size) - step)));
        tx.done();
    }
    return {};
}

Result<void> Volume::reap(Inode& inode) {
    TRY(shrink_in_steps(inode, 0));
    Transaction tx = TRY(mount.begin());
    forget_unlinked(inode.number());
    // No commit may write it again: from here on the buffer, or what is on disk,
    // is the truth.
    const bool waits = !inode.fresh && inode.deferred();
    // As it is now: blocks that it gave up in this epoch may belong to others in
    // the next one, while the inode still waits.
    if (waits) TRY(write_inode(tx, inode));
    forget_dirty(inode);
    inode.dirty_.store(false, std::memory_order_relaxed);
    inode.deferred_open_.store(0, std::memory_order_relaxed);
    inode.deferred_sealed_.store(0, std::memory_order_relaxed);
    if (!waits) {
        TRY(reap_now(tx, inode));
        tx.done();
        return {};
    }
    // Its last name may still be on the device: it goes after that.
    MutexGuard guard(mutex_);
    const uint64_t frags = std::min(inode.state.blocks >> (geo.fshift - 9), geo.size);
    doomed_open_.push_back({inode.number(), frags});
    pending_inodes_.fetch_add(1, std::memory_order_relaxed);
    pending_frags_.fetch_add(frags, std::memory_order_relaxed);
    doomed_.insert(inode.number());
    pending_.fetch_add(1, std::memory_order_relaxed);
    tx.done();
    return {};
}

void Volume::note_unlinked(uint64_t number, uint16_t mode) {
    if (!logged_) return;
    MutexGuard guard(mutex_);
    unlinked_[number] = mode;
}

void Volume::forget_unlinked(uint64_t number) {
    if (!logged_) return;
    MutexGuard guard(mutex_);
    unlinked_.erase(number);
}

std::vector<std::pair<uint64_t, uint16_t>> Volume::unlinked() const {
    MutexGuard guard(mutex_);
    return {unlinked_.begin(), unlinked_.end()};
}

} // namespace rump::ffs
