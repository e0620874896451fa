// Partition tables: MBR with logical partitions, GPT, BSD disklabel (alone or in an MBR slice),
// Apple and what else libblkid reads. libblkid finds and checks; only the letters of BSD
// partitions, which it does not tell, are looked up in the disklabel here.
#pragma once

#include "hostshim/block_device.h"

#include <string>
#include <string_view>
#include <vector>

namespace rump::images {

struct Partition {
    unsigned number = 0;   // as libblkid counts
    char letter = 0;       // 'a' to 'p' of a BSD disklabel; else 0
    uint64_t offset = 0;   // bytes from the start of the disk
    uint64_t size = 0;     // bytes
    bool extended = false; // an MBR container of logical ones
    std::string scheme;    // "dos", "gpt", "bsd", "netbsd", "freebsd", "mac" …
    std::string type;      // as the scheme writes it: "0x83", a GUID, "Apple_UFS"
    std::string name;      // GPT, Apple; may be empty
    std::string uuid;      // may be empty
};

/// All partitions of a disk in the order of their numbers; none: there is no table. What the table
/// says is not bounded by the disk: see `select`. EIO; EOPNOTSUPP: the device has no plain host
/// address.
Result<std::vector<Partition>> partitions(host::BlockDevice& disk);

/// By file name; takes no lock, so it works while partitions are in use. Failures as
/// open_file_device.
FailureOr<std::vector<Partition>> partitions(const std::string& path, uint64_t offset = 0,
                                             uint64_t size = 0);

/// The one partition that `which` means: a number, a UUID, a letter of a BSD disklabel, a name.
/// Failures: ENOENT (says which there are), EINVAL (several of that name; it is empty or reaches
/// beyond `disk_size`).
FailureOr<Partition> select(const std::vector<Partition>& all, std::string_view which,
                            uint64_t disk_size);

/// "1 (root), 2, 5 (a)": for messages. "none" when there is none.
std::string list_of(const std::vector<Partition>& all);

} // namespace rump::images
