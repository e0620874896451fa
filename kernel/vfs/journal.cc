// The ordered journal: no log, but an order of writes that a cut cannot turn into damage.
#include "kernel/vfs/journal.h"

#include <algorithm>
#include <tuple>

namespace rump {
namespace {

/// Blocks that go to the device together, between two flushes: one phase, and in the directory
/// phase one level of order().
std::vector<uint32_t> levels_of(std::span<const StagedBlock> blocks) {
    std::vector<uint32_t> level(blocks.size(), 0);
    // The graph has no cycle (Transaction::order sees to that), so this ends after its depth.
    for (bool changed = true; changed;) {
        changed = false;
        for (size_t i = 0; i < blocks.size(); ++i)
            for (uint32_t before : blocks[i].after)
                if (level[i] <= level[before] && level[before] < blocks.size()) {
                    level[i] = level[before] + 1;
                    changed = true;
                }
    }
    return level;
}

class OrderedJournal final : public Journal {
public:
    explicit OrderedJournal(host::BlockDevice& device) : device_(device) {}

    Result<void> commit(std::span<const StagedBlock> blocks, bool data_pending) override {
        const std::vector<uint32_t> level = levels_of(blocks);
        std::vector<uint32_t> order(blocks.size());
        for (uint32_t i = 0; i < order.size(); ++i) order[i] = i;
        const auto step_of = [&](uint32_t i) {
            return std::pair(static_cast<unsigned>(blocks[i].phase), level[i]);
        };
        std::sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) {
            return std::tuple(step_of(a), blocks[a].offset) <
                   std::tuple(step_of(b), blocks[b].offset);
        });
        bool unflushed = data_pending;
        for (size_t i = 0; i < order.size();) {
            size_t end = i + 1;
            while (end < order.size() && step_of(order[end]) == step_of(order[i])) ++end;
            // File data may go with the allocation maps, never after what points to it.
            if (unflushed && blocks[order[i]].phase != WritePhase::allocation) {
                TRY(device_.flush());
                unflushed = false;
            }
            TRY(write(blocks, {order.data() + i, end - i}));
            unflushed = true;
            i = end;
        }
        return device_.flush();
    }

    bool ordered() const override { return true; }

private:
    /// Neighbours in one request.
    Result<void> write(std::span<const StagedBlock> blocks, std::span<const uint32_t> order) {
        std::vector<host::WritePiece> pieces;
        for (size_t i = 0; i < order.size();) {
            const uint64_t start = blocks[order[i]].offset;
            uint64_t end = start;
            pieces.clear();
            while (i < order.size() && blocks[order[i]].offset == end && pieces.size() < 256) {
                pieces.push_back(blocks[order[i]].bytes);
                end += blocks[order[i]].bytes.size();
                ++i;
            }
            TRY(device_.writev(start, pieces));
        }
        return {};
    }

    host::BlockDevice& device_;
};

} // namespace

std::unique_ptr<Journal> make_ordered_journal(host::BlockDevice& device) {
    return std::make_unique<OrderedJournal>(device);
}

} // namespace rump
