// tmpfs: files in memory, with no device and nothing left after the unmount. Full POSIX semantics;
// the behaviour of Linux's tmpfs(5) where POSIX leaves a choice. The other file systems are
// measured against it (tests/differential).
#pragma once

#include "kernel/sys/filesystem.h"

namespace rump::tmpfs {

const FileSystemType& type();

} // namespace rump::tmpfs
