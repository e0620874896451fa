// Generic rename: rename(2) and renameat2(2).
//
// Locks. A rename that moves or replaces a directory, or has two directories, holds the mount's
// rename mutex: the shape of the tree stands still, so that "into its own subtree" can be judged by
// walking up, and nobody else waits for a second directory (sys/vnode.h). Then: both directories,
// the directories among source and target, the files among them by address.
//
//     look (no locks) ──> rename mutex? ──> walk up ──> lock ──> look again ──> check ──> rename
//           ^                                                       |                       |
//           └───────────── the names mean others now ───────────────┘                       |
//           └───────────── EAGAIN: commit the epoch ────────────────────────────────────────┘
#include "kernel/vfs/vfs_internal.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>

namespace rump::vfs {

namespace {

struct Request {
    Mount& mount;
    Vnode& from_dir;
    Name from;
    Vnode& to_dir;
    Name to;
    RenameMode mode;
    const Cred& cred;

    bool exchange() const { return mode == RenameMode::exchange; }
    bool same_dir() const { return &from_dir == &to_dir; }
};

/// What the two names mean. Held outside all locks: the replaced file goes with the last reference.
struct Ends {
    VnodeRef source;
    VnodeRef target;           // empty: nothing there
    bool source_above = false; // of to_dir, or to_dir itself
    bool target_above = false; // of from_dir, or from_dir itself
};

enum class Outcome : uint8_t { done, changed };

/// Up to four vnodes, locked exclusively until the end of the scope.
class VnodeLocks {
public:
    VnodeLocks() = default;
    ~VnodeLocks() NO_THREAD_SAFETY_ANALYSIS {
        while (count_ > 0) held_[--count_]->lock.unlock();
    }
    VnodeLocks(const VnodeLocks&) = delete;
    VnodeLocks& operator=(const VnodeLocks&) = delete;

