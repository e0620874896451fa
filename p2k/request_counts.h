// How many requests of each kind the host has sent: what a workload costs, readable while it runs.
#pragma once

#include "kernel/kern/counters.h"

#include <array>

namespace rump::p2k {

class RequestCounts {
public:
    /// Enrols "fuse.requests.lookup" … in `counters`.
    explicit RequestCounts(Counters& counters);
    void count(uint32_t opcode) { counts_[opcode < counts_.size() ? opcode : 0].add(); }

private:
    std::array<Counter, 64> counts_; // 0: opcodes that we do not know
    std::array<Counters::Enrolment, 64> enrolments_;
};

} // namespace rump::p2k
