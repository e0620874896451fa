// rename(2) within ext2: the new entry first, then the old one; ".." and link counts follow.
#include "kernel/fs/ext2fs/vnops.h"

#include "kernel/vfs/buffer_cache.h"

namespace rump::ext2 {

namespace {

/// The entry of a node that is there, or the report that it is not.
Result<EntryPlace> must_find(const Directory& dir, Name name, InodeNumber number) {
    auto place = TRY(find_entry(dir, name.view()));
    if (!place || place->inode != number.value()) return Errno::noent;
    return std::move(*place);
}

Result<void> point_dotdot(Transaction& tx, Directory child, InodeNumber parent) {
    EntryPlace dotdot = TRY(find_dotdot(child));
    replace_entry(tx, child, dotdot, parent, FileType::dir);
    return {};
}

} // namespace

Result<void> Node::rename(const RenameArgs& args) {
    ASSERT(lock.held_exclusive() && args.to_dir.lock.held_exclusive());
    return args.exchange ? rename_exchange(args) : rename_over(args);
}

Result<void> Node::rename_over(const RenameArgs& args) {
    auto& to = static_cast<Node&>(args.to_dir);
    auto& source = static_cast<Node&>(args.source);
    auto* target = static_cast<Node*>(args.target);
    const bool moves = &to != this;
    const bool is_directory = source.is_dir();
    if (target && target->is_dir() && !TRY(is_empty(target->directory()))) return Errno::notempty;
    const bool gains_link = is_directory && moves && !target;
    if (gains_link && to.inode_.links >= mount().traits().link_max) return Errno::mlink;

    auto tx = TRY(mount().begin());
    InodeChange edit(*this), source_edit(source);
    std::optional<InodeChange> to_edit;
    if (moves) to_edit.emplace(to);
    Directory from_dir = directory();
    Directory to_dir = to.directory();
    EntryPlace entry;
    if (target) {
        entry = TRY(must_find(to_dir, args.to_name, target->number()));
        EntryPlace old = TRY(must_find(from_dir, args.from_name, source.number()));
        TRY(tx.order(entry.buf, old.buf));
        replace_entry(tx, to_dir, entry, source.number(), source.type());
    } else {
        entry =
            TRY(add_entry(tx, to_dir, args.to_name.view(), source.number(), source.type(), false));
    }
    // Adding may have moved entries of the same directory.
    EntryPlace old = TRY(must_find(from_dir, args.from_name, source.number()));
    if (!target) TRY(tx.order(entry.buf, old.buf));
    if (is_directory && moves) TRY(point_dotdot(tx, source.directory(), to.number()));
    remove_entry(tx, from_dir, old, args.from_name.view());

    if (is_directory) {
        const bool target_was_directory = target != nullptr;
        // The source leaves this directory; it comes to `to`, where a replaced directory goes.
        if (inode_.links > 2) --inode_.links;
        if (!target_was_directory) ++to.inode_.links;
    }
    source.touch(false);
    touch(true);
    if (moves) to.touch(true);
    edit.keep();
    source_edit.keep();
    if (to_edit) to_edit->keep();
    if (target) target->drop_links(target->is_dir() ? target->inode_.links : 1u);
    tx.done();
    return {};
}

Result<void> Node::rename_exchange(const RenameArgs& args) {
    auto& to = static_cast<Node&>(args.to_dir);
    auto& source = static_cast<Node&>(args.source);
    auto& target = static_cast<Node&>(*args.target);
    const bool moves = &to != this;
    const uint32_t link_max = mount().traits().link_max;
    if (moves && source.is_dir() && !target.is_dir() && to.inode_.links >= link_max)
        return Errno::mlink;
    if (moves && target.is_dir() && !source.is_dir() && inode_.links >= link_max)
        return Errno::mlink;

    auto tx = TRY(mount().begin());
    InodeChange edit(*this), source_edit(source), target_edit(target);
    std::optional<InodeChange> to_edit;
    if (moves) to_edit.emplace(to);
    Directory from_dir = directory();
    Directory to_dir = to.directory();
    EntryPlace first = TRY(must_find(from_dir, args.from_name, source.number()));
    EntryPlace second = TRY(must_find(to_dir, args.to_name, target.number()));
    if (moves && source.is_dir()) TRY(point_dotdot(tx, source.directory(), to.number()));
    if (moves && target.is_dir()) TRY(point_dotdot(tx, target.directory(), number()));
    replace_entry(tx, from_dir, first, target.number(), target.type());
    replace_entry(tx, to_dir, second, source.number(), source.type());
    if (moves && source.is_dir() != target.is_dir()) {
        Node& gains = source.is_dir() ? to : *this;
        Node& loses = source.is_dir() ? *this : to;
        ++gains.inode_.links;
        if (loses.inode_.links > 2) --loses.inode_.links;
    }
    source.touch(false);
    target.touch(false);
    touch(true);
    if (moves) to.touch(true);
    edit.keep();
    source_edit.keep();
    target_edit.keep();
    if (to_edit) to_edit->keep();
    tx.done();
    return {};
}

} // namespace rump::ext2
