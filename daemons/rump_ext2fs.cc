// rump_ext2fs [-o options] image mountpoint: ext2.
#include "daemons/common/daemon.h"
#include "kernel/fs/ext2fs/ext2fs.h"

int main(int argc, char** argv) {
    return rump::daemon_main(
        argc, argv, {.name = "rump_ext2fs", .type = rump::ext2::type(), .aliases = {"rump_ext2"}});
}
