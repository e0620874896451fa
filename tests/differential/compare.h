// Comparing sides over a program, and making a program that fails small.
#pragma once

#include "tests/differential/side.h"

namespace rump::differential {

/// Where two sides differ.
struct Difference {
    size_t step = 0; // index of the operation after which it was seen
    std::string text;
};

/// Runs `program` on fresh sides. Every answer is compared; every `interval` operations and at the
/// end whole trees are, then each side is unmounted, checked and mounted again, and trees are
/// compared once more. None: they agree.
std::optional<Difference> compare(const std::vector<SideMaker>& makers, const Abilities& abilities,
                                  const Program& program, size_t interval);

/// A part of `program` that fails as well, with nothing that can be left out in pieces (delta
/// debugging); at most `runs` runs.
Program shrink(const std::vector<SideMaker>& makers, const Abilities& abilities, Program program,
               size_t interval, size_t runs);

/// What all of them can do.
Abilities common_abilities(const std::vector<SideMaker>& makers);

} // namespace rump::differential
