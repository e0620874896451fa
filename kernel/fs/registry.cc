// The list of file systems. A line here, a folder beside this file, a daemon: that is a file
// system.
#include "kernel/fs/registry.h"

#include "kernel/fs/exfatfs/vfsops.h"
#include "kernel/fs/ext2fs/ext2fs.h"
#include "kernel/fs/ffs/ffs.h"
#include "kernel/fs/msdosfs/vfsops.h"
#include "kernel/fs/tmpfs/tmpfs.h"

#include <array>

namespace rump {

std::span<const FileSystemType* const> filesystem_types() {
    static const std::array types{
        &exfatfs::type(), &msdosfs::type(), &ext2::type(), &ffs::type(), &tmpfs::type(),
    };
    return types;
}

const FileSystemType* find_filesystem(std::string_view name) {
    for (const FileSystemType* type : filesystem_types()) {
        if (type->name() == name) return type;
        for (std::string_view alias : type->aliases())
            if (alias == name) return type;
    }
    return nullptr;
}

Result<ProbeResult> probe_filesystems(host::BlockDevice& device) {
    for (const FileSystemType* type : filesystem_types()) {
        if (!type->needs_device()) continue;
        if (auto found = TRY(type->probe(device))) return *found;
    }
    return ProbeResult{};
}

} // namespace rump
