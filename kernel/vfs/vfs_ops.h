// The generic operations: what adapters (p2k, ukfs, system calls) call. Each checks what every file
// system would have to (names, types, permissions, read-only mounts, flags), takes the vnode locks
// that sys/vnode.h demands, calls the operation, and keeps the name cache true. Nothing is locked
// on entry or return.
//
// Errors that all of them may return beside the ones named: EIO (also after a forced unmount),
// EUCLEAN, ENOMEM. Operations that change something: EROFS. Paths are namei's (namei.h).
//
// A name is checked here: ENOENT (empty), ENAMETOOLONG (over traits().name_max), EINVAL ('/' or
// NUL);
// "." and ".." as names to make or remove: EEXIST, EINVAL or ENOTEMPTY as POSIX has it.
#pragma once

#include "kernel/sys/cred.h"
#include "kernel/sys/mount.h"
#include "kernel/sys/vnode.h"

#include <span>
#include <string>
#include <string_view>

namespace rump::vfs {

/// Permission bits of access(2).
inline constexpr unsigned may_exec = 1;
inline constexpr unsigned may_write = 2;
inline constexpr unsigned may_read = 4;

/// What a caller wants made. `umask` applies unless the directory has a default ACL.
struct Make {
    FileType type = FileType::reg;
    uint32_t mode = 0;
    uint32_t umask = 0;
    DeviceNumber rdev;
};

/// EACCES; EROFS for may_write on files of a read-only mount; EPERM for may_write on an immutable
/// file. Judges by owner, group, other, POSIX ACL; the superuser may all but execute what nobody
/// may.
Result<void> access(Vnode& vnode, unsigned want, const Cred& cred);

/// ENOTDIR, ENOENT, EACCES (search). ".." of the root is the root.
Result<VnodeRef> lookup(Vnode& dir, std::string_view name, const Cred& cred);

/// EEXIST, ENOENT (the directory is removed), EACCES, ENOSPC, EDQUOT, EMLINK, EPERM, EINVAL.
Result<VnodeRef> create(Vnode& dir, std::string_view name, const Make& make, const Cred& cred);
Result<VnodeRef> mkdir(Vnode& dir, std::string_view name, const Make& make, const Cred& cred);
Result<VnodeRef> symlink(Vnode& dir, std::string_view name, std::string_view target,
                         const Cred& cred);
/// EXDEV (another mount), EPERM (a directory, immutable or append-only target), EMLINK, EEXIST.
Result<void> link(Vnode& target, Vnode& dir, std::string_view name, const Cred& cred);
/// EISDIR (unlink) and ENOTDIR (rmdir), EPERM (sticky directory, immutable, append-only),
/// ENOTEMPTY, EBUSY (the root).
Result<void> unlink(Vnode& dir, std::string_view name, const Cred& cred);
Result<void> rmdir(Vnode& dir, std::string_view name, const Cred& cred);

enum class RenameMode : uint8_t { replace, no_replace, exchange };
/// As rename(2) and renameat2(2): EXDEV, EINVAL (into itself), ENOTEMPTY, EISDIR, ENOTDIR, EEXIST
/// (no_replace), ENOENT (exchange without target), EPERM, EACCES. Two names of one file: nothing
/// happens, success.
Result<void> rename(Vnode& from_dir, std::string_view from_name, Vnode& to_dir,
                    std::string_view to_name, RenameMode mode, const Cred& cred);

/// uid=, gid= and umask= of the mount are applied to the answer.
Result<Attr> getattr(Vnode& vnode);
/// chmod, chown, truncate, utimes, chflags as POSIX and Linux judge them: EPERM, EACCES, EFBIG,
/// EINVAL, EISDIR (size of a directory). Clears set-id bits on chown and on truncation by others
/// than the superuser, and the set-group-id bit on chmod by one who is not in the group. A chmod
/// changes the ACL's mask.
Result<Attr> setattr(Vnode& vnode, const AttrChange& change, const Cred& cred);
/// utimes with "now" needs write permission only.
Result<Attr> touch(Vnode& vnode, bool atime, bool mtime, const Cred& cred);

/// EISDIR, EINVAL (no regular file). Advances atime as the mount's policy says.
Result<size_t> read(Vnode& vnode, uint64_t offset, std::span<std::byte> out);
/// Clears set-id bits unless `keep_setid` or the superuser writes. EFBIG, ENOSPC, EDQUOT, EPERM
/// (append-only file and `offset` is not its end).
Result<size_t> write(Vnode& vnode, uint64_t offset, std::span<const std::byte> data,
                     const Cred& cred, bool keep_setid = false);
/// The same for bytes that somebody wrote earlier into a cache above us, which keeps mtime and
/// ctime and hands them over by setattr: they stay as they are, and so do set-id bits. `payer`: of
/// the file's attributes, whose the space is that it may take. All of `data` or an error: a cache
/// asks no second time. Some of it may be there then.
Result<size_t> write_back(Vnode& vnode, uint64_t offset, std::span<const std::byte> data,
                          FunctionRef<Cred(const Attr&)> payer);
/// Writes at the end of the file in one step; the offset where it went.
Result<uint64_t> append(Vnode& vnode, std::span<const std::byte> data, const Cred& cred);
/// Calls `use` with the extents of the range while the vnode is locked shared, for adapters that
/// move the bytes themselves (Extent::Kind::opaque parts they get by read). Ends at the end of the
/// file.
Result<void> with_extents(Vnode& vnode, uint64_t offset, uint64_t length,
                          FunctionRef<Result<void>(const ExtentList&)> use);
/// Copies inside a mount; bytes copied. EISDIR, EINVAL (overlapping ranges of one file), EXDEV.
Result<uint64_t> copy_range(Vnode& from, uint64_t from_offset, Vnode& to, uint64_t to_offset,
                            uint64_t length, const Cred& cred);

enum class Fallocate : uint8_t { allocate, keep_size, punch_hole, zero_range, zero_keep_size };
/// EINVAL (length 0), EFBIG, ENODEV (no regular file), EOPNOTSUPP.
Result<void> fallocate(Vnode& vnode, uint64_t offset, uint64_t length, Fallocate mode,
                       const Cred& cred);
/// ENXIO beyond the end.
Result<uint64_t> seek(Vnode& vnode, uint64_t offset, Seek what);

/// ENOTDIR. Advances atime.
Result<void> readdir(Vnode& dir, uint64_t cookie, DirSink sink);
/// EINVAL (no symlink).
Result<std::string> readlink(Vnode& vnode);

/// Namespaces as xattr(7): user.* on regular files and directories only, by permission; trusted.*
/// and security.* for the superuser; system.posix_acl_* checked, and an access ACL sets the mode.
/// EPERM, EACCES, ENODATA, ERANGE, EEXIST, E2BIG, ENOSPC, EOPNOTSUPP, EINVAL (a malformed ACL).
Result<size_t> getxattr(Vnode& vnode, std::string_view name, std::span<std::byte> out,
                        const Cred& cred);
Result<void> setxattr(Vnode& vnode, std::string_view name, std::span<const std::byte> value,
                      XattrSet how, const Cred& cred);
Result<void> removexattr(Vnode& vnode, std::string_view name, const Cred& cred);
/// Only names that `cred` may read.
Result<void> listxattr(Vnode& vnode, const Cred& cred, XattrSink sink);

Result<void> fsync(Vnode& vnode, bool data_only);

} // namespace rump::vfs
