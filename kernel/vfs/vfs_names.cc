// Generic operations on names: lookup, create, mkdir, symlink, link, unlink, rmdir.
#include "kernel/vfs/name_cache.h"
#include "kernel/vfs/vfs_internal.h"

#include <fmt/core.h>

namespace rump::vfs {

namespace {

/// A format that folds case has many names for one entry: whoever removes one would have to find
/// all of them in the cache, so it holds none.
bool names_cached(const Mount& mount) { return mount.traits().case_sensitive; }

/// What the name cache knows, without the directory's lock; none: ask the file system.
/// The entry may go, and its number may be used for another file, between the two questions to the
/// caches. The vnode that we hold keeps its number from being used again, so an answer that is
/// still the same afterwards was about this vnode.
std::optional<Result<VnodeRef>> cached(Vnode& dir, Name name) {
    using Kind = NameCache::Answer::Kind;
    Mount& mount = dir.mount();
    if (!names_cached(mount)) return std::nullopt;
    auto answer = mount.names().find(dir, name);
    if (answer.kind == Kind::negative) return Result<VnodeRef>(Errno::noent);
    if (answer.kind != Kind::positive) return std::nullopt;
    auto found = mount.vget(answer.number);
    if (!found) return std::nullopt;
    auto again = mount.names().find(dir, name);
    if (again.kind != Kind::positive || again.number != answer.number) return std::nullopt;
    return found;
}

Result<VnodeRef> lookup_uncached(Vnode& dir, Name name) {
    if (dir.unlinked()) return Errno::noent;
    auto found = dir.lookup(name);
    if (name.is_dot() || name.is_dotdot() || !names_cached(dir.mount())) return found;
    if (found)
        dir.mount().names().enter(dir, name, (*found)->number());
    else if (found.error() == Errno::noent && dir.mount().traits().negative_names)
        dir.mount().names().enter_negative(dir, name);
    return found;
}

/// EEXIST when `name` is there.
Result<void> must_be_absent(Vnode& dir, Name name) {
    auto there = lookup_locked(dir, name);
    if (there) return Errno::exist;
    if (there.error() != Errno::noent || dir.unlinked()) return there.error();
    return {};
}

/// The name of an entry to be made.
Result<Name> name_to_make(Vnode& dir, std::string_view name) {
    TRY(check_alive(dir.mount()));
    Name n = TRY(Name::from(name, dir.mount().traits().name_max));
    if (!dir.is_dir()) return Errno::notdir;
    if (n.is_dot() || n.is_dotdot()) return Errno::exist;
    return n;
}

/// Owner, group, mode and ACLs of a new file. `xattrs` holds what the result points to.
Result<NewNode> inherit(Vnode& dir, const Attr& dir_attr, const Make& make, const Cred& cred,
                        std::vector<XattrInit>& xattrs) {
    NewNode node;
    node.type = make.type;
    node.rdev = make.rdev;
    node.uid = cred.uid();
    node.gid = dir_attr.mode & mode_setgid ? dir_attr.gid : cred.gid();
    node.privileged = dir.mount().may_use_reserved(cred);
    bool is_dir = make.type == FileType::dir;
    uint32_t mode = make.mode & (is_dir ? 0777 | mode_sticky : mode_permissions);
    if (dir_attr.mode & mode_setgid) {
        if (is_dir)
            mode |= mode_setgid;
        else if ((mode & mode_setgid) && (mode & 0010) && !passes_checks(cred) &&
                 !cred.in_group(node.gid))
            mode &= ~mode_setgid; // not a member: no programs that run as the group
    }
    Acl inherited;
    if (make.type != FileType::lnk) inherited = TRY(stored_acl(dir, acl_default_name));
    if (inherited.empty()) {
        mode &= ~(make.umask & 0777);
    } else {
        Acl access = acl_inherit(inherited, mode);
        if (!acl_is_minimal(access))
            xattrs.push_back({std::string(acl_access_name), encode_acl(access)});
        if (is_dir) xattrs.push_back({std::string(acl_default_name), encode_acl(inherited)});
    }
    node.mode = mode;
    node.xattrs = xattrs;
    return node;
}

/// What create, mkdir and symlink have in common; `operation` is the file system's part.
Result<VnodeRef> make_entry(Vnode& dir, std::string_view name, const Make& make, const Cred& cred,
                            FunctionRef<Result<VnodeRef>(Name, const NewNode&)> operation) {
    Mount& mount = dir.mount();
    Name n = TRY(name_to_make(dir, name));
    FileFlags flags = 0;
    VnodeRef made;
    {
        host::ExclusiveGuard guard(dir.lock);
        Attr dir_attr = TRY(attributes(dir));
        TRY(permit(dir, dir_attr, may_exec, cred));
        TRY(must_be_absent(dir, n));
        TRY(permit(dir, dir_attr, may_write, cred));
        std::vector<XattrInit> xattrs;
        NewNode node = TRY(inherit(dir, dir_attr, make, cred, xattrs));
        auto result = with_space(mount, [&] { return operation(n, node); });
        if (!result) {
            name_unknown(dir, n);
            return result;
        }
        made = result.release_value();
        name_appeared(dir, n, made->number());
        flags = dir_attr.flags;
    }
    TRY(settle(mount, flags, file_flag::sync | file_flag::dirsync));
    return made;
}

Result<void> may_make_type(FileType type) {
    switch (type) {
    case FileType::reg:
    case FileType::chr:
    case FileType::blk:
    case FileType::fifo:
    case FileType::sock:
        return {};
    case FileType::dir:
        return Errno::perm; // mkdir makes those
    default:
        return Errno::inval;
    }
}

Result<void> may_make_special(const Mount& mount, FileType type, const Cred& cred) {
    if (type == FileType::reg) return {};
    if (!mount.traits().special_files) return Errno::perm;
    bool device = type == FileType::chr || type == FileType::blk;
    if (device && !passes_checks(cred)) return Errno::perm;
    return {};
}

Result<void> remove_victim(Vnode& dir, const Attr& dir_attr, Name name, Vnode& victim,
                           bool want_dir, const Cred& cred) REQUIRES(dir.lock) {
    host::ExclusiveGuard guard(victim.lock);
    Attr victim_attr = TRY(attributes(victim));
    TRY(permit_removal(dir, dir_attr, victim, victim_attr, want_dir, cred));
    auto removed = with_space(
        dir.mount(), [&] { return want_dir ? dir.rmdir(name, victim) : dir.remove(name, victim); });
    if (!removed) {
        if (removed.error() != Errno::notempty) name_unknown(dir, name);
        return removed;
    }
    name_vanished(dir, name);
    return {};
}

/// unlink and rmdir, under the locks that only rmdir needs.
Result<void> remove_entry(Vnode& dir, Name name, bool want_dir, const Cred& cred, VnodeRef& victim,
                          FileFlags& flags) {
    Attr dir_attr;
    {
        host::ExclusiveGuard guard(dir.lock);
        dir_attr = TRY(attributes(dir));
        flags = dir_attr.flags;
        TRY(permit(dir, dir_attr, may_exec, cred));
        victim = TRY(lookup_locked(dir, name));
        if (victim.get() == &dir)
            return dir.mount().corrupt(
                fmt::format("directory inode {}: has itself as an entry", dir.number().value()));
        if (want_dir || !victim->is_dir())
            return remove_victim(dir, dir_attr, name, *victim, want_dir, cred);
        TRY(permit(dir, dir_attr, may_write, cred));
    }
    // A directory is not unlinked, whatever else may be in the way: say what is first, as Linux
    // does. Two directories are locked at once under the rename mutex only.
    host::SharedGuard guard(victim->lock);
    return permit_victim(dir_attr, *victim, TRY(attributes(*victim)), false, cred);
}

} // namespace

void name_appeared(Vnode& dir, Name name, InodeNumber number) {
    if (names_cached(dir.mount())) dir.mount().names().enter(dir, name, number);
}

void name_vanished(Vnode& dir, Name name) {
    if (!names_cached(dir.mount())) return;
    if (dir.mount().traits().negative_names)
        dir.mount().names().enter_negative(dir, name);
    else
        dir.mount().names().remove(dir, name);
}

void name_unknown(Vnode& dir, Name name) {
    if (names_cached(dir.mount())) dir.mount().names().remove(dir, name);
}

Result<VnodeRef> lookup_locked(Vnode& dir, Name name) {
    ASSERT(dir.lock.held());
    if (auto known = cached(dir, name)) return std::move(*known);
    return lookup_uncached(dir, name);
}

Result<VnodeRef> lookup_unlocked(Vnode& dir, Name name) {
    if (auto known = cached(dir, name)) return std::move(*known);
    host::SharedGuard guard(dir.lock);
    return lookup_uncached(dir, name);
}

Result<VnodeRef> lookup(Vnode& dir, std::string_view name, const Cred& cred) {
    TRY(check_alive(dir.mount()));
    Name n = TRY(Name::from(name, dir.mount().traits().name_max));
    TRY(permit_search(dir, cred));
    bool is_root = dir.number() == dir.mount().root_number();
    if (n.is_dot() || (n.is_dotdot() && is_root)) return VnodeRef::to(dir);
    return lookup_unlocked(dir, n);
}

Result<VnodeRef> create(Vnode& dir, std::string_view name, const Make& make, const Cred& cred) {
    TRY(may_make_type(make.type));
    return make_entry(dir, name, make, cred, [&](Name n, const NewNode& node) -> Result<VnodeRef> {
        TRY(may_make_special(dir.mount(), make.type, cred));
        return dir.create(n, node);
    });
}

Result<VnodeRef> mkdir(Vnode& dir, std::string_view name, const Make& make, const Cred& cred) {
    Make wanted = make;
    wanted.type = FileType::dir;
    return make_entry(dir, name, wanted, cred,
                      [&](Name n, const NewNode& node) { return dir.mkdir(n, node); });
}

Result<VnodeRef> symlink(Vnode& dir, std::string_view name, std::string_view target,
                         const Cred& cred) {
    if (target.empty()) return Errno::noent;
    if (target.size() > path_max) return Errno::nametoolong;
    if (target.find('\0') != target.npos) return Errno::inval;
    Make make;
    make.type = FileType::lnk;
    make.mode = 0777;
    return make_entry(dir, name, make, cred, [&](Name n, const NewNode& node) -> Result<VnodeRef> {
        if (!dir.mount().traits().symlinks) return Errno::perm;
        return dir.symlink(n, target, node);
    });
}

Result<void> link(Vnode& target, Vnode& dir, std::string_view name, const Cred& cred) {
    Mount& mount = dir.mount();
    if (&target.mount() != &mount) return Errno::xdev;
    Name n = TRY(name_to_make(dir, name));
    FileFlags flags = 0;
    {
        host::ExclusiveGuard guard(dir.lock);
        Attr dir_attr = TRY(attributes(dir));
        TRY(permit(dir, dir_attr, may_exec, cred));
        TRY(must_be_absent(dir, n));
        TRY(permit(dir, dir_attr, may_write, cred));
        // A name that is taken is EEXIST first, as on Linux.
        if (target.is_dir() || !mount.traits().hard_links) return Errno::perm;
        host::ExclusiveGuard target_guard(target.lock);
        if (TRY(attributes(target)).flags & (immutable_flags | append_flags)) return Errno::perm;
        if (target.unlinked()) return Errno::noent;
        auto linked = with_space(mount, [&] { return dir.link(n, target); });
        if (!linked) {
            name_unknown(dir, n);
            return linked;
        }
        name_appeared(dir, n, target.number());
        flags = dir_attr.flags;
    }
    return settle(mount, flags, file_flag::sync | file_flag::dirsync);
}

Result<void> unlink(Vnode& dir, std::string_view name, const Cred& cred) {
    Mount& mount = dir.mount();
    TRY(check_alive(mount));
    Name n = TRY(Name::from(name, dir.mount().traits().name_max));
    if (!dir.is_dir()) return Errno::notdir;
    if (n.is_dot() || n.is_dotdot()) return Errno::isdir;
    TRY(check_writable(mount));
    FileFlags flags = 0;
    {
        VnodeRef victim; // maybe the last reference: goes after the locks
        TRY(remove_entry(dir, n, false, cred, victim, flags));
    }
    return settle(mount, flags, file_flag::sync | file_flag::dirsync);
}

Result<void> rmdir(Vnode& dir, std::string_view name, const Cred& cred) {
    Mount& mount = dir.mount();
    TRY(check_alive(mount));
    Name n = TRY(Name::from(name, dir.mount().traits().name_max));
    if (!dir.is_dir()) return Errno::notdir;
    if (n.is_dot()) return Errno::inval;
    if (n.is_dotdot()) return Errno::notempty;
    TRY(check_writable(mount));
    FileFlags flags = 0;
    {
        VnodeRef victim;
        host::MutexGuard guard(mount.rename_mutex());
        TRY(remove_entry(dir, n, true, cred, victim, flags));
    }
    return settle(mount, flags, file_flag::sync | file_flag::dirsync);
}

} // namespace rump::vfs
