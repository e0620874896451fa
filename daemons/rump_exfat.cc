// rump_exfat [-o options] image mountpoint: exFAT.
#include "daemons/common/daemon.h"
#include "kernel/fs/exfatfs/vfsops.h"

int main(int argc, char** argv) {
    return rump::daemon_main(
        argc, argv, {.name = "rump_exfat", .type = rump::exfatfs::type(), .stores_owners = false});
}
