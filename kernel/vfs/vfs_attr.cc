// Generic operations on attributes: getattr; setattr, which is chmod, chown, truncate, utimes and
// chflags; touch; and the access times that reading brings about.
#include "kernel/kern/kernel.h"
#include "kernel/vfs/generic_io.h"
#include "kernel/vfs/vfs_internal.h"

namespace rump::vfs {

namespace {

constexpr int64_t day_seconds = 24 * 60 * 60;

/// A setattr on its way: what is, what is wanted, what will be done.
struct Plan {
    Vnode& vnode;
    const Attr& attr;     // as the mount shows it
    uint32_t stored_mode; // as it is on the device
    const Cred& cred;
    AttrChange change;
    bool follow_acl = false; // the mode is chmod's, the ACL follows
    bool kills_capabilities = false;
};

/// uid= and gid= of the mount: the same again is nothing, everything else is refused.
Result<void> fixed_owner(std::optional<uint32_t>& wanted, const std::optional<uint32_t>& shown) {
    if (!wanted || !shown) return {};
    if (*wanted != *shown) return Errno::perm;
    wanted.reset();
    return {};
}

Result<void> plan_chown(Plan& plan) {
    AttrChange& change = plan.change;
    if (!change.uid && !change.gid) return {};
    const Attr& attr = plan.attr;
    if (!passes_checks(plan.cred)) {
        bool owner = plan.cred.uid() == attr.uid;
        if (change.uid && !(owner && *change.uid == attr.uid)) return Errno::perm;
        if (change.gid && !(owner && (*change.gid == attr.gid || plan.cred.in_group(*change.gid))))
            return Errno::perm;
    }
    const Mount& mount = plan.vnode.mount();
    if (mount.traits().owners) { // others show uid= and gid= themselves, and may have `quiet`
        TRY(fixed_owner(change.uid, mount.options().uid));
        TRY(fixed_owner(change.gid, mount.options().gid));
    }
    if (plan.vnode.is_dir()) return {};
    // Whoever changes the owner, root as well: the new one must not inherit the old one's powers.
    plan.kills_capabilities = true;
    uint32_t killed = without_setid(plan.attr, plan.cred) ^ plan.attr.mode;
    if (!change.mode && killed) change.mode = plan.stored_mode & ~killed;
    return {};
}

Result<void> plan_chmod(Plan& plan) {
    // Called before plan_chown, which may set a mode of its own.
    AttrChange& change = plan.change;
    if (!change.mode) return {};
    if (plan.vnode.type() == FileType::lnk) return Errno::opnotsupp;
    if (!owner_or_superuser(plan.attr, plan.cred)) return Errno::perm;
    *change.mode &= mode_permissions;
    uint32_t group = change.gid.value_or(plan.attr.gid);
    if (!passes_checks(plan.cred) && !plan.cred.in_group(group)) *change.mode &= ~mode_setgid;
    plan.follow_acl = true;
    return {};
}

Result<void> plan_truncate(Plan& plan) {
    AttrChange& change = plan.change;
    if (!change.size) return {};
    if (plan.vnode.is_dir()) return Errno::isdir;
    if (!plan.vnode.is_reg()) return Errno::inval;
    if (plan.attr.flags & append_flags) return Errno::perm;
    TRY(permit(plan.vnode, plan.attr, may_write, plan.cred));
    if (*change.size > plan.vnode.mount().traits().max_file_size) return Errno::fbig;
    if (!change.mtime) change.mtime = plan.vnode.mount().kernel().now();
    plan.kills_capabilities = true;
    uint32_t killed = without_setid(plan.attr, plan.cred) ^ plan.attr.mode;
    if (!change.mode && killed && !plan.cred.is_superuser())
        change.mode = plan.stored_mode & ~killed;
    return {};
}

bool bad_time(const std::optional<Timespec>& time) { return time && time->nsec >= 1000000000; }

Result<void> plan_times(const Plan& plan) {
    const AttrChange& change = plan.change;
    if (bad_time(change.atime) || bad_time(change.mtime) || bad_time(change.ctime) ||
        bad_time(change.btime))
        return Errno::inval;
    if ((change.atime || change.mtime || change.ctime || change.btime) &&
        !owner_or_superuser(plan.attr, plan.cred))
        return Errno::perm;
    return {};
}

Result<void> plan_flags(const Plan& plan) {
    if (!plan.change.flags) return {};
    if (!owner_or_superuser(plan.attr, plan.cred)) return Errno::perm;
    // chattr(1): only the superuser sets or clears what binds root as well.
    constexpr FileFlags system = file_flag::immutable | file_flag::append | file_flag::nounlink |
                                 file_flag::archived | file_flag::snapshot;
    FileFlags changed = *plan.change.flags ^ plan.attr.flags;
    if ((changed & system) && !plan.cred.is_superuser()) return Errno::perm;
    return {};
}

Result<void> plan_all(Plan& plan) {
    const AttrChange& change = plan.change;
    bool of_the_inode = change.mode || change.uid || change.gid || change.atime || change.mtime ||
                        change.ctime || change.btime;
    if (of_the_inode && (plan.attr.flags & (immutable_flags | append_flags))) return Errno::perm;
    TRY(plan_times(plan)); // as they were asked for: a truncation sets mtime without being owner
    TRY(plan_chmod(plan));
    TRY(plan_chown(plan));
    TRY(plan_truncate(plan));
    return plan_flags(plan);
}

Result<void> carry_out(const Plan& plan) {
    Vnode& vnode = plan.vnode;
    Mount& mount = vnode.mount();
    const AttrChange& change = plan.change;
    Acl acl;
    if (plan.follow_acl) acl = TRY(stored_acl(vnode, acl_access_name));
    bool grows = change.size && *change.size > plan.attr.size;
    if (grows) TRY(zero_past_end(vnode, plan.attr.size, *change.size));
    TRY(with_space(mount, [&] { return vnode.setattr(change); }));
    if (change.size && !grows) TRY(zero_past_end(vnode, *change.size, UINT64_MAX));
    if (!acl.empty()) {
        acl_apply_chmod(acl, *change.mode);
        TRY(with_space(mount, [&] { return store_acl(vnode, acl_access_name, acl); }));
    }
    if (plan.kills_capabilities) drop_capabilities(vnode, plan.attr);
    return {};
}

} // namespace

Result<Attr> getattr(Vnode& vnode) {
    TRY(check_alive(vnode.mount()));
    host::SharedGuard guard(vnode.lock);
    return attributes(vnode);
}

Result<Attr> setattr(Vnode& vnode, const AttrChange& change, const Cred& cred) {
    Mount& mount = vnode.mount();
    TRY(check_writable(mount));
    Attr after;
    {
        host::ExclusiveGuard guard(vnode.lock);
        uint32_t stored_mode = TRY(vnode.getattr()).mode;
        Attr attr = TRY(attributes(vnode));
        Plan plan{vnode, attr, stored_mode, cred, change};
        TRY(plan_all(plan));
        TRY(carry_out(plan));
        after = TRY(attributes(vnode));
    }
    TRY(settle(mount, after.flags, file_flag::sync));
    return after;
}

Result<Attr> touch(Vnode& vnode, bool atime, bool mtime, const Cred& cred) {
    Mount& mount = vnode.mount();
    TRY(check_writable(mount));
    Attr after;
    {
        host::ExclusiveGuard guard(vnode.lock);
        Attr attr = TRY(attributes(vnode));
        if (attr.flags & immutable_flags) return Errno::perm;
        if (!owner_or_superuser(attr, cred)) TRY(permit(vnode, attr, may_write, cred));
        AttrChange change;
        Timespec now = mount.kernel().now();
        if (atime) change.atime = now;
        if (mtime) change.mtime = now;
        TRY(vnode.setattr(change));
        after = TRY(attributes(vnode));
    }
    TRY(settle(mount, after.flags, file_flag::sync));
    return after;
}

bool wants_access_time(Vnode& vnode) {
    Mount& mount = vnode.mount();
    AtimePolicy policy = mount.options().atime;
    if (policy == AtimePolicy::none || mount.read_only()) return false;
    auto attr = vnode.getattr();
    if (!attr || (attr->flags & (file_flag::noatime | immutable_flags))) return false;
    if (policy == AtimePolicy::strict) return true;
    // relatime: mount(8). Enough for "read since it was written?" and "used lately?".
    if (attr->atime <= attr->mtime || attr->atime <= attr->ctime) return true;
    return mount.kernel().now().sec - attr->atime.sec >= day_seconds;
}

void note_access(Vnode& vnode) {
    host::ExclusiveGuard guard(vnode.lock);
    auto attr = vnode.getattr();
    if (!attr) return;
    AttrChange change;
    change.atime = vnode.mount().kernel().now();
    change.ctime = attr->ctime; // reading is no change of the inode
    (void)vnode.setattr(change).ok();
}

} // namespace rump::vfs
