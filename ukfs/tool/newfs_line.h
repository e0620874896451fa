// The command line of `ukfs newfs`.
#pragma once

#include <string>
#include <vector>

namespace rump::tool {

/// A command line (without the program's name) in which the newfs options of the type that it names
/// stand as -o lists: "newfs -t ffs -O 2 image" becomes "newfs -t ffs -o O=2 image". Others come
/// back as they are.
std::vector<std::string> newfs_line(std::vector<std::string> words);

} // namespace rump::tool
