// ioctl requests: file flags (lsattr, chattr), generation, and FITRIM.
#include "p2k/adapter.h"

#include <linux/fs.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

namespace rump::p2k {

namespace {

/// What chattr may change; the rest of the flags stays as it is.
constexpr FileFlags settable =
    file_flag::secure_delete | file_flag::undelete | file_flag::compress | file_flag::sync |
    file_flag::immutable | file_flag::append | file_flag::nodump | file_flag::noatime |
    file_flag::journal_data | file_flag::notail | file_flag::dirsync | file_flag::topdir;

struct FlagPair {
    FileFlags flag;
    uint32_t xflag;
};
constexpr FlagPair xflags[] = {
    {file_flag::immutable, FS_XFLAG_IMMUTABLE}, {file_flag::append, FS_XFLAG_APPEND},
    {file_flag::sync, FS_XFLAG_SYNC},           {file_flag::noatime, FS_XFLAG_NOATIME},
    {file_flag::nodump, FS_XFLAG_NODUMP},
};

/// One ioctl: `in` as the caller gave it, answers into `out`.
struct Call {
    Vnode& vnode;
    Cred cred;
    std::span<const std::byte> in;
    std::span<std::byte> out; // zeros at first
    bool may_trim;

    /// ENOTTY: the host offers no room for the value, so it means another call.
    template<class T>
    Result<T> argument() const {
        T value;
        if (in.size() < sizeof value) return Errno::notty;
        std::memcpy(&value, in.data(), sizeof value);
        return value;
    }
    template<class T>
    Result<void> give(const T& value) const {
        if (out.size() < sizeof value) return Errno::notty;
        std::memcpy(out.data(), &value, sizeof value);
        return {};
    }
};

Result<void> get_flags(const Call& call) {
    return call.give(static_cast<uint32_t>(TRY(vfs::getattr(call.vnode)).flags));
}

Result<void> change_flags(const Call& call, FileFlags mask, FileFlags wanted) {
    const FileFlags now = TRY(vfs::getattr(call.vnode)).flags;
    AttrChange change;
    change.flags = (now & ~mask) | (wanted & mask);
    if (*change.flags == now) return {};
    TRY(vfs::setattr(call.vnode, change, call.cred));
    return {};
}

Result<void> set_flags(const Call& call) {
    const FileFlags wanted = TRY(call.argument<uint32_t>());
    // Read-only flags may be handed back as they were read, nothing else may be asked for.
    const FileFlags now = TRY(vfs::getattr(call.vnode)).flags & UINT32_MAX;
    if ((wanted ^ now) & ~settable) return Errno::opnotsupp;
    return change_flags(call, settable, wanted);
}

Result<void> get_xflags(const Call& call) {
    const FileFlags flags = TRY(vfs::getattr(call.vnode)).flags;
    fsxattr value = {};
    for (const FlagPair& pair : xflags)
        if (flags & pair.flag) value.fsx_xflags |= pair.xflag;
    return call.give(value);
}

Result<void> set_xflags(const Call& call) {
    const auto value = TRY(call.argument<fsxattr>());
    FileFlags mask = 0;
    FileFlags wanted = 0;
    uint32_t known = 0;
    for (const FlagPair& pair : xflags) {
        mask |= pair.flag;
        known |= pair.xflag;
        if (value.fsx_xflags & pair.xflag) wanted |= pair.flag;
    }
    if (value.fsx_xflags & ~known || value.fsx_extsize || value.fsx_projid || value.fsx_cowextsize)
        return Errno::opnotsupp;
    return change_flags(call, mask, wanted);
}

Result<void> trim(const Call& call) {
    auto range = TRY(call.argument<fstrim_range>());
    if (!call.may_trim) return Errno::perm;
    TRY(call.vnode.mount().sync()); // what was freed lately is free on the device first
    range.len = TRY(call.vnode.mount().trim(range.start, range.len, range.minlen));
    return call.give(range);
}

/// ENOTTY: not one of ours.
Result<void> dispatch(const Call& call, unsigned command) {
    switch (command) {
    case FS_IOC_GETFLAGS:
    case FS_IOC32_GETFLAGS:
        return get_flags(call);
    case FS_IOC_SETFLAGS:
    case FS_IOC32_SETFLAGS:
        return set_flags(call);
    case FS_IOC_GETVERSION:
    case FS_IOC32_GETVERSION:
        return call.give(call.vnode.generation());
    case FS_IOC_FSGETXATTR:
        return get_xflags(call);
    case FS_IOC_FSSETXATTR:
        return set_xflags(call);
    case FITRIM:
        return trim(call);
    default:
        return Errno::notty;
    }
}

} // namespace

void Adapter::Requests::ioctl(fuse_req_t req, fuse_ino_t id, unsigned command, void*,
                              fuse_file_info*, unsigned, const void* in, size_t in_size,
                              size_t out_size) {
    answer(req, [&](Adapter& self) -> Result<void> {
        std::byte out[64] = {};
        const uid_t uid = fuse_req_ctx(req)->uid;
        const Call call{.vnode = *TRY(self.node(id)),
                        .cred = self.cred(req),
                        .in = {static_cast<const std::byte*>(in), in_size},
                        .out = std::span(out).first(std::min(out_size, sizeof out)),
                        .may_trim = uid == 0 || uid == ::geteuid()};
        TRY(dispatch(call, command));
        // The host does not know that a change of flags changes the ctime.
        if (out_size == 0) self.host_.forget_attributes(id);
        fuse_reply_ioctl(req, 0, call.out.data(), call.out.size());
        return {};
    });
}

} // namespace rump::p2k
