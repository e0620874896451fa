// What an explorer of thousands of images makes for each.
#pragma once

#include "hostshim/faulty_device.h"
#include "kernel/kern/kernel.h"

namespace rump::test {

/// A kernel whose time and randomness repeat.
struct World {
    World(host::Log::Sink sink, host::LogLevel level) : log(std::move(sink), level) {
        KernelConfig config;
        config.clock = &clock;
        config.random = &random;
        config.log = &log;
        kernel = std::make_unique<Kernel>(config);
    }
    host::VirtualClock clock{Timespec{1000000000, 0}, 1000000};
    host::SeededRandom random{1};
    host::Log log;
    std::unique_ptr<Kernel> kernel;
};

/// `device` for a mount to own, while it stays ours.
inline std::unique_ptr<host::BlockDevice> lend(host::BlockDevice& device) {
    return std::make_unique<host::FaultyDevice>(device);
}

} // namespace rump::test
