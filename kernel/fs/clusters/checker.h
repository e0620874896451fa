// What the checks of FAT and exFAT share: what they found, whose each cluster is, and files that
// have two names.
#pragma once

#include "kernel/fs/clusters/check_names.h"
#include "kernel/fs/clusters/cluster.h"
#include "kernel/sys/filesystem.h"

#include <string>
#include <unordered_map>
#include <vector>

namespace rump::clusters {

class Checker {
public:
    virtual ~Checker() = default;
    /// Failures: EROFS (to be mended, and cannot be written), EIO, ENOMEM.
    FailureOr<CheckReport> run();

protected:
    Checker(host::BlockDevice& device, uint32_t cluster_count, bool repair)
        : device_(device), repair_(repair), cluster_count_(cluster_count) {}

    virtual Result<void> check_all() = 0;
    /// True when it is to be mended, and says that it was.
    bool wrong(std::string code, std::string place, std::string message, bool mendable = true);
    /// Notes whose `first` cluster is. What a rename leaves that was cut off between its two
    /// entries: which of them is the old one, nothing says, and the new one may stand for a file
    /// that was replaced. True: it is to become a file of its own.
    bool second_name(uint32_t first, const std::string& path);

    host::BlockDevice& device_;
    const bool repair_;
    CheckReport report_;
    std::vector<bool> owned_; // by cluster number: some file's
    CheckedNames names_;      // of the directory at hand

private:
    const uint32_t cluster_count_;
    std::unordered_map<uint32_t, std::string> paths_; // of files, by first cluster
};

} // namespace rump::clusters
