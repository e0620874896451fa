// Error numbers of the emulated kernel: Linux's, as a type that does not mix with integers.
// POSIX.1-2017 <errno.h>; EUCLEAN ("structure needs cleaning") is what a corrupt image returns.
#pragma once

#include <cerrno>
#include <string_view>

namespace rump {

enum class Errno : int {
    perm = EPERM,
    noent = ENOENT,
    intr = EINTR,
    io = EIO,
    nxio = ENXIO,
    toobig = E2BIG,
    badf = EBADF,
    again = EAGAIN,
    nomem = ENOMEM,
    acces = EACCES,
    busy = EBUSY,
    exist = EEXIST,
    xdev = EXDEV,
    nodev = ENODEV,
    notdir = ENOTDIR,
    isdir = EISDIR,
    inval = EINVAL,
    nfile = ENFILE,
    mfile = EMFILE,
    notty = ENOTTY,
    txtbsy = ETXTBSY,
    fbig = EFBIG,
    nospc = ENOSPC,
    rofs = EROFS,
    mlink = EMLINK,
    pipe = EPIPE,
    range = ERANGE,
    nametoolong = ENAMETOOLONG,
    nosys = ENOSYS,
    notempty = ENOTEMPTY,
    loop = ELOOP,
    nodata = ENODATA, // no such extended attribute
    overflow = EOVERFLOW,
    ilseq = EILSEQ,
    opnotsupp = EOPNOTSUPP,
    stale = ESTALE,
    uclean = EUCLEAN,
    dquot = EDQUOT,
    canceled = ECANCELED,
    nodisk = ENOMEDIUM,
};

/// "ENOENT"; "E?" for a number without a name.
std::string_view errno_name(Errno error);

/// "No such file or directory": one line, no full stop. Never fails.
std::string_view errno_message(Errno error);

/// The host's errno as ours. 0 is a bug of the caller.
constexpr Errno errno_from_host(int host_errno) { return static_cast<Errno>(host_errno); }

constexpr int to_int(Errno error) { return static_cast<int>(error); }

} // namespace rump
