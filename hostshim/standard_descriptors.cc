// See standard_descriptors.h.
#include "hostshim/standard_descriptors.h"

#include <fcntl.h>
#include <unistd.h>

namespace rump::host {

void keep_standard_descriptors() {
    // open(2) gives the lowest number that is free.
    for (int fd = ::open("/dev/null", O_RDWR); fd >= 0; fd = ::open("/dev/null", O_RDWR)) {
        if (fd <= STDERR_FILENO) continue;
        ::close(fd);
        return;
    }
}

} // namespace rump::host
