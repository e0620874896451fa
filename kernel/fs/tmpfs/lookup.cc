// Names of tmpfs: lookup, readdir, and making and removing entries.
#include "kernel/fs/tmpfs/vnops.h"
#include "kernel/kern/kernel.h"
#include "kernel/vfs/vnode_cache.h"

namespace rump::tmpfs {

Result<VnodeRef> TmpVnode::lookup(Name name) {
    ASSERT(lock.held());
    if (unlinked()) return Errno::noent;
    if (name.is_dot()) return mount().vget(number());
    const Directory& dir = node_->directory();
    if (name.is_dotdot()) return mount().vget(dir.parent);
    const Entry* entry = dir.find(name);
    if (entry == nullptr) return Errno::noent;
    return mount().vget(entry->number);
}

Result<void> TmpVnode::readdir(uint64_t cookie, DirSink sink) {
    ASSERT(lock.held());
    const Directory& dir = node_->directory();
    if (cookie > dir.end_cookie()) return Errno::inval;
    if (cookie == 0 && !sink({number(), FileType::dir, ".", 1})) return {};
    if (cookie <= 1 && !sink({dir.parent, FileType::dir, "..", Directory::first_cookie})) return {};
    for (const Entry* entry = dir.at_or_after(cookie); entry != nullptr; entry = dir.after(*entry))
        if (!sink({entry->number, entry->type, entry->name(), entry->cookie + 1})) return {};
    return {};
}

/// A node with its first name. All that can fail is done before anything can be seen.
Result<VnodeRef> TmpVnode::make(Name name, const NewNode& node, std::string_view target) {
    ASSERT(lock.held_exclusive() && !unlinked());
    const Timespec time = now();
    NodeRef child = TRY(tmp().nodes().make({.type = node.type,
                                            .mode = node.mode & mode_permissions,
                                            .uid = node.uid,
                                            .gid = node.gid,
                                            .rdev = node.rdev,
                                            .now = time,
                                            .parent = number(),
                                            .target = target,
                                            .hash_seed = tmp().hash_seed()},
                                           number()));
    auto prepare = [&]() -> Result<std::unique_ptr<Vnode>> {
        for (const XattrInit& xattr : node.xattrs)
            TRY(child->xattrs.set(xattr.name, xattr.value, XattrSet::create));
        std::unique_ptr<Vnode> vnode(new (std::nothrow) TmpVnode(tmp(), child));
        if (!vnode) return Errno::nomem;
        TRY(node_->directory().insert(name, child->number, child->type));
        return vnode;
    };
    auto vnode = prepare();
    if (!vnode.ok()) {
        tmp().nodes().free(*child);
        return vnode.error();
    }
    const bool directory = child->is_dir();
    child->links.store(directory ? 2 : 1, std::memory_order_release);
    if (directory) node_->links.fetch_add(1, std::memory_order_relaxed);
    node_->mtime = node_->ctime = time;
    return mount().vnodes().insert(vnode.release_value());
}

Result<VnodeRef> TmpVnode::create(Name name, const NewNode& node) {
    ASSERT(node.type != FileType::dir && node.type != FileType::lnk);
    return make(name, node, {});
}

Result<VnodeRef> TmpVnode::mkdir(Name name, const NewNode& node) {
    ASSERT(node.type == FileType::dir);
    if (node_->links.load(std::memory_order_relaxed) >= mount().traits().link_max)
        return Errno::mlink;
    return make(name, node, {});
}

Result<VnodeRef> TmpVnode::symlink(Name name, std::string_view target, const NewNode& node) {
    ASSERT(node.type == FileType::lnk);
    return make(name, node, target);
}

Result<void> TmpVnode::link(Name name, Vnode& target) {
    ASSERT(lock.held_exclusive() && target.lock.held_exclusive() && !target.is_dir());
    Node& node = node_of(target);
    if (node.links.load(std::memory_order_relaxed) >= mount().traits().link_max)
        return Errno::mlink;
    TRY(node_->directory().insert(name, node.number, node.type));
    node.links.fetch_add(1, std::memory_order_relaxed);
    node.ctime = node_->mtime = node_->ctime = now();
    return {};
}

Result<void> TmpVnode::remove(Name name, Vnode& victim) {
    ASSERT(lock.held_exclusive() && victim.lock.held_exclusive() && !victim.is_dir());
    Directory& dir = node_->directory();
    Entry* entry = dir.find(name);
    ASSERT(entry != nullptr && entry->number == victim.number());
    dir.erase(entry);
    Node& node = node_of(victim);
    node.links.fetch_sub(1, std::memory_order_release);
    node.ctime = node_->mtime = node_->ctime = now();
    return {};
}

Result<void> TmpVnode::rmdir(Name name, Vnode& victim) {
    ASSERT(lock.held_exclusive() && victim.lock.held_exclusive() && victim.is_dir());
    Node& node = node_of(victim);
    if (!node.directory().empty()) return Errno::notempty;
    Directory& dir = node_->directory();
    Entry* entry = dir.find(name);
    ASSERT(entry != nullptr && entry->number == victim.number());
    dir.erase(entry);
    node.links.store(0, std::memory_order_release);
    node_->links.fetch_sub(1, std::memory_order_relaxed);
    node.ctime = node_->mtime = node_->ctime = now();
    return {};
}

} // namespace rump::tmpfs
