// Epochs and commits. The picture is in sys/transaction.h.
#include "kernel/vfs/epoch.h"

#include "kernel/kern/kernel.h"
#include "kernel/sys/mount.h"
#include "kernel/vfs/cached_block.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace rump {

using host::MutexGuard;

namespace {

/// In-core inodes that are dirty cannot be reclaimed: a commit after this many operations bounds
/// them.
constexpr uint32_t transactions_per_epoch = 32768;

/// Others may keep the epoch dirty for ever; what is to be settled has come through by then.
constexpr int settle_rounds = 3;

} // namespace

/// What one commit writes.
struct Epoch::Staging {
    std::vector<CachedBlock*> held; // one reference each
    std::vector<std::byte> bytes;
    std::vector<StagedBlock> blocks;
    bool data_pending = false;
};

Epoch::Epoch(Mount& mount, BufferCache* buffers) : mount_(mount), buffers_(buffers) {
    if (buffers_) journal_ = make_ordered_journal(mount_.device());
}

Epoch::~Epoch() = default;

void Epoch::set_journal(std::unique_ptr<Journal> journal) { journal_ = std::move(journal); }

Result<Transaction> Epoch::begin() {
    ASSERT(!in_transaction());
    if (failed_.load(std::memory_order_relaxed) || mount_.dead()) return Errno::io;
    if (buffers_ && (buffers_->dirty_bytes() > buffers_->limit_bytes() / 2 ||
                     in_open_epoch_.load(std::memory_order_relaxed) > transactions_per_epoch ||
                     !journal_->has_room(buffers_->dirty_bytes())))
        TRY(commit());
    open_lock_.lock_shared();
    in_open_epoch_.fetch_add(1, std::memory_order_relaxed);
    transactions.add();
    return Transaction(*this, true);
}

void Epoch::close() { open_lock_.unlock_shared(); }

Result<void> Epoch::commit(bool settle) {
    ASSERT(!in_transaction());
    if (!buffers_) return {};
    const uint64_t wanted = sequence_.load(std::memory_order_acquire);
    MutexGuard guard(commit_mutex_);
    if (failed_.load(std::memory_order_relaxed)) return Errno::io;
    if (committed_ > wanted && !settle) return {}; // somebody else's commit took ours along
    bool freed = false;
    TRY(commit_round(freed));
    // What a commit frees may free more in turn: a name's inode, then the inode's blocks.
    for (int round = 0; settle && freed && round < settle_rounds; ++round) TRY(commit_round(freed));
    return {};
}

Result<void> Epoch::commit_round(bool& freed) {
    Staging staging;
    freed = false;
    if (auto collected = collect(staging); !collected) return collected;
    Result<void> written;
    if (!staging.blocks.empty()) {
        written = journal_->commit(staging.blocks, staging.data_pending);
        buffers_->writes.add(staging.blocks.size());
        commits.add();
    } else if (staging.data_pending) {
        written = mount_.device().flush();
        flushes.add();
    }
    // After a failure they stay dirty: whoever reads them sees what was promised.
    if (!written) put_back(staging);
    for (CachedBlock* block : staging.held) BufferCache::release(block);
    if (!written && host_is_full(written.error())) {
        if (!std::exchange(host_full_, true))
            mount_.kernel().log().error("{}: the host's disk is full: {}; tried again and again",
                                        mount_.type().name(), mount_.device().name());
        return written;
    }
    if (!written) {
        failed_.store(true, std::memory_order_relaxed);
        return mount_.io_error("writing metadata", written.error());
    }
    host_full_ = false;
    committed_ = sequence_.load(std::memory_order_relaxed);
    {
        host::SharedGuard next(open_lock_);
        Transaction tx(*this, false);
        mount_.epoch_committed(tx);
        tx.done();
    }
    freed = buffers_->dirty_bytes() > 0;
    return {};
}

