// What a device holds, in files of the host, so that other programs can look at it. Runs of zeros
// become holes: images are mostly that.
#pragma once

#include "hostshim/block_device.h"

#include <string>

namespace rump::test {

/// A file without a name: gone with its descriptor, whatever happens to us.
class MemoryFile {
public:
    /// Zeros of `size` bytes. Throws std::runtime_error.
    explicit MemoryFile(uint64_t size);
    ~MemoryFile();
    MemoryFile(const MemoryFile&) = delete;
    MemoryFile& operator=(const MemoryFile&) = delete;

    /// For other programs, while this object is there.
    std::string path() const;
    /// Into the file, which is empty before, what the device of its size holds. EIO, ENOSPC.
    Result<void> take_from(host::BlockDevice& device);
    /// Back to the device, where it differs. EIO, ENOSPC.
    Result<void> give_to(host::BlockDevice& device) const;

private:
    const int fd_;
};

/// A new file of the name `path`. Throws std::runtime_error.
void write_file(const std::string& path, host::BlockDevice& device);

} // namespace rump::test
