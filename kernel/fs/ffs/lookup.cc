// Names: looking them up, listing them, making and removing them.
#include "kernel/fs/ffs/dir.h"
#include "kernel/fs/ffs/vfsops.h"
#include "kernel/fs/ffs/vnops.h"
#include "kernel/fs/ffs/xattr.h"

#include "kernel/kern/kernel.h"
#include "kernel/vfs/vnode_cache.h"

#include <fmt/format.h>

#include <algorithm>

namespace rump::ffs {

Result<VnodeRef> FfsVnode::lookup(Name name) {
    ASSERT(lock.held());
    const auto found = TRY(find_entry(inode_, name.view()));
    if (!found || found->ino == disk::whiteout_inode) return Errno::noent;
    if (!volume().geo.is_inode(found->ino))
        return volume().mount.corrupt(fmt::format("directory inode {}, offset {}: inode {}",
                                                  inode_.number(), found->offset, found->ino));
    auto vnode = mount().vget(InodeNumber(found->ino));
    // A name of what is no file: the directory is wrong, not the caller.
    if (!vnode && vnode.error() == Errno::stale && !volume().is_doomed(found->ino))
        return volume().mount.corrupt(
            fmt::format("directory inode {}, offset {}: inode {} is not allocated", inode_.number(),
                        found->offset, found->ino));
    return vnode;
}

Result<void> FfsVnode::readdir(uint64_t cookie, DirSink sink) {
    ASSERT(lock.held());
    return each_entry(inode_, cookie, [&](const DirRecord& r, uint64_t next) {
        DirEntry entry;
        entry.number = InodeNumber(r.ino);
        entry.type = r.type;
        entry.name = r.name;
        entry.next_cookie = next;
        const bool more = sink(entry);
        // Another call will go on in the middle of a chunk: entries must not move
        // in it.
        if (!more && r.at != 0) inode_.cookies_inside.store(true, std::memory_order_relaxed);
        return more;
    });
}

Result<VnodeRef> FfsVnode::create(Name name, const NewNode& node) {
    ASSERT(lock.held_exclusive());
    return make(name, node, {});
}

Result<VnodeRef> FfsVnode::mkdir(Name name, const NewNode& node) {
    ASSERT(lock.held_exclusive());
    if (inode_.state.nlink >= mount().traits().link_max) return Errno::mlink;
    return make(name, node, {});
}

Result<VnodeRef> FfsVnode::symlink(Name name, std::string_view target, const NewNode& node) {
    ASSERT(lock.held_exclusive());
    return make(name, node, target);
}

Result<VnodeRef> FfsVnode::make(Name name, const NewNode& node, std::string_view target) {
    return with_space([&] { return make_once(name, node, target); });
}

namespace {

/// The number as both systems read it while its parts are small; NetBSD's form
/// beyond. EINVAL.
Result<uint64_t> device_to_disk(DeviceNumber d) {
    if (d.major > 0xfff || d.minor > 0xfffff) return Errno::inval;
    return (uint64_t{d.minor & 0xfff00} << 12) | (uint64_t{d.major} << 8) | (d.minor & 0xff);
}

/// The generation that the inode number had last: the next file's is another
/// one.
Result<uint32_t> next_generation(Volume& volume, uint64_t number) {
    const Geometry& geo = volume.geo;
    Buf buf = TRY(volume.read(geo.inode_block(number), geo.bsize));
    const InodeState old =
        decode_inode(geo, buf.bytes().subspan(geo.inode_offset(number), geo.inode_size));
    if (old.mode != 0)
        return volume.mount.corrupt(fmt::format("inode {}: in use and not marked so", number));
    if (old.gen != 0 && old.gen < INT32_MAX) return old.gen + 1;
    return volume.mount.kernel().random().next32() / 2 + 1;
}

Result<void> put_target(Transaction& tx, Inode& inode, std::string_view target) {
    const Geometry& geo = inode.volume().geo;
    if (target.size() < geo.maxsymlinklen) {
        std::memcpy(inode.state.area.data(), target.data(), target.size());
        inode.state.size = target.size();
        return {};
    }
    PieceWriter writer;
    TRY(allocate_file(tx, inode, 0, target.size(), true, [&](const Piece& p) { writer.add(p); }));
    TRY(writer.write(inode.volume(), std::as_bytes(std::span(target))));
    inode.state.size = target.size();
    return {};
}

} // namespace

Result<VnodeRef> FfsVnode::make_once(Name name, const NewNode& node, std::string_view target) {
    Volume& v = volume();
    const bool dir = node.type == FileType::dir;
    std::unique_ptr<FfsVnode> vnode; // outlives the transaction, whose undo touches it
    Transaction tx = TRY(mount().begin());
    const uint64_t number = TRY(v.alloc.alloc_inode(tx, inode_.number(), dir));
    InodeState s;
    const Timespec now = v.now();
    s.mode = static_cast<uint16_t>(type_to_mode(node.type) | (node.mode & mode_permissions));
    s.gen = TRY(next_generation(v, number));
    s.uid = node.uid;
    s.gid = node.gid;
    if (v.geo.old_inodes && (node.uid > UINT16_MAX || node.gid > UINT16_MAX)) return Errno::inval;
    s.atime = s.mtime = s.ctime = s.btime = now;
    s.nlink = dir ? 2 : 1;
    if (s.is_device()) put_address(v.geo, s.area, 0, TRY(device_to_disk(node.rdev)));
    vnode = std::make_unique<FfsVnode>(static_cast<FfsMount&>(mount()), number, s);
    Inode& made = vnode->inode();
    made.fresh = true;
    v.mark_dirty(made);
    if (node.type == FileType::lnk) TRY(put_target(tx, made, target));
    for (const XattrInit& x : node.xattrs)
        TRY(set_attribute(tx, made, x.name, x.value, XattrSet::any));
    if (dir) {
        TRY(make_dots(tx, made, inode_.number(), node.privileged));
        if (v.geo.freebsd) made.state.depth = inode_.state.depth + 1;
        inode_.begin_change(tx);
        ++inode_.state.nlink;
    }
    TRY(enter_name(tx, inode_, name.view(), number, node.type, node.privileged));
    inode_.state.mtime = inode_.state.ctime = now;
    tx.done();
    return mount().vnodes().insert(std::move(vnode));
}

Result<void> FfsVnode::link(Name name, Vnode& target) {
    ASSERT(lock.held_exclusive() && target.lock.held_exclusive());
    FfsVnode& file = ffs_vnode(target);
    if (file.inode().state.nlink >= mount().traits().link_max) return Errno::mlink;
    return with_space([&]() -> Result<void> {
        Transaction tx = TRY(mount().begin());
        Inode& inode = file.inode();
        inode.begin_change(tx);
        ++inode.state.nlink;
        inode.state.ctime = volume().now();
        TRY(enter_name(tx, inode_, name.view(), inode.number(), inode.type(), true));
        inode_.state.mtime = inode_.state.ctime = volume().now();
        tx.done();
        file.publish_links();
        return {};
    });
}

Result<void> FfsVnode::remove(Name name, Vnode& victim) {
    ASSERT(lock.held_exclusive() && victim.lock.held_exclusive());
    return unlink_entry(name, ffs_vnode(victim));
}

Result<void> FfsVnode::rmdir(Name name, Vnode& victim) {
    ASSERT(lock.held_exclusive() && victim.lock.held_exclusive());
    if (!TRY(is_empty(ffs_vnode(victim).inode()))) return Errno::notempty;
    return unlink_entry(name, ffs_vnode(victim));
}

Result<void> FfsVnode::unlink_entry(Name name, FfsVnode& victim) {
    Transaction tx = TRY(mount().begin());
    Inode& gone = victim.inode();
    const Timespec now = volume().now();
    TRY(remove_name(tx, inode_, name.view()));
    gone.begin_change(tx);
    drop_file_link(tx, gone, inode_);
    gone.state.ctime = now;
    inode_.state.mtime = inode_.state.ctime = now;
    if (gone.state.nlink == 0) volume().note_unlinked(gone.number(), gone.state.mode);
    tx.done();
    victim.publish_links();
    return {};
}

void drop_file_link(Transaction& tx, Inode& inode, Inode& parent) {
    inode.drop_link(tx);
    if (!inode.state.is_dir()) return;
    // Its "." goes with it, and its ".." no longer counts for the parent.
    if (inode.state.nlink > 0) inode.drop_link(tx);
    if (parent.state.nlink > 0) {
        parent.begin_change(tx);
        parent.drop_link(tx);
    }
}

} // namespace rump::ffs
