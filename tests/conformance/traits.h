// What the suite has to know of a file system: which rules hold for it, how its images are made and
// who says afterwards that one is clean. A file system's own are in traits_<fs>.cc.
#pragma once

#include "kernel/sys/filesystem.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace rump::conformance {

struct Traits {
    std::string name; // "ext2fs"

    // What the format can store.
    bool hard_links = true;
    bool symlinks = true;
    bool special_files = true;
    bool owners = true; // uid, gid and permission bits
    bool user_xattrs = true;
    bool privileged_xattrs = true; // trusted.*, security.*
    bool posix_acl = true;
    bool case_sensitive = true;
    bool any_bytes = true; // names that are no UTF-8
    bool holes = true;
    bool hole_at_end = true; // else the last block is always there
    bool preallocation = true;
    bool preallocation_behind_end = true; // blocks that the size does not cover
    bool file_flags = true;               // immutable, append, nodump
    bool noatime_flag = true;
    bool btime = true;
    bool counts_inodes = true;   // statvfs
    bool directory_links = true; // a directory's link count says how many are in it
    bool ctime = true;           // else it is the mtime

    // How it behaves.
    bool persistent = true; // there after the unmount
    bool keeps_unlinked_open_files = true;
    bool exchange = true;
    bool handles = true;         // by inode and generation
    bool lasting_handles = true; // also after a rename or a removal and a remount

    size_t name_max = 255; // bytes
    uint64_t max_file_size = INT64_MAX;
    uint32_t link_max = INT32_MAX; // tested when it is at most 70,000
    uint32_t subdirectory_max = INT32_MAX;
    size_t symlink_max = 4095;
    size_t xattr_value_max = 65536; // of one value in an empty file
    uint32_t time_granularity_ns = 1;
    int64_t time_min = INT64_MIN;
    int64_t time_max = INT64_MAX;
};

enum class ImageKind : uint8_t {
    standard, // room for every body
    tiny,     // about a megabyte, few inodes: soon full
};

/// A file system under test.
class Target {
public:
    virtual ~Target() = default;
    virtual const Traits& traits() const = 0;
    virtual const FileSystemType& type() const = 0;
    /// A fresh image, to be read only; null when the type needs no device.
    virtual host::BlockDevice* image(ImageKind kind) = 0;
    /// "size=1m", as -o takes it; may be empty.
    virtual std::string mount_options(ImageKind kind) const = 0;
    /// The daemon, and what mount(8) calls it on Linux ("ext4").
    virtual std::string daemon() const = 0;
    virtual std::string host_type() const = 0;
    /// Commands that must succeed on an unmounted image file: "e2fsck -fn".
    virtual std::vector<std::vector<std::string>> checkers() const = 0;
};

} // namespace rump::conformance
