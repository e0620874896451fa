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

/// The largest time not after `t` that the format can hold.
inline Timespec as_stored(const Fs& fs, Timespec t) {
    t.sec = std::clamp(t.sec, fs.traits.time_min, fs.traits.time_max);
    const uint32_t grain = fs.traits.time_granularity_ns;
    if (grain >= 1'000'000'000) {
        t.sec -= t.sec % (grain / 1'000'000'000);
        t.nsec = 0;
    } else {
        t.nsec -= t.nsec % grain;
    }
    return t;
}

/// A host that caches writes keeps a file's mtime as it was set, to a second's grain at the most,
/// until it forgets the file: what the format holds shows only then.
inline bool host_keeps_time(Fs& fs, std::string_view path, Timespec set) {
    return !fs.asks_at_open() && as_stored(fs, set).sec != set.sec &&
           fs.attr(path).type == FileType::reg;
}

using Names = std::vector<std::string>;
using Mode = vfs::RenameMode;
using vfs::Fallocate;

} // namespace rump::conformance
