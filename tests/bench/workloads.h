// The bench's workloads, in the order in which they run on one fresh file system: later ones use
// what earlier ones made.
#pragma once

#include "tests/bench/files.h"

#include <string>
#include <string_view>
#include <vector>

namespace bench {

/// How much. The defaults are those of the published tables.
struct Scale {
    size_t files = 10'000;
    size_t directories = 100;
    uint64_t big_bytes = 512u << 20;
    size_t random_operations = 20'000;
    uint64_t parallel_bytes = 32u << 20; // per thread
    std::string source_tree;             // a tar archive; empty: no untar, tar, rm
    std::string repository;              // a tar archive of a git repository; empty: no git
};

struct Amount {
    uint64_t operations = 0;
    uint64_t bytes = 0; // 0: measured in operations
};

struct Workload {
    std::string_view name;
    std::string_view description;
    bool cold;                             // the host's caches are dropped between prepare and run
    bool programs;                         // runs programs (tar, git, rm) on the directory
    bool plain;                            // touches only names that the null server knows
    void (*prepare)(Files&, const Scale&); // may be null
    Amount (*run)(Files&, const Scale&);
    void (*finish)(Files&, const Scale&) = nullptr; // may be null
};

const std::vector<Workload>& workloads();

} // namespace bench
