// One lie, and what is done with an image that contains it.
#pragma once

#include "tests/corrupt/driver.h"

#include "hostshim/random.h"

#include <map>

namespace rump::corrupt {

/// The bytes that are changed.
struct Lie {
    uint64_t offset;
    std::vector<std::byte> bytes;
    std::string text; // "s_inodes_count: 4 bytes at 1024: 0x40 -> 0xffffffff"
};
Lie choose_lie(const Subject& subject, uint64_t seed, uint64_t number);

/// Sorted, disjoint ranges of bytes.
class Ranges {
public:
    void add(uint64_t offset, uint64_t length);
    bool touches(uint64_t offset, uint64_t length) const;

private:
    std::map<uint64_t, uint64_t> ends_; // by begin
};

/// What the good image holds, and where.
struct Baseline {
    struct File {
        std::vector<std::byte> contents;
        Ranges read; // by a mount, the path to it, and its contents
    };
    std::map<std::string, File> files;
};
/// Failure: the good image is not good.
FailureOr<Baseline> take_baseline(const Subject& subject);

struct CaseResult {
    bool refused = false;
    bool damaged = false;
    uint64_t compared = 0;
    std::string complaint; // empty: none
};
/// Mounts `device` (which has the lie in it) and does everything with it.
CaseResult run_case(const Subject& subject, const Baseline& baseline, const Lie& lie,
                    host::BlockDevice& device, uint64_t seed);

} // namespace rump::corrupt