/// Memory only: what holds every other transaction up is copying.
Result<void> Epoch::collect(Staging& staging) {
    host::ExclusiveGuard closed(open_lock_);
    {
        Transaction tx(*this, false);
        TRY(mount_.epoch_collect(tx));
        tx.done();
    }
    stage_dirty_blocks(staging);
    staging.data_pending = data_written_.exchange(false, std::memory_order_relaxed);
    in_open_epoch_.store(0, std::memory_order_relaxed);
    sequence_.fetch_add(1, std::memory_order_release);
    return {};
}

void Epoch::stage_dirty_blocks(Staging& staging) {
    size_t total = 0;
    for (size_t i = 0; i < buffer_shards; ++i) {
        BufferCache::Shard& shard = buffers_->shards_[i];
        MutexGuard guard(shard.mutex);
        for (CachedBlock* block : shard.dirty) {
            block->references.fetch_add(1, std::memory_order_relaxed);
            block->dirty.store(false, std::memory_order_relaxed);
            total += block->size;
            staging.held.push_back(block);
        }
        shard.dirty.clear();
    }
    buffers_->dirty_bytes_.fetch_sub(total, std::memory_order_relaxed);
    staging.bytes.resize(total);
    staging.blocks.reserve(staging.held.size());
    size_t at = 0;
    for (CachedBlock* block : staging.held) {
        std::byte* copy = staging.bytes.data() + at;
        std::memcpy(copy, block->data, block->size);
        at += block->size;
        staging.blocks.push_back(
            {block->offset, {copy, block->size}, static_cast<WritePhase>(block->phase.load()), {}});
    }
    MutexGuard guard(order_mutex_);
    if (followers_.empty()) return;
    std::unordered_map<uint64_t, uint32_t> index;
    for (uint32_t i = 0; i < staging.blocks.size(); ++i) index[staging.blocks[i].offset] = i;
    for (const auto& [first, then_all] : followers_)
        for (uint64_t then : then_all)
            if (auto f = index.find(first), t = index.find(then);
                f != index.end() && t != index.end())
                staging.blocks[t->second].after.push_back(f->second);
    followers_.clear();
    waiting_.clear();
}

void Epoch::put_back(Staging& staging) {
    for (size_t i = 0; i < staging.held.size(); ++i)
        buffers_->mark_dirty(*staging.held[i], staging.blocks[i].phase);
    if (staging.data_pending) note_data_written();
    MutexGuard guard(order_mutex_);
    for (const StagedBlock& then : staging.blocks)
        for (uint32_t first : then.after) {
            const uint64_t before = staging.blocks[first].offset;
            // The open epoch may want it the other way round; then what is newer counts.
            if (!precedes(then.offset, before)) follow(before, then.offset);
        }
}

/// A file that grows makes long chains, each new block before the last one: nothing precedes the
/// new one, and the chain is not walked.
bool Epoch::precedes(uint64_t one, uint64_t other) {
    if (one == other) return true;
    if (!waiting_.contains(other)) return false;
    std::vector<uint64_t> to_visit{one};
    std::unordered_set<uint64_t> seen;
    while (!to_visit.empty()) {
        const uint64_t at = to_visit.back();
        to_visit.pop_back();
        if (at == other) return true;
        if (!seen.insert(at).second) continue;
        if (auto it = followers_.find(at); it != followers_.end())
            to_visit.insert(to_visit.end(), it->second.begin(), it->second.end());
    }
    return false;
}

void Epoch::follow(uint64_t first, uint64_t then) {
    auto& list = followers_[first];
    if (std::find(list.begin(), list.end(), then) == list.end()) list.push_back(then);
    waiting_.insert(then);
}

Result<void> Transaction::order(Buf& first, Buf& then) {
    ASSERT(epoch_);
    if (first == then || !epoch_->journal_ || !epoch_->journal_->ordered()) return {};
    MutexGuard guard(epoch_->order_mutex_);
    if (epoch_->precedes(then.offset(), first.offset())) return Errno::again;
    epoch_->follow(first.offset(), then.offset());
    return {};
}

} // namespace rump
