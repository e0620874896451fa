// A block device over a host file or block special file.
#pragma once

#include "hostshim/block_device.h"

#include <memory>

namespace rump::host {

enum class Access : uint8_t { read_only, read_write };

struct FileDeviceOptions {
    Access access = Access::read_only;
    uint64_t offset = 0; // first byte of the file that belongs to the device
    /// Bytes; 0: to the end of the file. More than there is for reading only: of an image whose end
    /// is missing; there it is EIO.
    uint64_t size = 0;
    /// false, read_only only: takes no lock and asks nobody, for a look at a partition table while
    /// partitions are in use.
    bool lock = true;
};

/// Opens `path` and locks it against other instances of this suite, in this and in other processes
/// (open file description lock over the device's range: exclusive for read_write, shared for
/// read_only), and against the host's own mounts (a block special file is opened O_EXCL; a file
/// that backs a loop device is refused for writing). Failures say in words: ENOENT, EISDIR, EACCES,
/// EROFS, EBUSY (who holds it, where known), ENXIO (an empty file), EINVAL (offset or size beyond
/// the end; neither file nor block device).
FailureOr<std::unique_ptr<BlockDevice>> open_file_device(const std::string& path,
                                                         const FileDeviceOptions& options);

} // namespace rump::host
