// What the files of the generic operations (vfs_*.cc) share: checks that each of them makes, in the
// order in which Linux makes them, so that the errno of a refusal is the expected one.
#pragma once

#include "kernel/sys/mount.h"
#include "kernel/vfs/acl.h"
#include "kernel/vfs/epoch.h"
#include "kernel/vfs/vfs_ops.h"

namespace rump::vfs {

inline constexpr FileFlags immutable_flags = file_flag::immutable | file_flag::user_immutable;
inline constexpr FileFlags append_flags = file_flag::append | file_flag::user_append;
/// No name of the file may go.
inline constexpr FileFlags nounlink_flags = immutable_flags | append_flags | file_flag::nounlink;

/// EIO after a forced unmount.
inline Result<void> check_alive(const Mount& mount) {
    if (mount.dead()) return Errno::io;
    return {};
}

/// Also EROFS.
inline Result<void> check_writable(const Mount& mount) {
    if (mount.dead()) return Errno::io;
    if (mount.read_only()) return Errno::rofs;
    return {};
}

/// Modes, ACLs and owners say nothing to this one.
inline bool passes_checks(const Cred& cred) {
    return cred.is_superuser() || cred.is_host_checked();
}

inline bool owner_or_superuser(const Attr& attr, const Cred& cred) {
    return passes_checks(cred) || cred.uid() == attr.uid;
}

/// The attributes as the mount shows them (uid=, gid=, umask=). Locks: vnode shared.
Result<Attr> attributes(Vnode& vnode);

/// access() for a vnode that is locked (at least shared) and whose attributes are known.
Result<void> permit(Vnode& vnode, const Attr& attr, unsigned want, const Cred& cred);

/// Search permission of a directory; takes its lock only when modes matter. ENOTDIR, EACCES.
Result<void> permit_search(Vnode& dir, const Cred& cred);

/// An ACL as it is stored; empty when there is none. Locks: vnode shared. EUCLEAN (no valid ACL),
/// EIO.
Result<Acl> stored_acl(Vnode& vnode, std::string_view name);
/// Stores it, or removes what is there when it says no more than the mode. Locks: vnode exclusive.
Result<void> store_acl(Vnode& vnode, std::string_view name, const Acl& acl);

/// `name` in `dir`, from the name cache or the file system, which is entered into the cache.
/// Locks: dir shared. ENOENT (also for a directory that is removed).
Result<VnodeRef> lookup_locked(Vnode& dir, Name name);
/// The same without the lock, which is taken only when the cache does not know. No permission
/// check.
Result<VnodeRef> lookup_unlocked(Vnode& dir, Name name);

/// Keeps the name cache true after a change of `dir`, which is locked exclusively.
void name_appeared(Vnode& dir, Name name, InodeNumber number);
void name_vanished(Vnode& dir, Name name);
/// An operation failed half-way, maybe.
void name_unknown(Vnode& dir, Name name);

/// May the entry of `victim` in `dir` go? Both locked exclusively. ENOENT, EACCES, EPERM, ENOTDIR,
/// EISDIR, EBUSY.
Result<void> permit_removal(Vnode& dir, const Attr& dir_attr, Vnode& victim,
                            const Attr& victim_attr, bool want_dir, const Cred& cred);
/// The part of it that takes no lock of the directory: flags, sticky directories, types.
Result<void> permit_victim(const Attr& dir_attr, const Vnode& victim, const Attr& victim_attr,
                           bool want_dir, const Cred& cred);

/// The mode without set-id bits, as a write by somebody else leaves it.
uint32_t without_setid(const Attr& attr, const Cred& cred);
/// Takes the file capabilities of an executable away, as every change of its contents or owner
/// does. Locks: exclusive.
void drop_capabilities(Vnode& vnode, const Attr& attr);

/// Was the last access so long ago that reading should note this one? Locks: vnode shared.
bool wants_access_time(Vnode& vnode);
/// Sets atime to now; best effort. Nothing is locked.
void note_access(Vnode& vnode);

/// sync mounts and files flagged so: what the operation changed is durable before it returns.
/// Nothing is locked.
Result<void> settle(Mount& mount, FileFlags flags, FileFlags which);

/// Runs `operation`; when it fails for lack of space, commits (which returns what was freed since
/// the last commit to the maps) and runs it once more. Vnode locks may be held, no transaction.
template<class F>
auto with_space(Mount& mount, F&& operation) -> decltype(operation()) {
    auto result = operation();
    if (result.ok() || result.error() != Errno::nospc || !mount.has_device()) return result;
    if (!mount.epoch().commit(true)) return result;
    return operation();
}

} // namespace rump::vfs
