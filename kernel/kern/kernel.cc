// The kernel instance: its mounts, and the syncer that writes them back.
#include "kernel/kern/kernel.h"

#include <algorithm>

namespace rump {

using host::MutexGuard;

namespace {
constexpr uint64_t sync_interval_ns = 4'500'000'000; // durable within 5 s
}

Kernel::Kernel(const KernelConfig& config)
    : clock_(config.clock ? *config.clock : host::real_clock()),
      random_(config.random ? *config.random : host::real_random()),
      null_log_(config.log ? nullptr
                           : std::make_unique<host::Log>(host::null_sink(), host::LogLevel::off)),
      log_(config.log ? *config.log : *null_log_), background_(config.background) {}

Kernel::~Kernel() {
    {
        MutexGuard guard(syncer_mutex_);
        syncer_stop_ = true;
        syncer_wake_.notify_all();
    }
    syncer_thread_.join();
    MutexGuard guard(mutex_);
    for (auto& mount : mounts_)
        if (!mount->dead()) (void)mount->unmount(true);
    mounts_.clear();
}

FailureOr<Mount*> Kernel::mount(const FileSystemType& type, MountArgs args) {
    Mount* mount = TRY(attach(type, std::move(args)));
    auto live = mount->go_live();
    if (live) return mount;
    (void)unmount(*mount, true);
    return live.error();
}

FailureOr<Mount*> Kernel::attach(const FileSystemType& type, MountArgs args) {
    ASSERT(type.needs_device() == (args.device != nullptr));
    if (args.device && args.device->read_only() && !args.options.read_only)
        return Failure{Errno::rofs, "the image cannot be written; mount it with -o ro"};
    std::unique_ptr<Mount> mount = TRY(type.mount(*this, std::move(args)));
    Mount* raw = mount.get();
    MutexGuard guard(mutex_);
    mounts_.push_back(std::move(mount));
    if (background_ && !syncer_thread_.running()) {
        auto started = host::Thread::start("syncer", [this] { syncer(); });
        if (started)
            syncer_thread_ = started.release_value();
        else
            log_.warning("no thread for the syncer: only sync and unmount write back");
    }
    return raw;
}

Result<void> Kernel::unmount(Mount& mount, bool force) {
    MutexGuard guard(mutex_);
    auto it = std::find_if(mounts_.begin(), mounts_.end(),
                           [&](const auto& m) { return m.get() == &mount; });
    ASSERT(it != mounts_.end());
    auto result = mount.unmount(force);
    if (!result && result.error() == Errno::busy) return result;
    // By force: whoever still holds vnodes may drop them until the kernel goes.
    if (!mount.in_use()) mounts_.erase(it);
    return result;
}

Result<void> Kernel::sync() {
    MutexGuard guard(mutex_);
    Result<void> result;
    for (auto& mount : mounts_)
        if (auto synced = mount->sync(); !synced) result = synced;
    return result;
}

void Kernel::syncer() {
    for (;;) {
        {
            MutexGuard guard(syncer_mutex_);
            if (!syncer_stop_) syncer_wake_.wait_for(syncer_mutex_, sync_interval_ns);
            if (syncer_stop_) return;
        }
        MutexGuard guard(mutex_);
        for (auto& mount : mounts_)
            if (!mount->read_only()) (void)mount->sync(); // reports its own errors
    }
}

} // namespace rump
