// Operations on the names in a directory: lookup, readdir, making and removing entries.
#include "kernel/fs/ext2fs/vnops.h"

#include "kernel/kern/kernel.h"
#include "kernel/vfs/buffer_cache.h"
#include "kernel/vfs/vnode_cache.h"

#include <algorithm>
#include <cstring>

namespace rump::ext2 {

namespace {

constexpr uint64_t hashed_size = 3; // blocks, from which an in-memory hash may be made

} // namespace

Directory Node::directory() {
    Ext2Mount& m = fs();
    DirCache* cache = cache_.load(std::memory_order_acquire);
    const bool indexed = geometry().has_dir_index() && inode_.flags & disk::inode_flag::index;
    if (!cache && !indexed && inode_.size >> geometry().block_shift >= hashed_size) {
        auto fresh = std::make_unique<DirCache>();
        if (cache_.compare_exchange_strong(cache, fresh.get(), std::memory_order_acq_rel))
            cache = fresh.release();
    }
    return {m.volume(), m.allocator(), m.hash(), inode_, cache};
}

Result<VnodeRef> Node::lookup(Name name) {
    ASSERT(lock.held() && is_dir());
    const Directory dir = directory();
    const auto place = TRY(find_entry(dir, name.view()));
    if (!place) return Errno::noent;
    if (!geometry().inode_usable(place->inode))
        return dir.damaged(place->block,
                           fmt::format("offset {}: inode number {}", place->offset, place->inode));
    auto found = fs().vget(InodeNumber(place->inode));
    if (!found) {
        if (found.error() == Errno::stale)
            return dir.damaged(place->block, fmt::format("offset {}: inode {} is not in use",
                                                         place->offset, place->inode));
        return found;
    }
    const uint8_t code = place->file_type;
    if (geometry().has_filetype() && code != 0 && code != file_type_code((*found)->type()))
        (void)dir.damaged(place->block, fmt::format("offset {}: type {} of inode {}, which is of "
                                                    "another",
                                                    place->offset, code, place->inode));
    return found;
}

Result<void> Node::readdir(uint64_t cookie, DirSink sink) {
    ASSERT(lock.held() && is_dir());
    bool damaged = false;
    const bool at_end = TRY(read_directory(directory(), cookie, sink, damaged));
    if (damaged) damaged_.store(true, std::memory_order_relaxed);
    // All that can be read is handed out first; whoever reaches the end learns that it is not all.
    if (at_end && damaged_.load(std::memory_order_relaxed)) return Errno::uclean;
    return {};
}

Inode Node::make_inode(InodeNumber number, const NewNode& node, FileType type) const {
    Inode in;
    in.number = static_cast<uint32_t>(number.value());
    in.generation = mount().kernel().random().next32();
    in.mode = static_cast<uint16_t>(type_to_mode(type) | (node.mode & mode_permissions));
    in.links = type == FileType::dir ? 2 : 1;
    in.extra_size = static_cast<uint16_t>(geometry().new_extra_size);
    in.tail_unset = true;
    in.uid = node.uid;
    in.gid = node.gid;
    in.flags = inode_.flags & disk::inode_flag::inherited;
    // As Linux has it: of a directory's flags a file gets no dirsync, other nodes only two.
    if (type == FileType::reg) in.flags &= ~static_cast<uint32_t>(file_flag::dirsync);
    if (type != FileType::reg && type != FileType::dir)
        in.flags &= static_cast<uint32_t>(file_flag::nodump | file_flag::noatime);
    const PackedTime now = in.pack(fs().volume().now());
    in.atime = in.mtime = in.ctime = in.crtime = now;
    if (type == FileType::chr || type == FileType::blk) in.set_device(node.rdev);
    return in;
}

/// What a new inode holds: attributes, the first block of a directory, a symlink's target.
Result<void> Node::fill_new(Transaction& tx, Node& made, const NewNode& node,
                            std::string_view target) {
    Ext2Mount& m = fs();
    if (!node.xattrs.empty()) {
        XattrTarget place{made.inode_, Buf(), 0, node.privileged};
        place.table = TRY(m.inode_block(made.number(), place.offset));
        FreeList freed; // stays empty but for blocks of attributes that move into the inode
        for (const XattrInit& x : node.xattrs)
            TRY(m.xattrs().set(tx, place, x.name, x.value, XattrSet::any, freed));
        m.allocator().release(std::move(freed));
        m.use_compat_feature(disk::compat::ext_attr);
    }
    if (made.is_dir()) {
        Directory dir = made.directory();
        TRY(append_block(tx, dir, first_block(dir, made.number(), number()), node.privileged));
    } else if (made.type() == FileType::lnk) {
        made.inode_.size = target.size();
        if (target.size() < disk::fast_symlink_max) {
            std::memcpy(made.inode_.block, target.data(), target.size());
        } else {
            std::vector<std::byte> contents(geometry().block_size);
            std::memcpy(contents.data(), target.data(), target.size());
            made.inode_.size = 0;
            Directory plain{m.volume(), m.allocator(), m.hash(), made.inode_, nullptr};
            TRY(append_block(tx, plain, contents, node.privileged));
            made.inode_.size = target.size();
        }
    }
    return {};
}

Result<VnodeRef> Node::make(Name name, const NewNode& node, FileType type,
                            std::string_view target) {
    ASSERT(lock.held_exclusive() && is_dir());
    Ext2Mount& m = fs();
    const bool is_directory = type == FileType::dir;
    if (is_directory && inode_.links >= m.traits().link_max) return Errno::mlink;
    auto tx = TRY(mount().begin());
    InodeChange edit(*this);
    const bool spread = number() == m.root_number() || inode_.flags & file_flag::topdir;
    const InodeNumber fresh = TRY(m.allocator().allocate_inode(tx, number(), is_directory, spread));
    auto made = std::make_unique<Node>(m, make_inode(fresh, node, type));
    TRY(fill_new(tx, *made, node, target));
    Directory dir = directory();
    TRY(add_entry(tx, dir, name.view(), fresh, type, node.privileged));
    if (is_directory) ++inode_.links;
    touch(true);
    Node* raw = made.get();
    VnodeRef ref = m.vnodes().insert(std::move(made));
    if (ref.get() != raw)
        return m.volume().corrupt("inode bitmap: inode {} is in use and was marked free",
                                  fresh.value());
    m.mark_dirty(*raw);
    edit.keep();
    tx.done();
    return ref;
}

Result<VnodeRef> Node::create(Name name, const NewNode& node) {
    return make(name, node, node.type, {});
}

Result<VnodeRef> Node::mkdir(Name name, const NewNode& node) {
    return make(name, node, FileType::dir, {});
}

Result<VnodeRef> Node::symlink(Name name, std::string_view target, const NewNode& node) {
    if (target.size() >= geometry().block_size) return Errno::nametoolong;
    return make(name, node, FileType::lnk, target);
}

Result<void> Node::link(Name name, Vnode& target) {
    ASSERT(lock.held_exclusive() && target.lock.held_exclusive());
    auto& node = static_cast<Node&>(target);
    if (node.inode_.links >= mount().traits().link_max) return Errno::mlink;
    auto tx = TRY(mount().begin());
    InodeChange edit(*this), target_edit(node);
    Directory dir = directory();
    TRY(add_entry(tx, dir, name.view(), target.number(), target.type(), false));
    ++node.inode_.links;
    node.touch(false);
    touch(true);
    edit.keep();
    target_edit.keep();
    tx.done();
    return {};
}

/// Where nothing can fail any more: the count goes down, and at zero the node has no name.
void Node::drop_links(unsigned count) {
    inode_.links = static_cast<uint16_t>(inode_.links - std::min<unsigned>(inode_.links, count));
    touch(false);
    fs().mark_dirty(*this);
    if (inode_.links > 0) return;
    unlinked_.store(true, std::memory_order_release);
    fs().add_removed(*this);
}

Result<void> Node::remove_linked(Name name, Node& victim) {
    auto tx = TRY(mount().begin());
    InodeChange edit(*this);
    Directory dir = directory();
    auto place = TRY(find_entry(dir, name.view()));
    if (!place || place->inode != victim.inode_.number) return Errno::noent;
    remove_entry(tx, dir, *place, name.view());
    if (victim.is_dir() && inode_.links > 2) --inode_.links;
    touch(true);
    edit.keep();
    // An empty directory goes as a whole, whatever its count says.
    victim.drop_links(victim.is_dir() ? victim.inode_.links : 1u);
    tx.done();
    return {};
}

Result<void> Node::remove(Name name, Vnode& victim) {
    ASSERT(lock.held_exclusive() && victim.lock.held_exclusive());
    return remove_linked(name, static_cast<Node&>(victim));
}

Result<void> Node::rmdir(Name name, Vnode& victim) {
    ASSERT(lock.held_exclusive() && victim.lock.held_exclusive());
    auto& node = static_cast<Node&>(victim);
    if (!TRY(is_empty(node.directory()))) return Errno::notempty;
    return remove_linked(name, node);
}

} // namespace rump::ext2
