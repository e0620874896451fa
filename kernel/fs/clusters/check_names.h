// The names of one directory while it is checked: which of them two entries have, and names that
// none has.
#pragma once

#include "kernel/fs/clusters/names.h"

#include "hostshim/function_ref.h"

#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace rump::clusters {

class CheckedNames {
public:
    /// A name of the entry at `slot`, folded. An entry may have two.
    void add(std::u16string_view folded, size_t slot);
    /// Calls `rename` with every entry that has a name which an entry before it has as well. True:
    /// it has none of its names any more. What a rename over another file leaves that was cut off
    /// between its entries: both are kept, nothing says which one its user still wants. Errors:
    /// those of `rename`.
    Result<void>
    each_twin(FunctionRef<Result<bool>(std::u16string_view folded, size_t slot)> rename);

    // --- within each_twin -----------------------------------------------------------------------

    bool has(std::u16string_view folded) const;
    /// `name` with "~1" or a higher number for its end, as long as it was. None: all are taken.
    std::optional<NameUnits> free_name(NameUnits name, const vfs::UpcaseTable& upcase) const;
    /// A name that was given in place of another.
    void give(std::u16string_view folded) { given_.emplace(folded); }

private:
    std::vector<std::pair<std::u16string, size_t>> names_;
    std::set<std::u16string> given_;
};

} // namespace rump::clusters
