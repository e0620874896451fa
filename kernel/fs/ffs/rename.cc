// rename: the new name reaches the device before the old one goes, and the
// count of names on disk is never below the names there are.
#include "kernel/fs/ffs/dir.h"
#include "kernel/fs/ffs/vfsops.h"
#include "kernel/fs/ffs/vnops.h"

#include "kernel/vfs/epoch.h"

namespace rump::ffs {

namespace {

class Rename {
public:
    Rename(Transaction& tx, FfsVnode& from_dir, const RenameArgs& args)
        : tx_(tx), args_(args), from_(from_dir.inode()), to_(ffs_vnode(args.to_dir).inode()),
          source_(ffs_vnode(args.source).inode()),
          target_(args.target != nullptr ? &ffs_vnode(*args.target).inode() : nullptr),
          volume_(from_.volume()), now_(volume_.now()) {}

    Result<void> run();

private:
    bool moves_dir(const Inode& inode) const { return &from_ != &to_ && inode.state.is_dir(); }
    Result<void> new_parent(Inode& dir, Inode& old_parent, Inode& parent);
    Result<void> exchange();
    Result<void> replace(Buf& old_block);

    Transaction& tx_;
    const RenameArgs& args_;
    Inode& from_;
    Inode& to_;
    Inode& source_;
    Inode* const target_;
    Volume& volume_;
    const Timespec now_;
};

/// ".." of a directory that changes its parent, and what it counts for.
Result<void> Rename::new_parent(Inode& dir, Inode& old_parent, Inode& parent) {
    parent.begin_change(tx_);
    ++parent.state.nlink;
    dir.begin_change(tx_);
    if (volume_.geo.freebsd) dir.state.depth = parent.state.depth + 1;
    old_parent.begin_change(tx_);
    if (old_parent.state.nlink > 0) old_parent.drop_link(tx_);
    return retarget_name(tx_, dir, "..", parent.number(), FileType::dir);
}

Result<void> Rename::exchange() {
    Inode& target = *target_;
    source_.begin_change(tx_);
    target.begin_change(tx_);
    source_.move_link(tx_);
    target.move_link(tx_);
    TRY(retarget_name(tx_, to_, args_.to_name.view(), source_.number(), source_.type()));
    TRY(retarget_name(tx_, from_, args_.from_name.view(), target.number(), target.type()));
    if (moves_dir(source_)) TRY(new_parent(source_, from_, to_));
    if (moves_dir(target)) TRY(new_parent(target, to_, from_));
    target.state.ctime = now_;
    return {};
}

Result<void> Rename::replace(Buf& old_block) {
    Inode& target = *target_;
    if (target.state.is_dir() && !TRY(is_empty(target))) return Errno::notempty;
    TRY(retarget_name(tx_, to_, args_.to_name.view(), source_.number(), source_.type(),
                      &old_block));
    target.begin_change(tx_);
    drop_file_link(tx_, target, to_);
    target.state.ctime = now_;
    return {};
}

Result<void> Rename::run() {
    const uint32_t most = volume_.mount.traits().link_max;
    if (moves_dir(source_) && (target_ == nullptr || !target_->state.is_dir()) &&
        to_.state.nlink >= most)
        return Errno::mlink;
    if (args_.exchange) {
        TRY(exchange());
    } else {
        const auto old = TRY(find_entry(from_, args_.from_name.view()));
        if (!old) return Errno::noent;
        Buf old_block = TRY(entry_block(from_, old->offset));
        source_.begin_change(tx_);
        source_.move_link(tx_);
        if (target_ != nullptr)
            TRY(replace(old_block));
        else
            TRY(enter_name(tx_, to_, args_.to_name.view(), source_.number(), source_.type(), true,
                           &old_block));
        old_block = Buf();
        TRY(remove_name(tx_, from_, args_.from_name.view()));
        if (moves_dir(source_)) TRY(new_parent(source_, from_, to_));
    }
    source_.state.ctime = now_;
    from_.begin_change(tx_);
    to_.begin_change(tx_);
    from_.state.mtime = from_.state.ctime = now_;
    to_.state.mtime = to_.state.ctime = now_;
    return {};
}

} // namespace

Result<void> FfsVnode::rename(const RenameArgs& args) {
    ASSERT(lock.held_exclusive() && args.to_dir.lock.held_exclusive());
    ASSERT(args.source.lock.held_exclusive());
    ASSERT(args.target == nullptr || args.target->lock.held_exclusive());
    return with_space([&]() -> Result<void> {
        Transaction tx = TRY(mount().begin());
        Rename rename(tx, *this, args);
        TRY(rename.run());
        if (args.target != nullptr) {
            const Inode& target = ffs_vnode(*args.target).inode();
            if (target.state.nlink == 0) volume().note_unlinked(target.number(), target.state.mode);
        }
        tx.done();
        if (args.target != nullptr) ffs_vnode(*args.target).publish_links();
        return {};
    });
}

} // namespace rump::ffs
