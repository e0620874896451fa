// Transactions: remembering what to undo. See sys/transaction.h.
#include "kernel/sys/transaction.h"

#include "kernel/vfs/cached_block.h"
#include "kernel/vfs/epoch.h"

#include <algorithm>

namespace rump {

Transaction::Transaction(Transaction&& other) noexcept
    : epoch_(std::exchange(other.epoch_, nullptr)), holds_lock_(other.holds_lock_),
      steps_(std::move(other.steps_)), saved_(std::move(other.saved_)),
      actions_(std::move(other.actions_)) {}

Transaction::~Transaction() {
    if (!epoch_) return;
    undo();
    end();
}

std::span<std::byte> Transaction::modify(Buf& buf, size_t offset, size_t length, WritePhase phase) {
    ASSERT(epoch_ && buf);
    CachedBlock& block = *buf.block_;
    ASSERT(offset <= block.size && length <= block.size - offset);
    steps_.push_back(
        {buf, static_cast<uint32_t>(offset), static_cast<uint32_t>(length), saved_.size()});
    saved_.insert(saved_.end(), block.data + offset, block.data + offset + length);
    block.cache->mark_dirty(block, phase);
    return {block.data + offset, length};
}

void Transaction::on_abort(std::function<void()> action) {
    ASSERT(epoch_);
    steps_.push_back({Buf(), 0, 0, actions_.size()});
    actions_.push_back(std::move(action));
}

/// The blocks stay dirty: they hold again what they held, and writing that is harmless.
void Transaction::undo() {
    for (size_t i = steps_.size(); i-- > 0;) {
        UndoStep& step = steps_[i];
        if (step.buf)
            std::copy_n(saved_.begin() + static_cast<ptrdiff_t>(step.at), step.length,
                        step.buf.block_->data + step.offset);
        else
            actions_[step.at]();
    }
}

void Transaction::done() {
    ASSERT(epoch_);
    end();
}

void Transaction::end() {
    steps_.clear();
    actions_.clear();
    Epoch* epoch = std::exchange(epoch_, nullptr);
    if (holds_lock_) epoch->close();
}

} // namespace rump
