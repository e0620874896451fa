// Names that two entries have.
#include "kernel/fs/clusters/check_names.h"

#include <fmt/format.h>

#include <algorithm>

namespace rump::clusters {

void CheckedNames::add(std::u16string_view folded, size_t slot) {
    names_.emplace_back(std::u16string(folded), slot);
}

Result<void>
CheckedNames::each_twin(FunctionRef<Result<bool>(std::u16string_view folded, size_t slot)> rename) {
    std::sort(names_.begin(), names_.end());
    std::set<size_t> renamed;
    const std::u16string* last = nullptr; // the name that an entry keeps
    for (const auto& [name, slot] : names_) {
        if (renamed.contains(slot)) continue;
        if (last && *last == name) {
            if (TRY(rename(name, slot))) renamed.insert(slot);
        } else {
            last = &name;
        }
    }
    return {};
}

bool CheckedNames::has(std::u16string_view folded) const {
    auto at = std::lower_bound(
        names_.begin(), names_.end(), folded,
        [](const auto& known, std::u16string_view name) { return known.first < name; });
    return (at != names_.end() && at->first == folded) || given_.contains(std::u16string(folded));
}

std::optional<NameUnits> CheckedNames::free_name(NameUnits name,
                                                 const vfs::UpcaseTable& upcase) const {
    for (unsigned n = 1; n < 10'000; n++) {
        const std::string end = fmt::format("~{}", n);
        const size_t changed = std::min(end.size(), name.size);
        for (size_t i = 1; i <= changed; i++)
            name.units[name.size - i] = static_cast<char16_t>(end[end.size() - i]);
        // Half of a pair is no character.
        if (const size_t before = name.size - changed;
            before > 0 && (name.units[before - 1] & 0xfc00) == 0xd800)
            name.units[before - 1] = u'~';
        NameUnits folded;
        fold(name.view(), upcase, folded);
        if (!has(folded.view())) return name;
    }
    return std::nullopt;
}

} // namespace rump::clusters
