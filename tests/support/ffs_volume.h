// FFS as tests make it: the layouts there are, an empty volume of one, what check says of it.
#pragma once

#include "hostshim/block_device.h"
#include "kernel/sys/mount.h"

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace rump::test {

/// What newfs is told.
struct FfsLayout {
    std::string format = "2"; // 0, 1 or 2
    std::string order = "le";
    std::string block = "16k", fragment = "2k";
    bool log = false;

    /// "2/be/16k/2k/log", and back. Throws std::runtime_error.
    std::string name() const;
    static FfsLayout parse(std::string_view name);
};

/// UFS1 and UFS2, in either byte order, of the usual sizes, without and with a log.
std::vector<FfsLayout> ffs_layouts();

using NewfsOptions = std::vector<std::pair<std::string, std::string>>;
/// `more`: further options of newfs, which win over the layout's. Throws std::runtime_error.
void make_ffs(host::BlockDevice& device, const FfsLayout& layout, const NewfsOptions& more = {});
/// A line for each finding but notes; of a repair, for those that it leaves.
std::string ffs_findings(host::BlockDevice& device, bool repair = false);
/// The device outlives the mount. Throws std::runtime_error.
Mount* mount_ffs(Kernel& kernel, host::BlockDevice& device, bool read_only = false);

} // namespace rump::test
