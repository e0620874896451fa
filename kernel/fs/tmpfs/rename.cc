// rename of tmpfs: within a directory and between two, onto nothing, onto a file, and exchange.
#include "kernel/fs/tmpfs/vnops.h"

namespace rump::tmpfs {

namespace {

/// A directory that changes its parent takes a link from one and gives it to the other.
void move_parent(Node& directory, Node& from, Node& to) {
    directory.directory().parent = to.number;
    from.links.fetch_sub(1, std::memory_order_relaxed);
    to.links.fetch_add(1, std::memory_order_relaxed);
}

bool full_of_links(const Node& dir, uint32_t link_max) {
    return dir.links.load(std::memory_order_relaxed) >= link_max;
}

Result<void> exchange(Node& from_dir, Entry* from, Node& source, Node& to_dir, Entry* to,
                      Node& target, uint32_t link_max) {
    if (&from_dir != &to_dir && source.is_dir() != target.is_dir()) {
        if (full_of_links(source.is_dir() ? to_dir : from_dir, link_max)) return Errno::mlink;
    }
    std::swap(from->number, to->number);
    std::swap(from->type, to->type);
    if (&from_dir != &to_dir) {
        if (source.is_dir()) move_parent(source, from_dir, to_dir);
        if (target.is_dir()) move_parent(target, to_dir, from_dir);
    }
    return {};
}

/// The entry that is there comes to mean the source: readdir sees the name once, before and after.
Result<void> replace(Node& from_dir, Entry* from, Node& source, Node& to_dir, Entry* to,
                     Node& target) {
    if (target.is_dir() && !target.directory().empty()) return Errno::notempty;
    to->number = source.number;
    to->type = source.type;
    from_dir.directory().erase(from);
    if (target.is_dir()) {
        target.links.store(0, std::memory_order_release);
        to_dir.links.fetch_sub(1, std::memory_order_relaxed);
    } else {
        target.links.fetch_sub(1, std::memory_order_release);
    }
    if (source.is_dir() && &from_dir != &to_dir) move_parent(source, from_dir, to_dir);
    return {};
}

Result<void> move(Node& from_dir, Entry* from, Node& source, Node& to_dir, Name to_name,
                  uint32_t link_max) {
    const bool new_parent = source.is_dir() && &from_dir != &to_dir;
    if (new_parent && full_of_links(to_dir, link_max)) return Errno::mlink;
    TRY(to_dir.directory().insert(to_name, source.number, source.type));
    from_dir.directory().erase(from);
    if (new_parent) move_parent(source, from_dir, to_dir);
    return {};
}

} // namespace

Result<void> TmpVnode::rename(const RenameArgs& args) {
    ASSERT(lock.held_exclusive() && args.to_dir.lock.held_exclusive());
    ASSERT(args.source.lock.held_exclusive());
    ASSERT(args.target == nullptr || args.target->lock.held_exclusive());
    Node& from_dir = *node_;
    Node& to_dir = node_of(args.to_dir);
    Node& source = node_of(args.source);
    const uint32_t link_max = mount().traits().link_max;

    Entry* from = from_dir.directory().find(args.from_name);
    ASSERT(from != nullptr && from->number == source.number);
    Entry* to = to_dir.directory().find(args.to_name);
    ASSERT((to != nullptr) == (args.target != nullptr));

    if (args.target == nullptr) {
        TRY(move(from_dir, from, source, to_dir, args.to_name, link_max));
    } else {
        Node& target = node_of(*args.target);
        ASSERT(to->number == target.number);
        if (args.exchange)
            TRY(exchange(from_dir, from, source, to_dir, to, target, link_max));
        else
            TRY(replace(from_dir, from, source, to_dir, to, target));
        target.ctime = now();
    }
    source.ctime = now();
    from_dir.mtime = from_dir.ctime = source.ctime;
    to_dir.mtime = to_dir.ctime = source.ctime;
    return {};
}

} // namespace rump::tmpfs
