// Images that our own newfs makes, by options that the environment can choose: so that one
// executable runs over every variant of a format.
#pragma once

#include "kernel/sys/filesystem.h"

#include <memory>
#include <string>

namespace rump::conformance {

/// What RUMP_NEWFS says ("fat=32,cluster=4096,sector=512"), or `otherwise`.
std::string chosen_newfs(const std::string& otherwise);

/// An image of `size` bytes; `options` as above. Throws when they are refused.
std::unique_ptr<host::BlockDevice> newfs_image(const FileSystemType& type,
                                               const std::string& options, uint64_t size);

/// A number in such options.
uint64_t newfs_number(const std::string& options, const std::string& name, uint64_t otherwise);

} // namespace rump::conformance
