// rump_ffs [-o options] image mountpoint: the Fast File System of the BSDs.
#include "daemons/common/daemon.h"
#include "kernel/fs/ffs/ffs.h"

int main(int argc, char** argv) {
    return rump::daemon_main(
        argc, argv, {.name = "rump_ffs", .type = rump::ffs::type(), .aliases = {"rump_ufs"}});
}
