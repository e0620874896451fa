// FAT and exFAT as tests make them: an empty volume in memory.
#pragma once

#include "hostshim/block_device.h"
#include "kernel/fs/registry.h"
#include "kernel/kern/kernel.h"

#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace rump::test {

struct FatFormat {
    std::string name; // for people
    const char* type; // msdosfs or exfatfs
    uint64_t size;    // bytes
    std::vector<std::pair<const char*, const char*>> newfs;
};

/// An empty volume on `device`, of format.size bytes, which stay where newfs writes nothing. Throws
/// std::runtime_error.
inline void make_fat(const FatFormat& format, host::BlockDevice& device) {
    host::SeededRandom random(3);
    Kernel kernel({nullptr, &random, nullptr, false});
    const FileSystemType& type = *find_filesystem(format.type);
    OptionSet options;
    for (auto [name, value] : format.newfs)
        if (auto set = options.set(type.newfs_options(), name, value); !set)
            throw std::runtime_error(set.error().text);
    if (auto made = type.newfs(kernel, device, options); !made)
        throw std::runtime_error(made.error().text);
}

} // namespace rump::test
