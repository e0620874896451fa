// FileSystemType: what the kernel knows of a file system before one is mounted. One object per
// type, stateless, listed in a registry (kernel/fs/registry.h).
#pragma once

#include "kernel/sys/mount.h"

#include "hostshim/log.h"

#include <functional>
#include <string>
#include <vector>

namespace rump {

class Kernel;

/// What a probe found.
struct ProbeResult {
    std::string type;  // "ffs"
    std::string label; // may be empty
    std::string uuid;  // may be empty
};

/// One finding of a check.
struct Finding {
    enum class Severity : uint8_t { note, wrong, fatal };
    Severity severity = Severity::wrong;
    std::string code;    // stable, for programs: "block-claimed-twice"
    std::string place;   // "inode 12, block 8211"
    std::string message; // one line, for people
    bool repaired = false;
};

struct CheckOptions {
    bool repair = false;
    bool force = false; // also when marked clean
    OptionSet fs;
};

struct CheckReport {
    std::vector<Finding> findings;
    bool skipped_clean = false; // marked clean and not forced
    uint64_t files = 0;
    uint64_t directories = 0;
    uint64_t blocks_used = 0;
    uint64_t blocks_total = 0;
    /// fsck(8): 0 clean, 1 all repaired, 4 errors left, 8 operational error.
    int exit_code() const;
};

class FileSystemType {
public:
    virtual ~FileSystemType() = default;
    virtual std::string_view name() const = 0; // "ext2fs"
    virtual std::span<const std::string_view> aliases() const { return {}; }
    virtual std::string_view description() const = 0; // one line
    virtual bool needs_device() const { return true; }
    /// -o options of its own, beyond the ones that all have.
    virtual std::span<const OptionSpec> mount_options() const { return {}; }
    /// Do their values mean something? Failure EINVAL names the option. For whoever has a command
    /// line; mount() asks again.
    virtual FailureOr<void> check_mount_options(const OptionSet& options) const {
        (void)options;
        return {};
    }

    /// Cheap: is it one of ours? No: none. EIO.
    virtual Result<std::optional<ProbeResult>> probe(host::BlockDevice& device) const {
        (void)device;
        return std::optional<ProbeResult>{};
    }
    /// Reads and validates what mounting needs. Writes nothing (begin_writing does). Failure:
    /// EINVAL (not this type: say what it is, if known), EUCLEAN (structure and field), EROFS, EIO,
    /// EOPNOTSUPP (a feature, by name), ENOMEM.
    virtual FailureOr<std::unique_ptr<Mount>> mount(Kernel& kernel, MountArgs args) const = 0;

    /// For a device that no type knows: one of ours, of which check can say more? Cheap, too. EIO.
    virtual Result<bool> recoverable(host::BlockDevice& device) const {
        (void)device;
        return false;
    }

    virtual bool can_check() const { return false; }
    /// Independent of the code that mounts and writes. Failure: what keeps it from checking at all.
    virtual FailureOr<CheckReport> check(host::BlockDevice& device, const CheckOptions& options,
                                         host::Log& log) const;
    virtual bool can_newfs() const { return false; }
    virtual std::span<const OptionSpec> newfs_options() const { return {}; }
    /// Makes an empty file system over all of `device`. `kernel` gives time and randomness.
    virtual FailureOr<void> newfs(Kernel& kernel, host::BlockDevice& device,
                                  const OptionSet& options) const;
};

} // namespace rump
