// Budget: what a mount may still take (size= and nr_inodes=), counted to the byte. Everything that
// a user can make grow is charged before it is made: data pages and the tables that lead to them,
// nodes, directory entries, symlink targets, extended attributes. So ENOSPC comes before anything
// has changed, and what a deleted file held is there again.
#pragma once

#include "hostshim/result.h"

#include <atomic>
#include <cstdint>
#include <utility>

namespace rump::tmpfs {

class Budget {
public:
    static constexpr uint64_t unlimited = UINT64_MAX;

    Budget(uint64_t byte_limit, uint64_t node_limit)
        : byte_limit_(byte_limit), node_limit_(node_limit) {}

    /// ENOSPC.
    Result<void> take(uint64_t bytes) { return take_from(bytes_, byte_limit_, bytes); }
    void give(uint64_t bytes) { bytes_.fetch_sub(bytes, std::memory_order_relaxed); }
    /// ENOSPC: nr_inodes= is reached.
    Result<void> take_node() { return take_from(nodes_, node_limit_, 1); }
    void give_node() { nodes_.fetch_sub(1, std::memory_order_relaxed); }

    uint64_t byte_limit() const { return byte_limit_; }
    uint64_t node_limit() const { return node_limit_; }
    uint64_t bytes() const { return bytes_.load(std::memory_order_relaxed); }
    uint64_t nodes() const { return nodes_.load(std::memory_order_relaxed); }
    uint64_t bytes_left() const { return byte_limit_ - bytes(); }

private:
    static Result<void> take_from(std::atomic<uint64_t>& used, uint64_t limit, uint64_t n) {
        uint64_t now = used.load(std::memory_order_relaxed);
        do {
            if (n > limit - now) return Errno::nospc;
        } while (!used.compare_exchange_weak(now, now + n, std::memory_order_relaxed));
        return {};
    }

    const uint64_t byte_limit_;
    const uint64_t node_limit_;
    std::atomic<uint64_t> bytes_{0};
    std::atomic<uint64_t> nodes_{0};
};

/// Bytes that have been charged, given back unless kept.
class Charge {
public:
    static Result<Charge> take(Budget& budget, uint64_t bytes) {
        TRY(budget.take(bytes));
        return Charge(budget, bytes);
    }
    Charge(Charge&& other) noexcept
        : budget_(other.budget_), bytes_(std::exchange(other.bytes_, 0)) {}
    Charge& operator=(Charge&&) = delete;
    ~Charge() {
        if (bytes_ != 0) budget_->give(bytes_);
    }
    void keep() { bytes_ = 0; }

private:
    Charge(Budget& budget, uint64_t bytes) : budget_(&budget), bytes_(bytes) {}
    Budget* budget_;
    uint64_t bytes_;
};

} // namespace rump::tmpfs
