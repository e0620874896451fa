// FFS as the registry of file systems knows it.
#pragma once

#include "kernel/sys/filesystem.h"

namespace rump::ffs {

const FileSystemType& type();

} // namespace rump::ffs
