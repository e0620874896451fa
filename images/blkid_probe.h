// A probe of libblkid over the part of a host file that a block device stands for. Private to
// images.
#pragma once

#include "hostshim/block_device.h"

#include <blkid/blkid.h>
#include <memory>

namespace rump::images {

struct FreeProbe {
    void operator()(blkid_probe probe) const { blkid_free_probe(probe); }
};
using Probe = std::unique_ptr<blkid_struct_probe, FreeProbe>;

/// EIO: libblkid cannot use the descriptor; ENOMEM.
inline Result<Probe> make_probe(const host::DirectRange& range, uint64_t size) {
    Probe probe(blkid_new_probe());
    if (!probe) return Errno::nomem;
    if (blkid_probe_set_device(probe.get(), range.fd, static_cast<blkid_loff_t>(range.offset),
                               static_cast<blkid_loff_t>(size)) != 0)
        return Errno::io;
    return probe;
}

inline std::string text_or_empty(const char* text) { return text ? text : ""; }

} // namespace rump::images
