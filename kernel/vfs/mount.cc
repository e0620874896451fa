// Mount: what all mounts share. States are drawn in sys/mount.h.
#include "kernel/sys/mount.h"

#include "kernel/kern/kernel.h"
#include "kernel/vfs/buffer_cache.h"
#include "kernel/vfs/dirhash.h"
#include "kernel/vfs/epoch.h"
#include "kernel/vfs/name_cache.h"
#include "kernel/vfs/vnode_cache.h"

namespace rump {

using host::MutexGuard;

namespace {
/// A damaged image would repeat itself for every lookup.
constexpr uint32_t reports_logged = 64;

Mount::Traits traits_with(Mount::Traits traits, const MountOptions& options) {
    traits.posix_acl &= options.acl;
    return traits;
}
} // namespace

struct Mount::Enrolments {
    std::vector<Counters::Enrolment> all;
};

Mount::Mount(Kernel& kernel, const FileSystemType& type, MountArgs args, Traits traits)
    : kernel_(kernel), type_(type), options_(std::move(args.options)),
      traits_(traits_with(traits, options_)), device_(std::move(args.device)),
      buffers_(device_ ? std::make_unique<BufferCache>(*device_, options_.cache_bytes) : nullptr),
      vnodes_(std::make_unique<VnodeCache>(options_.vnode_limit)),
      names_(std::make_unique<NameCache>(options_.name_limit)),
      dirhashes_(std::make_unique<DirHashPool>(options_.cache_bytes)),
      epoch_(std::make_unique<Epoch>(*this, buffers_.get())), read_only_(true),
      enrolments_(std::make_unique<Enrolments>()) {
    const auto enrol = [&](const char* name, const Counter& counter) {
        enrolments_->all.push_back(kernel_.counters().enrol(name, counter));
    };
    if (buffers_) {
        enrol("buffers.hits", buffers_->hits);
        enrol("buffers.misses", buffers_->misses);
        enrol("buffers.evictions", buffers_->evictions);
        enrol("buffers.writes", buffers_->writes);
    }
    enrol("vnodes.loads", vnodes_->loads);
    enrol("vnodes.hits", vnodes_->hits);
    enrol("vnodes.reclaims", vnodes_->reclaims);
    enrol("names.hits", names_->hits);
    enrol("names.negative_hits", names_->negative_hits);
    enrol("names.misses", names_->misses);
    enrol("dirhash.made", dirhashes_->made);
    enrol("dirhash.revoked", dirhashes_->revoked);
    enrol("epoch.transactions", epoch_->transactions);
    enrol("epoch.commits", epoch_->commits);
    enrol("epoch.flushes", epoch_->flushes);
}

Mount::~Mount() { vnodes_->drop_inactive(true); }

void Mount::set_journal(std::unique_ptr<Journal> journal) {
    epoch_->set_journal(std::move(journal));
}

// --- finding vnodes ------------------------------------------------------------------------------

Result<VnodeRef> Mount::vget(InodeNumber number) {
    return vnodes_->get(number, [&] { return load(number); });
}

Result<VnodeRef> Mount::from_handle(const FileHandle& handle) {
    VnodeRef vnode = TRY(vget(handle.number));
    if (vnode->generation() != handle.generation || vnode->unlinked()) return Errno::stale;
    return vnode;
}

// --- writing -------------------------------------------------------------------------------------

Result<Transaction> Mount::begin() {
    if (read_only()) return dead() ? Errno::io : Errno::rofs;
    return epoch_->begin();
}

Result<void> Mount::epoch_collect(Transaction& tx) {
    (void)tx;
    return {};
}

void Mount::epoch_committed(Transaction& tx) { (void)tx; }

Result<uint64_t> Mount::trim(uint64_t offset, uint64_t length, uint64_t minimum) {
    (void)offset, (void)length, (void)minimum;
    return Errno::opnotsupp;
}

Result<void> Mount::sync() {
    if (dead()) return Errno::io;
    return epoch_->commit(true);
}

FailureOr<void> Mount::go_live() {
    MutexGuard guard(state_mutex_);
    if (options_.read_only) return {};
    auto begun = start_writing();
    if (!begun) options_.read_only = true; // unmounting it writes nothing
    return begun;
}

bool Mount::in_use() const { return vnodes_->cached() > 0; }

FailureOr<void> Mount::start_writing() {
    read_only_.store(false, std::memory_order_release);
    if (auto begun = begin_writing(); !begun) {
        read_only_.store(true, std::memory_order_release);
        return begun;
    }
    return {};
}

/// Everything home, then the mark that says so, then that home too.
Result<void> Mount::stop_writing() {
    Result<void> result = epoch_->commit(true);
    if (result && epoch_->journal()) result = epoch_->journal()->checkpoint();
    if (result && !tainted()) result = end_writing();
    if (result) result = epoch_->commit(true);
    if (result && epoch_->journal()) result = epoch_->journal()->checkpoint();
    if (result && device_) result = device_->flush();
    read_only_.store(true, std::memory_order_release);
    return result;
}

Result<void> Mount::unmount(bool force) {
    MutexGuard guard(state_mutex_);
    names_->clear();
    if (!force && vnodes_->active() > 0) return Errno::busy;
    Result<void> result;
    // After errors=remount-ro the mount refuses changes, but what was done before still goes home.
    if (!read_only())
        result = stop_writing();
    else if (!options_.read_only && tainted())
        result = epoch_->commit(true);
    dead_.store(true, std::memory_order_relaxed);
    vnodes_->drop_inactive(true);
    if (vnodes_->cached() == 0) quiesce();
    return result;
}

FailureOr<void> Mount::remount(bool want_read_only) {
    MutexGuard guard(state_mutex_);
    if (dead()) return Failure{Errno::io, "the file system was taken away"};
    if (want_read_only == read_only()) return {};
    if (!want_read_only) {
        if (tainted())
            return Failure{Errno::rofs, "errors were found; check the file system first"};
        if (device_ && device_->read_only())
            return Failure{Errno::rofs, "the image was opened read-only"};
        return start_writing();
    }
    bool open_unlinked = false;
    vnodes_->each([&](Vnode& vnode) { open_unlinked |= vnode.unlinked(); });
    if (open_unlinked) return Failure{Errno::busy, "a removed file is still open"};
    if (auto stopped = stop_writing(); !stopped) return stopped.error();
    return {};
}

// --- damage --------------------------------------------------------------------------------------

void Mount::report(std::string_view place, std::string_view what) {
    const uint32_t n = reports_.fetch_add(1, std::memory_order_relaxed);
    if (n < reports_logged)
        kernel_.log().error("{}: {}{}{}", type_.name(), place, what.empty() ? "" : ": ", what);
    else if (n == reports_logged)
        kernel_.log().error("{}: further damage is not logged", type_.name());
    tainted_.store(true, std::memory_order_relaxed);
    if (read_only()) return;
    switch (options_.errors) {
    case ErrorPolicy::carry_on:
        return;
    case ErrorPolicy::abort:
        dead_.store(true, std::memory_order_relaxed);
        [[fallthrough]];
    case ErrorPolicy::remount_read_only:
        kernel_.log().error("{}: the mount is read-only from now on", type_.name());
        read_only_.store(true, std::memory_order_release);
    }
}

Errno Mount::corrupt(std::string place) {
    report(place, {});
    return Errno::uclean;
}

Errno Mount::io_error(std::string place, Errno error) {
    if (host_is_full(error)) return Errno::nospc; // no damage: the operation is undone
    report(place, errno_message(error));
    return Errno::io;
}

} // namespace rump
