// What holds for FAT and exFAT alike.
#pragma once

#include "tests/conformance/traits.h"

namespace rump::conformance {

inline constexpr uint64_t megabyte = 1 << 20;

inline Traits clusters_traits(const std::string& name) {
    Traits traits;
    traits.name = name;
    traits.hard_links = false;
    traits.symlinks = false;
    traits.special_files = false;
    traits.owners = false;
    traits.user_xattrs = false; // but for the one of the attributes
    traits.privileged_xattrs = false;
    traits.posix_acl = false;
    traits.case_sensitive = false;
    traits.any_bytes = false;
    traits.holes = false;
    traits.preallocation_behind_end = false;
    traits.file_flags = false;
    traits.counts_inodes = false;
    traits.directory_links = false;
    traits.ctime = false;
    traits.lasting_handles = false; // a file is where its entry is
    traits.exchange = false;
    traits.name_max = 765;        // 255 UTF-16 code units
    traits.time_min = 315532800;  // 1980
    traits.time_max = 4354819199; // 2107
    return traits;
}

} // namespace rump::conformance
