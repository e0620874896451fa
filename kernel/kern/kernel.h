// Kernel: one instance of the emulated kernel. Owns all state: mounts, counters, workers. A process
// may have many, side by side; making and destroying one costs microseconds and starts no thread
// until `background` work is asked for.
#pragma once

#include "kernel/kern/counters.h"
#include "kernel/sys/filesystem.h"
#include "kernel/sys/mount.h"

#include "hostshim/clock.h"
#include "hostshim/log.h"
#include "hostshim/random.h"
#include "hostshim/thread.h"

#include <memory>
#include <vector>

namespace rump {

struct KernelConfig {
    const host::Clock* clock = nullptr; // null: the host's
    host::Random* random = nullptr;     // null: the host's
    host::Log* log = nullptr;           // null: nothing is logged
    /// Starts the syncer with the first mount: dirty metadata is written back within 5 s. Without
    /// it only sync, fsync, memory limits and unmount write.
    bool background = false;
};

class Kernel {
public:
    explicit Kernel(const KernelConfig& config = {});
    /// Unmounts what is still mounted, by force.
    ~Kernel();
    Kernel(const Kernel&) = delete;
    Kernel& operator=(const Kernel&) = delete;

    const host::Clock& clock() const { return clock_; }
    Timespec now() const { return clock_.realtime(); }
    host::Random& random() const { return random_; }
    host::Log& log() const { return log_; }
    Counters& counters() { return counters_; }

    /// Mounts and, unless read-only, begins writing. The kernel owns the mount until unmount().
    /// Failures: the type's own (filesystem.h).
    FailureOr<Mount*> mount(const FileSystemType& type, MountArgs args);
    /// The first half of it: nothing is written until Mount::go_live().
    FailureOr<Mount*> attach(const FileSystemType& type, MountArgs args);
    /// Mount::unmount and, when that is not EBUSY, the end of the object.
    Result<void> unmount(Mount& mount, bool force);
    /// Every mount. EIO: at least one failed.
    Result<void> sync();

private:
    void syncer();

    // constant after construction
    const host::Clock& clock_;
    host::Random& random_;
    std::unique_ptr<host::Log> null_log_;
    host::Log& log_;
    const bool background_;

    // self-synchronized
    Counters counters_;

    host::Mutex mutex_{host::Rank::kernel_mounts};
    std::vector<std::unique_ptr<Mount>> mounts_ GUARDED_BY(mutex_);

    host::Mutex syncer_mutex_{host::Rank::workers};
    host::CondVar syncer_wake_;
    bool syncer_stop_ GUARDED_BY(syncer_mutex_) = false;
    host::Thread syncer_thread_;
};

} // namespace rump
