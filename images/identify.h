// What is on a device, as far as libblkid knows: for messages ("this is an ext4 image, use …") and
// for choosing a file system when the user names none.
#pragma once

#include "hostshim/block_device.h"
#include "hostshim/function_ref.h"

#include <string>
#include <string_view>

namespace rump::images {

struct Identity {
    std::string type;  // libblkid's: "ext4", "vfat", "ufs", "swap"; empty: nothing known
    std::string usage; // "filesystem", "raid", "crypto", "other"; may be empty
    std::string label;
    std::string uuid;
    std::string partition_table; // "gpt", "dos" …: a whole disk; may be empty
};

/// EIO, ENOMEM.
Result<Identity> identify(host::BlockDevice& device);

/// The name that our file system for libblkid's type would have: "ext4" -> "ext2fs"; empty: none
/// known. Whether this build has it, the registry knows.
std::string_view filesystem_name(std::string_view blkid_type);

/// Takes the marks of what was there before, so that nobody takes the device for that: every
/// superblock that libblkid knows, but of types that `keep` wants, by filesystem_name(). For files
/// and block devices only. EIO, ENOSPC, EROFS.
Result<void> wipe_signatures(host::BlockDevice& device, FunctionRef<bool(std::string_view)> keep);

/// Nothing is known on it: no file system, no partitions. False where it cannot be read.
bool is_unknown(host::BlockDevice& device);

/// "this is an ext4 image", "this is a disk with a gpt partition table, choose one with part= (1,
/// 2)", "no known file system". Never fails.
std::string what_it_is(host::BlockDevice& device);

} // namespace rump::images
