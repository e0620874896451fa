// See late_errors.h.
#include "p2k/late_errors.h"

#include "hostshim/clock.h"

namespace rump::p2k {

namespace {
constexpr uint64_t lasts_ns = 10'000'000'000;
} // namespace

void LateErrors::note(const Vnode& vnode, Errno error) {
    const uint64_t now = host::real_clock().monotonic_ns();
    host::MutexGuard guard(mutex_);
    std::erase_if(by_number_,
                  [&](const auto& late) { return now - late.second.noted_ns > lasts_ns; });
    by_number_[vnode.number().value()] = {vnode.generation(), error, now};
    count_.store(by_number_.size(), std::memory_order_relaxed);
}

std::optional<Errno> LateErrors::take(const Vnode& vnode) {
    if (count_.load(std::memory_order_relaxed) == 0) return std::nullopt;
    const uint64_t now = host::real_clock().monotonic_ns();
    host::MutexGuard guard(mutex_);
    const auto found = by_number_.find(vnode.number().value());
    if (found == by_number_.end()) return std::nullopt;
    const Late late = found->second;
    by_number_.erase(found);
    count_.store(by_number_.size(), std::memory_order_relaxed);
    if (late.generation != vnode.generation() || now - late.noted_ns > lasts_ns)
        return std::nullopt;
    return late.error;
}

} // namespace rump::p2k
