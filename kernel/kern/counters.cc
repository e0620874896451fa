// Enrolment of counters.
#include "kernel/kern/counters.h"

#include <algorithm>
#include <map>

namespace rump {

Counters::Enrolment::Enrolment(Enrolment&& o) noexcept
    : owner_(std::exchange(o.owner_, nullptr)), counter_(std::exchange(o.counter_, nullptr)) {}

Counters::Enrolment& Counters::Enrolment::operator=(Enrolment&& o) noexcept {
    std::swap(owner_, o.owner_);
    std::swap(counter_, o.counter_);
    return *this;
}

Counters::Enrolment::~Enrolment() {
    if (!owner_) return;
    host::MutexGuard guard(owner_->mutex_);
    auto& entries = owner_->entries_;
    auto it = std::find_if(entries.begin(), entries.end(),
                           [&](const Entry& e) { return e.counter == counter_; });
    if (it == entries.end()) return;
    *it = std::move(entries.back());
    entries.pop_back();
}

Counters::Enrolment Counters::enrol(std::string name, const Counter& counter) {
    host::MutexGuard guard(mutex_);
    entries_.push_back({std::move(name), &counter});
    Enrolment enrolment;
    enrolment.owner_ = this;
    enrolment.counter_ = &counter;
    return enrolment;
}

void Counters::each(FunctionRef<void(std::string_view name, uint64_t value)> visit) const {
    std::map<std::string, uint64_t> sums;
    {
        host::MutexGuard guard(mutex_);
        for (const Entry& entry : entries_) sums[entry.name] += entry.counter->value();
    }
    for (const auto& [name, value] : sums) visit(name, value);
}

} // namespace rump
