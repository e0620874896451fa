// Small things that many bodies use.
#pragma once

#include "tests/conformance/suite.h"

#include <algorithm>
#include <initializer_list>
#include <random>
#include <set>
#include <string>
#include <vector>

namespace rump::conformance {

/// `n` bytes that differ with `seed` and never repeat soon.
inline std::string pattern(size_t n, uint32_t seed = 1) {
    std::mt19937 random(seed);
    std::string bytes(n, '\0');
    for (char& c : bytes) c = static_cast<char>(random());
    return bytes;
}

inline std::string zeros(size_t n) { return std::string(n, '\0'); }

/// For refusals that systems name differently.
template<class T>
bool fails_with_one_of(const Outcome<T>& outcome, std::initializer_list<Errno> errors) {
    const auto error = outcome.error();
    return error && std::find(errors.begin(), errors.end(), *error) != errors.end();
}

/// All entries of a directory, "." and ".." included, in the order of readdir.
inline std::vector<DirItem> read_all(Fs& fs, std::string_view path) {
    std::vector<DirItem> all;
    auto dir = fs.opendir(path);
    while (true) {
        auto items = dir->next().take();
        if (items.empty()) return all;
        all.insert(all.end(), items.begin(), items.end());
    }
}

using Names = std::vector<std::string>;
using Mode = vfs::RenameMode;
using vfs::Fallocate;

} // namespace rump::conformance
