// What the format's own fsck says of an image.
#pragma once

#include "tests/unit/temp_dir.h"

#include "hostshim/block_device.h"

#include <catch2/catch.hpp>

#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

namespace rump::test {

inline std::vector<std::byte> contents(host::BlockDevice& device) {
    std::vector<std::byte> all(device.size());
    REQUIRE(device.read(0, all).ok());
    return all;
}

/// `program` -n on a copy. Without the program, which ./rump setup installs, it is not clean.
inline bool outside_clean(host::BlockDevice& device, const std::string& program) {
    TempDir dir;
    auto bytes = contents(device);
    std::ofstream(dir / "image", std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()), static_cast<long>(bytes.size()));
    std::string command = program + " -n '" + dir / "image" + "' >'" + dir / "log" + "' 2>&1";
    bool clean = std::system(command.c_str()) == 0;
    if (!clean) (void)std::system(("cat '" + dir / "log" + "'").c_str());
    return clean;
}

} // namespace rump::test
