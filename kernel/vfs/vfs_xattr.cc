// Generic operations on extended attributes: the namespaces of xattr(7), and POSIX ACLs.
#include "kernel/vfs/vfs_internal.h"

#include <algorithm>
#include <cstring>

namespace rump::vfs {

namespace {

enum class Namespace : uint8_t { user, trusted, security, acl_access, acl_default };

/// ERANGE (length), EOPNOTSUPP (no such namespace), EINVAL (a namespace alone).
Result<Namespace> namespace_of(std::string_view name) {
    if (name.empty() || name.size() > name_max) return Errno::range;
    if (name == acl_access_name) return Namespace::acl_access;
    if (name == acl_default_name) return Namespace::acl_default;
    struct Prefix {
        std::string_view text;
        Namespace space;
    };
    for (Prefix prefix : {Prefix{"user.", Namespace::user}, Prefix{"trusted.", Namespace::trusted},
                          Prefix{"security.", Namespace::security}}) {
        if (!name.starts_with(prefix.text)) continue;
        if (name.size() == prefix.text.size()) return Errno::inval;
        return prefix.space;
    }
    return Errno::opnotsupp;
}

bool is_acl(Namespace space) {
    return space == Namespace::acl_access || space == Namespace::acl_default;
}

Result<void> acl_supported(const Vnode& vnode) {
    if (!vnode.mount().traits().posix_acl || vnode.type() == FileType::lnk) return Errno::opnotsupp;
    return {};
}

Result<void> permit_reading(Vnode& vnode, const Attr& attr, Namespace space, const Cred& cred) {
    switch (space) {
    case Namespace::trusted:
        if (!cred.is_superuser()) return Errno::nodata;
        return {};
    case Namespace::user:
        if (!vnode.is_reg() && !vnode.is_dir()) return Errno::nodata;
        return permit(vnode, attr, may_read, cred);
    case Namespace::security:
        return {};
    case Namespace::acl_access:
    case Namespace::acl_default:
        return acl_supported(vnode);
    }
    return {};
}

Result<void> permit_writing(Vnode& vnode, const Attr& attr, Namespace space, const Cred& cred) {
    if (attr.flags & (immutable_flags | append_flags)) return Errno::perm;
    switch (space) {
    case Namespace::trusted:
    case Namespace::security:
        if (!passes_checks(cred)) return Errno::perm;
        return {};
    case Namespace::user:
        if (!vnode.is_reg() && !vnode.is_dir()) return Errno::perm;
        // In a directory like /tmp anybody may make files, but not say things about the directory.
        if (vnode.is_dir() && (attr.mode & mode_sticky) && !owner_or_superuser(attr, cred))
            return Errno::perm;
        return permit(vnode, attr, may_write, cred);
    case Namespace::acl_access:
    case Namespace::acl_default:
        TRY(acl_supported(vnode));
        if (!owner_or_superuser(attr, cred)) return Errno::perm;
        return {};
    }
    return {};
}

/// An access ACL is also the mode. `acl` may be empty: none any more.
Result<void> set_acl(Vnode& vnode, const Attr& attr, Namespace space, const Acl& acl,
                     const Cred& cred) {
    if (space == Namespace::acl_default) {
        if (!vnode.is_dir() && !acl.empty()) return Errno::acces;
        if (!vnode.is_dir()) return {};
        return store_acl(vnode, acl_default_name, acl);
    }
    TRY(store_acl(vnode, acl_access_name, acl));
    if (acl.empty()) return {};
    uint32_t mode = acl_to_mode(acl, attr.mode);
    if (!passes_checks(cred) && !cred.in_group(attr.gid)) mode &= ~mode_setgid;
    if (mode == attr.mode) return {};
    AttrChange change;
    change.mode = mode;
    return vnode.setattr(change);
}

} // namespace

Result<size_t> getxattr(Vnode& vnode, std::string_view name, std::span<std::byte> out,
                        const Cred& cred) {
    TRY(check_alive(vnode.mount()));
    Namespace space = TRY(namespace_of(name));
    host::SharedGuard guard(vnode.lock);
    TRY(permit_reading(vnode, TRY(attributes(vnode)), space, cred));
    return vnode.getxattr(name, out);
}

Result<void> setxattr(Vnode& vnode, std::string_view name, std::span<const std::byte> value,
                      XattrSet how, const Cred& cred) {
    Mount& mount = vnode.mount();
    Namespace space = TRY(namespace_of(name));
    if (value.size() > xattr_value_max) return Errno::toobig;
    TRY(check_writable(mount));
    FileFlags flags = 0;
    {
        host::ExclusiveGuard guard(vnode.lock);
        Attr attr = TRY(attributes(vnode));
        TRY(permit_writing(vnode, attr, space, cred));
        if (is_acl(space)) {
            Acl acl = TRY(parse_acl(value));
            TRY(with_space(mount, [&] { return set_acl(vnode, attr, space, acl, cred); }));
        } else {
            TRY(with_space(mount, [&] { return vnode.setxattr(name, value, how); }));
        }
        flags = attr.flags;
    }
    return settle(mount, flags, file_flag::sync);
}

Result<void> removexattr(Vnode& vnode, std::string_view name, const Cred& cred) {
    Mount& mount = vnode.mount();
    Namespace space = TRY(namespace_of(name));
    TRY(check_writable(mount));
    FileFlags flags = 0;
    {
        host::ExclusiveGuard guard(vnode.lock);
        Attr attr = TRY(attributes(vnode));
        TRY(permit_writing(vnode, attr, space, cred));
        if (is_acl(space))
            TRY(set_acl(vnode, attr, space, Acl(), cred)); // none to remove is no error: acl(5)
        else
            TRY(vnode.removexattr(name));
        flags = attr.flags;
    }
    return settle(mount, flags, file_flag::sync);
}

Result<void> listxattr(Vnode& vnode, const Cred& cred, XattrSink sink) {
    TRY(check_alive(vnode.mount()));
    host::SharedGuard guard(vnode.lock);
    const bool trusted = cred.is_superuser();
    const bool acls = acl_supported(vnode).ok();
    auto listed = vnode.listxattr([&](std::string_view name) {
        if (!trusted && name.starts_with("trusted.")) return;
        if (!acls && (name == acl_access_name || name == acl_default_name)) return;
        sink(name);
    });
    if (!listed && listed.error() == Errno::opnotsupp) return {};
    return listed;
}

} // namespace rump::vfs
