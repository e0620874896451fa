// UFS1's extended attributes: a file for each attribute, /.attribute/user/NAME
// and
// /.attribute/system/NAME, with a record for each inode (extattrctl(8)). They
// are read on read-only mounts, where no lock is needed to look at other files;
// elsewhere EOPNOTSUPP.
#pragma once

#include "kernel/fs/ffs/inode.h"

#include "kernel/sys/vnode.h"

namespace rump::ffs {

Result<std::vector<std::byte>> get_file_attribute(Inode& inode, std::string_view name);
Result<void> list_file_attributes(Inode& inode, XattrSink sink);

} // namespace rump::ffs
