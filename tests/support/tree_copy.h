// Trees of a mounted file system against trees of the host: copying out and in with everything that
// a name has, for comparison with what other implementations read and wrote.
#pragma once

#include "kernel/kern/kernel.h"
#include "kernel/vfs/vfs_ops.h"

#include <map>
#include <string>

namespace rump::test {

/// Copies the tree at `dir` into the host's folder `to`: types, contents with holes, owners, modes,
/// times, links, attributes. Errors are counted and printed.
class TreeCopy {
public:
    explicit TreeCopy(Mount& mount) : mount_(mount) {}
    int out(const std::string& to);
    int in(const std::string& from);

private:
    void out_dir(Vnode& dir, const std::string& to);
    void out_node(Vnode& node, const std::string& to);
    void out_file(Vnode& node, const std::string& to);
    void out_meta(Vnode& node, const std::string& to);
    void in_dir(Vnode& dir, const std::string& from);
    void in_node(Vnode& dir, const std::string& name, const std::string& from);
    void in_file(Vnode& node, const std::string& from);
    void in_meta(Vnode& node, const std::string& from);
    void fail(const std::string& what, int error);
    template<class T>
    bool good(const Result<T>& result, const std::string& what) {
        if (!result.ok()) fail(what, to_int(result.error()));
        return result.ok();
    }

    Mount& mount_;
    std::map<uint64_t, std::string> seen_out_; // inode -> first name
    std::map<uint64_t, VnodeRef> seen_in_;     // the host's inode -> ours
    int failures_ = 0;
};

} // namespace rump::test