    bool holds(const Vnode* vnode) const {
        return std::find(held_.begin(), held_.begin() + count_, vnode) != held_.begin() + count_;
    }
    void lock(Vnode& vnode) NO_THREAD_SAFETY_ANALYSIS {
        ASSERT(!holds(&vnode) && count_ < held_.size());
        vnode.lock.lock();
        held_[count_++] = &vnode;
    }

private:
    std::array<Vnode*, 4> held_{};
    unsigned count_ = 0;
};

/// The vnode that `name` means, empty when there is none.
Result<VnodeRef> look(Vnode& dir, Name name, bool locked) {
    auto found = locked ? lookup_locked(dir, name) : lookup_unlocked(dir, name);
    if (!found && found.error() == Errno::noent && !dir.unlinked()) return VnodeRef();
    return found;
}

/// Is `above` the directory `dir` or one that contains it? Under the rename mutex, no vnode locked.
Result<bool> is_above(const Vnode& above, Vnode& dir) {
    Mount& mount = dir.mount();
    Name dotdot = *Name::from("..");
    VnodeRef at = VnodeRef::to(dir);
    // Brent's cycle detection: the marker moves to where we are after 1, 2, 4 … steps.
    InodeNumber marker{};
    for (uint64_t steps = 1, next_mark = 1;; ++steps) {
        if (at.get() == &above) return true;
        if (at->number() == mount.root_number()) return false;
        if (!at->is_dir() || at->number() == marker)
            return mount.corrupt(fmt::format("directory inode {}: \"..\" does not lead to the root",
                                             dir.number().value()));
        if (steps == next_mark) {
            marker = at->number();
            next_mark *= 2;
        }
        VnodeRef parent;
        {
            host::SharedGuard guard(at->lock);
            parent = TRY(lookup_locked(*at, dotdot));
        }
        at = std::move(parent);
    }
}

/// Fails when `dir` and a child are one: an image in which a directory has itself as an entry.
Result<void> lock_ends(const Request& r, const Ends& ends, VnodeLocks& locks) {
    std::array<Vnode*, 2> children{ends.source.get(), ends.target.get()};
    auto later = [](const Vnode* a, const Vnode* b) {
        if (a->is_dir() != b->is_dir()) return a->is_dir();
        return std::less<>()(a, b);
    };
    if (children[1] && later(children[1], children[0])) std::swap(children[0], children[1]);
    for (Vnode* child : children) {
        if (!child) continue;
        if (locks.holds(child))
            return r.mount.corrupt(
                fmt::format("directory inode {}: has itself as an entry", child->number().value()));
        locks.lock(*child);
    }
    return {};
}

/// Permissions of all that is involved; everything is locked.
Result<FileFlags> permit_rename(const Request& r, const Ends& ends) {
    Vnode& source = *ends.source;
    Attr from_attr = TRY(attributes(r.from_dir));
    Attr to_attr = r.same_dir() ? from_attr : TRY(attributes(r.to_dir));
    Attr source_attr = TRY(attributes(source));
    TRY(permit_removal(r.from_dir, from_attr, source, source_attr, source.is_dir(), r.cred));
    if (ends.target) {
        Vnode& target = *ends.target;
        Attr target_attr = TRY(attributes(target));
        bool want_dir = r.exchange() ? target.is_dir() : source.is_dir();
        TRY(permit_removal(r.to_dir, to_attr, target, target_attr, want_dir, r.cred));
        if (r.exchange() && target.is_dir() && !r.same_dir())
            TRY(permit(target, target_attr, may_write, r.cred));
    } else {
        TRY(permit(r.to_dir, to_attr, may_write | may_exec, r.cred));
    }
    // A directory that changes its parent is written to: its "..".
    if (source.is_dir() && !r.same_dir()) TRY(permit(source, source_attr, may_write, r.cred));
    return from_attr.flags | to_attr.flags;
}

void update_names(const Request& r, const Ends& ends) {
    if (r.exchange())
        name_appeared(r.from_dir, r.from, ends.target->number());
    else
        name_vanished(r.from_dir, r.from);
    name_appeared(r.to_dir, r.to, ends.source->number());
}

/// The new name is another spelling of the old one, in a format that folds case.
bool respelled(const Request& r, const Ends& ends) {
    return !r.mount.traits().case_sensitive && r.same_dir() && ends.source == ends.target &&
           r.from != r.to;
}

/// With the directories' locks and, where needed, the rename mutex.
Result<Outcome> rename_looked_up(const Request& r, Ends& ends, FileFlags& flags) {
    VnodeLocks locks;
    locks.lock(r.from_dir);
    if (!r.same_dir()) locks.lock(r.to_dir);
    if (TRY(look(r.from_dir, r.from, true)) != ends.source) return Outcome::changed;
    if (TRY(look(r.to_dir, r.to, true)) != ends.target) return Outcome::changed;
    if (!ends.source) return Errno::noent;
    if (ends.target && r.mode == RenameMode::no_replace) return Errno::exist;
    if (respelled(r, ends)) ends.target.reset();
    if (!ends.target && r.exchange()) return Errno::noent;
    if (ends.source_above) return Errno::inval;
    if (ends.target_above) return r.exchange() ? Errno::inval : Errno::notempty;
    if (ends.source == ends.target) return Outcome::done;

    TRY(lock_ends(r, ends, locks));
    flags = TRY(permit_rename(r, ends));
    RenameArgs args{r.from, *ends.source, r.to_dir, r.to, ends.target.get(), r.exchange()};
    auto renamed = with_space(r.mount, [&] { return r.from_dir.rename(args); });
    if (!renamed) {
        name_unknown(r.from_dir, r.from);
        name_unknown(r.to_dir, r.to);
        return renamed.error();
    }
    update_names(r, ends);
    return Outcome::done;
}

/// With the rename mutex: who is above whom.
Result<void> judge_ancestry(const Request& r, Ends& ends) {
    if (r.same_dir()) return {}; // siblings are not above each other
    if (ends.source && ends.source->is_dir())
        ends.source_above = TRY(is_above(*ends.source, r.to_dir));
    if (ends.target && ends.target->is_dir())
        ends.target_above = TRY(is_above(*ends.target, r.from_dir));
    return {};
}

Result<Outcome> rename_once(const Request& r, FileFlags& flags) {
    Ends ends;
    ends.source = TRY(look(r.from_dir, r.from, false));
    if (!ends.source) return Errno::noent;
    ends.target = TRY(look(r.to_dir, r.to, false));
    bool directories =
        !r.same_dir() || ends.source->is_dir() || (ends.target && ends.target->is_dir());
    if (!directories) return rename_looked_up(r, ends, flags);
    host::MutexGuard guard(r.mount.rename_mutex());
    TRY(judge_ancestry(r, ends));
    return rename_looked_up(r, ends, flags);
}

} // namespace

Result<void> rename(Vnode& from_dir, std::string_view from_name, Vnode& to_dir,
                    std::string_view to_name, RenameMode mode, const Cred& cred) {
    Mount& mount = from_dir.mount();
    if (&to_dir.mount() != &mount) return Errno::xdev;
    TRY(check_alive(mount));
    Name from = TRY(Name::from(from_name, mount.traits().name_max));
    Name to = TRY(Name::from(to_name, mount.traits().name_max));
    if (!from_dir.is_dir() || !to_dir.is_dir()) return Errno::notdir;
    if (from.is_dot() || from.is_dotdot()) return Errno::inval;
    if (to.is_dot() || to.is_dotdot())
        return mode == RenameMode::no_replace ? Errno::exist : Errno::inval;
    TRY(check_writable(mount));
    TRY(permit_search(from_dir, cred));
    TRY(permit_search(to_dir, cred));

    const Request request{mount, from_dir, from, to_dir, to, mode, cred};
    FileFlags flags = 0;
    // After a commit the epoch demands no order; others may bring one about in between, not for
    // long.
    constexpr unsigned many = 100;
    for (unsigned commits = 0;;) {
        auto outcome = rename_once(request, flags);
        if (!outcome && (outcome.error() != Errno::again || ++commits == many))
            return outcome.error();
        if (!outcome)
            TRY(mount.epoch().commit());
        else if (*outcome == Outcome::done)
            break;
    }
    return settle(mount, flags, file_flag::sync | file_flag::dirsync);
}

} // namespace rump::vfs
