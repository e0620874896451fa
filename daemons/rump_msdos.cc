// rump_msdos [-o options] image mountpoint: FAT12, FAT16 and FAT32.
#include "daemons/common/daemon.h"
#include "kernel/fs/msdosfs/vfsops.h"

int main(int argc, char** argv) {
    return rump::daemon_main(argc, argv,
                             {.name = "rump_msdos",
                              .type = rump::msdosfs::type(),
                              .aliases = {"rump_fat", "rump_vfat"},
                              .stores_owners = false});
}
