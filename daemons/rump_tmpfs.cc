// rump_tmpfs [-o options] mountpoint: files in memory.
#include "daemons/common/daemon.h"
#include "kernel/fs/tmpfs/tmpfs.h"

int main(int argc, char** argv) {
    return rump::daemon_main(argc, argv, {.name = "rump_tmpfs", .type = rump::tmpfs::type()});
}
