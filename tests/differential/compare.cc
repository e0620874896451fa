// The comparison, and delta debugging of what it finds. See compare.h.
#include "tests/differential/compare.h"

#include <algorithm>
#include <exception>

namespace rump::differential {

namespace {

std::optional<std::string> tree_difference(std::vector<Side>& sides) {
    const Tree model = sides[0].tree();
    for (size_t i = 1; i < sides.size(); ++i) {
        const Tree other = sides[i].tree();
        for (const auto& [path, text] : model) {
            const auto found = other.find(path);
            if (found != other.end() && found->second == text) continue;
            return path + "\n    " + sides[0].name() + ": " + text + "\n    " + sides[i].name() +
                   ": " + (found == other.end() ? "missing" : found->second);
        }
        for (const auto& [path, text] : other)
            if (!model.contains(path))
                return path + "\n    " + sides[0].name() + ": missing\n    " + sides[i].name() +
                       ": " + text;
    }
    return std::nullopt;
}

std::optional<std::string> compare_trees_twice(std::vector<Side>& sides) {
    if (auto text = tree_difference(sides)) return "trees differ at " + *text;
    for (Side& side : sides) {
        try {
            side.reopen();
        } catch (const std::exception& error) {
            return side.name() + ": " + error.what();
        }
    }
    if (auto text = tree_difference(sides)) return "after a remount, trees differ at " + *text;
    return std::nullopt;
}

std::optional<std::string> step(std::vector<Side>& sides, const Operation& operation) {
    const std::string model = sides[0].perform(operation);
    for (size_t i = 1; i < sides.size(); ++i)
        if (const std::string other = sides[i].perform(operation); other != model)
            return to_text(operation) + "\n    " + sides[0].name() + ": " + model + "\n    " +
                   sides[i].name() + ": " + other;
    return std::nullopt;
}

} // namespace

std::optional<Difference> compare(const std::vector<SideMaker>& makers, const Abilities& abilities,
                                  const Program& program, size_t interval) {
    std::vector<Side> sides;
    sides.reserve(makers.size());
    for (const SideMaker& maker : makers) sides.emplace_back(maker, abilities);
    for (size_t i = 0; i < program.size(); ++i) {
        if (auto text = step(sides, program[i])) return Difference{i, *text};
        if ((i + 1) % interval != 0 && i + 1 != program.size()) continue;
        if (auto text = compare_trees_twice(sides)) return Difference{i, *text};
    }
    for (Side& side : sides) {
        try {
            side.finish();
        } catch (const std::exception& error) {
            return Difference{program.size(), side.name() + ": " + error.what()};
        }
    }
    return std::nullopt;
}

Program shrink(const std::vector<SideMaker>& makers, const Abilities& abilities, Program program,
               size_t interval, size_t runs) {
    size_t piece = program.size() / 2;
    while (piece > 0 && runs > 0) {
        bool smaller = false;
        for (size_t at = 0; at < program.size() && runs > 0;) {
            Program shorter = program;
            const auto from = shorter.begin() + static_cast<ptrdiff_t>(at);
            shorter.erase(from,
                          from + static_cast<ptrdiff_t>(std::min(piece, shorter.size() - at)));
            --runs;
            if (auto difference = compare(makers, abilities, shorter, interval)) {
                // Nothing after the failure matters.
                shorter.resize(std::min(shorter.size(), difference->step + 1));
                program = std::move(shorter);
                smaller = true;
            } else {
                at += piece;
            }
        }
        if (!smaller || piece > program.size()) piece = std::min(piece, program.size()) / 2;
    }
    return program;
}

Abilities common_abilities(const std::vector<SideMaker>& makers) {
    Abilities all;
    for (const SideMaker& maker : makers) {
        const conformance::Traits& traits = maker.target->traits();
        all.hard_links &= traits.hard_links;
        all.symlinks &= traits.symlinks;
        all.special_files &= traits.special_files;
        all.owners &= traits.owners;
        all.xattrs &= traits.user_xattrs && traits.privileged_xattrs;
        all.holes &= traits.holes;
        all.preallocation &= traits.preallocation && maker.can_preallocate;
        all.exchange &= traits.exchange;
        all.links_of_others &= maker.can_link_others;
        all.users &= traits.owners && maker.can_switch_user;
        all.held &= traits.keeps_unlinked_open_files;
        all.case_sensitive &= traits.case_sensitive;
        all.directory_links &= traits.directory_links;
        all.time_min = std::max(all.time_min, traits.time_min);
        all.time_step =
            std::max<int64_t>(all.time_step, traits.time_granularity_ns / 1'000'000'000);
        if (!traits.holes)
            all.file_offset_max = std::min<uint64_t>(
                all.file_offset_max,
                maker.target->image(conformance::ImageKind::standard)->size() / 64);
    }
    return all;
}

} // namespace rump::differential
