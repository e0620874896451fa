// Counters that can be read at run time: a name, a number. Counting is a relaxed increment.
#pragma once

#include "hostshim/function_ref.h"
#include "hostshim/lock.h"

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace rump {

class Counter {
public:
    void add(uint64_t n = 1) { value_.fetch_add(n, std::memory_order_relaxed); }
    void sub(uint64_t n = 1) { value_.fetch_sub(n, std::memory_order_relaxed); }
    uint64_t value() const { return value_.load(std::memory_order_relaxed); }

private:
    std::atomic<uint64_t> value_{0};
};

/// The counters of one kernel instance. Whoever counts owns its Counter and enrols it while it
/// lives.
class Counters {
public:
    /// "vfs.lookup", "buffers.hit". Enrolment ends with the handle.
    class Enrolment {
    public:
        Enrolment() = default;
        Enrolment(Enrolment&& o) noexcept;
        Enrolment& operator=(Enrolment&& o) noexcept;
        ~Enrolment();

    private:
        friend class Counters;
        Counters* owner_ = nullptr;
        const Counter* counter_ = nullptr;
    };
    [[nodiscard]] Enrolment enrol(std::string name, const Counter& counter);
    /// In order of names; equal names are summed.
    void each(FunctionRef<void(std::string_view name, uint64_t value)> visit) const;

private:
    struct Entry {
        std::string name;
        const Counter* counter;
    };
    mutable host::Mutex mutex_{host::Rank::counters};
    std::vector<Entry> entries_ GUARDED_BY(mutex_);
};

} // namespace rump
