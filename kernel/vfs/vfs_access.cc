// Who may do what: permission bits, POSIX ACLs, sticky directories, file flags, read-only mounts.
#include "kernel/vfs/vfs_internal.h"

namespace rump::vfs {

Result<Attr> attributes(Vnode& vnode) {
    Attr attr = TRY(vnode.getattr());
    const MountOptions& options = vnode.mount().options();
    if (options.uid) attr.uid = *options.uid;
    if (options.gid) attr.gid = *options.gid;
    if (options.umask) attr.mode &= ~*options.umask;
    return attr;
}

Result<Acl> stored_acl(Vnode& vnode, std::string_view name) {
    if (!vnode.mount().traits().posix_acl || vnode.type() == FileType::lnk) return Acl();
    std::vector<std::byte> value(256);
    auto size = vnode.getxattr(name, value);
    // It may not change under the lock: the size that the second call asks for is the right one.
    if (!size && size.error() == Errno::range) {
        value.resize(TRY(vnode.getxattr(name, {})));
        size = vnode.getxattr(name, value);
    }
    if (!size && (size.error() == Errno::nodata || size.error() == Errno::opnotsupp)) return Acl();
    if (!size) return size.error();
    auto acl = parse_acl(std::span(value).first(*size));
    if (!acl) return Errno::uclean;
    return acl;
}

Result<void> store_acl(Vnode& vnode, std::string_view name, const Acl& acl) {
    bool redundant = acl.empty() || (name == acl_access_name && acl_is_minimal(acl));
    if (!redundant) return vnode.setxattr(name, encode_acl(acl), XattrSet::any);
    auto removed = vnode.removexattr(name);
    if (!removed && removed.error() != Errno::nodata) return removed;
    return {};
}

Result<void> permit(Vnode& vnode, const Attr& attr, unsigned want, const Cred& cred) {
    if (want & may_write) {
        // Devices, fifos and sockets are written elsewhere.
        bool stored = vnode.is_reg() || vnode.is_dir() || vnode.type() == FileType::lnk;
        if (stored) TRY(check_writable(vnode.mount()));
        if (attr.flags & immutable_flags) return Errno::perm;
    }
    if (cred.is_superuser()) {
        if ((want & may_exec) && !vnode.is_dir() && !(attr.mode & 0111)) return Errno::acces;
        return {};
    }
    if (cred.is_host_checked() || want == 0) return {};
    unsigned granted;
    if (cred.uid() == attr.uid) {
        granted = attr.mode >> 6;
    } else {
        Acl acl = TRY(stored_acl(vnode, acl_access_name));
        if (!acl.empty()) {
            if (acl_allows(acl, attr, want, cred)) return {};
            return Errno::acces;
        }
        granted = cred.in_group(attr.gid) ? attr.mode >> 3 : attr.mode;
    }
    if (want & ~granted & 7) return Errno::acces;
    return {};
}

Result<void> permit_search(Vnode& dir, const Cred& cred) {
    if (!dir.is_dir()) return Errno::notdir;
    if (passes_checks(cred)) return {};
    host::SharedGuard guard(dir.lock);
    return permit(dir, TRY(attributes(dir)), may_exec, cred);
}

Result<void> permit_removal(Vnode& dir, const Attr& dir_attr, Vnode& victim,
                            const Attr& victim_attr, bool want_dir, const Cred& cred) {
    TRY(permit(dir, dir_attr, may_write | may_exec, cred));
    return permit_victim(dir_attr, victim, victim_attr, want_dir, cred);
}

Result<void> permit_victim(const Attr& dir_attr, const Vnode& victim, const Attr& victim_attr,
                           bool want_dir, const Cred& cred) {
    if (dir_attr.flags & append_flags) return Errno::perm;
    if ((dir_attr.mode & mode_sticky) && !owner_or_superuser(victim_attr, cred) &&
        !owner_or_superuser(dir_attr, cred))
        return Errno::perm;
    if (victim_attr.flags & nounlink_flags) return Errno::perm;
    if (want_dir && !victim.is_dir()) return Errno::notdir;
    if (!want_dir && victim.is_dir()) return Errno::isdir;
    if (victim.number() == victim.mount().root_number()) return Errno::busy;
    return {};
}

uint32_t without_setid(const Attr& attr, const Cred& cred) {
    uint32_t mode = attr.mode & ~mode_setuid;
    // Set-group-id without group execute once meant mandatory locking: members of the group keep
    // it.
    bool member = cred.is_superuser() || cred.in_group(attr.gid);
    if ((mode & mode_setgid) && ((mode & 0010) || !member)) mode &= ~mode_setgid;
    return mode;
}

void drop_capabilities(Vnode& vnode, const Attr& attr) {
    constexpr std::string_view name = "security.capability";
    if (!(attr.mode & 0111)) return;
    if (vnode.getxattr(name, {}).ok()) (void)vnode.removexattr(name).ok();
}

Result<void> settle(Mount& mount, FileFlags flags, FileFlags which) {
    if (mount.options().sync || (flags & which)) return mount.sync();
    return {};
}

Result<void> access(Vnode& vnode, unsigned want, const Cred& cred) {
    TRY(check_alive(vnode.mount()));
    if (want & ~(may_read | may_write | may_exec)) return Errno::inval;
    host::SharedGuard guard(vnode.lock);
    return permit(vnode, TRY(attributes(vnode)), want, cred);
}

} // namespace rump::vfs
