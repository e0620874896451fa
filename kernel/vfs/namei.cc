// Path lookup: POSIX.1-2017, 4.13, with Linux's limits (path_resolution(7)).
#include "kernel/vfs/namei.h"

#include "kernel/vfs/vfs_ops.h"

namespace rump::vfs {

namespace {

/// EINVAL for a NUL comes from Name.
Result<void> check_path(std::string_view path) {
    if (path.empty()) return Errno::noent;
    if (path.size() > path_max) return Errno::nametoolong;
    return {};
}

/// One walk from a start: symbolic links that it meets are put in front of what remains.
class Walk {
public:
    Walk(const LookupStart& start, const Cred& cred) : start_(start), cred_(cred) {}

    /// All of `path`; the start itself when it is empty.
    Result<VnodeRef> run(std::string_view path, FollowLast follow) {
        at_ = path.starts_with('/') ? start_.root : start_.cwd;
        left_ = path;
        bool trailing_slash = false;
        while (true) {
            skip_slashes();
            if (left_.empty()) break;
            std::string_view name = left_.substr(0, left_.find('/'));
            left_.remove_prefix(name.size());
            bool last = left_.find_first_not_of('/') == left_.npos;
            trailing_slash = last && !left_.empty();
            TRY(step(name, !last || trailing_slash || follow == FollowLast::yes));
        }
        if (trailing_slash && !at_->is_dir()) return Errno::notdir;
        return at_;
    }

private:
    void skip_slashes() {
        size_t begin = left_.find_first_not_of('/');
        left_.remove_prefix(begin == left_.npos ? left_.size() : begin);
    }

    Result<void> step(std::string_view name, bool follow) {
        // ".." of where paths start leads nowhere else, but is looked up as any other name.
        if (name == ".." && at_ == start_.root) name = ".";
        VnodeRef next = TRY(lookup(*at_, name, cred_));
        if (next->type() == FileType::lnk && follow) return enter_link(*next);
        at_ = std::move(next);
        return {};
    }

    Result<void> enter_link(Vnode& link) {
        if (++links_ > symlink_max) return Errno::loop;
        std::string target = TRY(readlink(link));
        TRY(check_path(target));
        if (target.starts_with('/')) at_ = start_.root;
        target.append(left_);
        rest_ = std::move(target);
        left_ = rest_;
        return {};
    }

    const LookupStart& start_;
    const Cred& cred_;
    VnodeRef at_;
    std::string rest_;      // the last link's target and what was left then
    std::string_view left_; // of the caller's path, after a link of rest_
    unsigned links_ = 0;
};

} // namespace

Result<VnodeRef> namei(const LookupStart& start, std::string_view path, FollowLast follow,
                       const Cred& cred) {
    TRY(check_path(path));
    return Walk(start, cred).run(path, follow);
}

Result<ParentOf> namei_parent(const LookupStart& start, std::string_view path, const Cred& cred) {
    TRY(check_path(path));
    size_t end = path.find_last_not_of('/');
    if (end == path.npos) return Errno::busy; // the root has no parent
    ParentOf parent;
    parent.trailing_slash = end + 1 < path.size();
    std::string_view before = path.substr(0, end + 1);
    size_t slash = before.rfind('/');
    size_t begin = slash == before.npos ? 0 : slash + 1;
    parent.name = before.substr(begin);
    parent.dir = TRY(Walk(start, cred).run(before.substr(0, begin), FollowLast::yes));
    if (!parent.dir->is_dir()) return Errno::notdir;
    return parent;
}

} // namespace rump::vfs
