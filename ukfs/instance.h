// What is behind the handles of ukfs.h, and what its functions share.
#pragma once

#include "kernel/kern/kernel.h"
#include "kernel/vfs/namei.h"
#include "kernel/vfs/vfs_ops.h"
#include "ukfs/ukfs.h"

#include <array>
#include <atomic>
#include <new>
#include <string_view>

namespace rump::ukfslib {

/// The log's sink: keeps the last error's message for ukfs_error_text, and passes all on to the
/// user.
class MessageKeeper {
public:
    MessageKeeper(void (*callback)(void*, int, const char*), void* argument)
        : callback_(callback), argument_(argument) {}

    void message(host::LogLevel level, std::string_view text);
    /// The last error's message; empty: none yet.
    std::string last() const;

private:
    // constant after construction
    void (*const callback_)(void*, int, const char*);
    void* const argument_;

    mutable host::Mutex mutex_{host::Rank::leaf};
    std::string last_ GUARDED_BY(mutex_);
};

} // namespace rump::ukfslib

struct ukfs {
    ukfs(void (*callback)(void*, int, const char*), void* argument, bool background);

    // destroyed in reverse: roots, then mounts with the kernel, then the log that they use
    rump::ukfslib::MessageKeeper messages;
    rump::host::Log log;
    rump::Kernel kernel;
    rump::Mount* mount = nullptr;
    rump::vfs::LookupStart start; // the root, twice
    rump::Cred cred = rump::Cred::superuser();

    /// The handle's own and one for each open file: a forced release leaves the object to the last.
    std::atomic<uint32_t> references{1};
    void drop();
};

struct ukfs_file {
    ukfs& fs;
    rump::VnodeRef vnode;
    int flags;
};

namespace rump::ukfslib {

/// Runs the body of a C function: an error becomes its negative number, exhausted memory ENOMEM.
/// Values come back as they are.
template<class Return = int, class Body>
Return call(Body&& body) noexcept {
    try {
        auto result = body();
        if (!result.ok()) return static_cast<Return>(-to_int(result.error()));
        if constexpr (std::is_void_v<typename decltype(result)::value_type>)
            return 0;
        else
            return static_cast<Return>(result.release_value());
    } catch (const std::bad_alloc&) {
        return static_cast<Return>(-to_int(Errno::nomem));
    }
}

/// The type of that name or alias. EINVAL.
FailureOr<const FileSystemType*> named_type(std::string_view name);
/// The type that knows the device, or that knows what it was before it was damaged: opening or
/// checking says what is wrong with it. EINVAL (says what it is), EIO.
FailureOr<const FileSystemType*> type_of(host::BlockDevice& device);

/// Puts a text into a buffer of the caller's, cut if need be, always terminated.
void copy_text(std::string_view text, char* out, size_t size);

/// The same for what is opened, checked or made: the reason goes to `error`, which may be null.
template<class Body>
int call_with_error(ukfs_error* error, Body&& body) noexcept {
    Errno code = Errno::nomem;
    try {
        FailureOr<void> result = body();
        if (result.ok()) return 0;
        code = result.error().code;
        if (error) copy_text(result.error().text, error->text, sizeof error->text);
    } catch (const std::bad_alloc&) {
        if (error) copy_text(errno_message(code), error->text, sizeof error->text);
    }
    if (error) error->code = to_int(code);
    return -to_int(code);
}

inline std::string_view view(const char* text) { return text ? std::string_view(text) : ""; }

/// The vnode of a path.
inline Result<VnodeRef> find(const ukfs& fs, const char* path,
                             vfs::FollowLast follow = vfs::FollowLast::yes) {
    return vfs::namei(fs.start, path, follow, fs.cred);
}

inline vfs::FollowLast following(int flags) {
    return flags & UKFS_NOFOLLOW ? vfs::FollowLast::no : vfs::FollowLast::yes;
}

void to_c(const Attr& attr, struct ukfs_stat& out);

} // namespace rump::ukfslib
