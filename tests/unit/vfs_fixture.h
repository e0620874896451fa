// A kernel with a tmpfs, for tests of the generic layer.
#pragma once

#include "kernel/fs/tmpfs/tmpfs.h"
#include "kernel/kern/kernel.h"
#include "kernel/vfs/namei.h"
#include "kernel/vfs/vfs_ops.h"

#include <catch2/catch.hpp>

#include <string>

namespace rump::test {

inline const Cred root_cred = Cred::superuser();

/// The errno of a result, 0 for success, so that CHECK shows it.
template<class T>
int code(const Result<T>& result) {
    return result.ok() ? 0 : to_int(result.error());
}

class VfsFixture {
public:
    explicit VfsFixture(MountOptions options = {}) {
        KernelConfig config;
        config.clock = &clock;
        kernel = std::make_unique<Kernel>(config);
        MountArgs args;
        args.options = options;
        auto mounted = kernel->mount(tmpfs::type(), std::move(args));
        REQUIRE(mounted.ok());
        mount = *mounted;
        root = *mount->root();
    }

    VnodeRef path(std::string_view p, const Cred& cred = root_cred) {
        auto found = vfs::namei({root, root}, p, vfs::FollowLast::no, cred);
        REQUIRE(found.ok());
        return *found;
    }
    bool exists(std::string_view p) {
        return vfs::namei({root, root}, p, vfs::FollowLast::no, root_cred).ok();
    }
    VnodeRef mkdir(std::string_view p, uint32_t mode = 0755, const Cred& cred = root_cred) {
        auto parent = vfs::namei_parent({root, root}, p, cred);
        REQUIRE(parent.ok());
        auto made = vfs::mkdir(*parent->dir, parent->name, {FileType::dir, mode, 0, {}}, cred);
        REQUIRE(made.ok());
        return *made;
    }
    VnodeRef file(std::string_view p, uint32_t mode = 0644, const Cred& cred = root_cred) {
        auto parent = vfs::namei_parent({root, root}, p, cred);
        REQUIRE(parent.ok());
        auto made = vfs::create(*parent->dir, parent->name, {FileType::reg, mode, 0, {}}, cred);
        REQUIRE(made.ok());
        return *made;
    }
    void symlink(std::string_view p, std::string_view target) {
        auto parent = vfs::namei_parent({root, root}, p, root_cred);
        REQUIRE(parent.ok());
        REQUIRE(vfs::symlink(*parent->dir, parent->name, target, root_cred).ok());
    }
    int rename(std::string_view from, std::string_view to,
               vfs::RenameMode mode = vfs::RenameMode::replace, const Cred& cred = root_cred) {
        auto a = vfs::namei_parent({root, root}, from, root_cred);
        auto b = vfs::namei_parent({root, root}, to, root_cred);
        REQUIRE(a.ok());
        REQUIRE(b.ok());
        return code(vfs::rename(*a->dir, a->name, *b->dir, b->name, mode, cred));
    }
    void chmod(Vnode& vnode, uint32_t mode) {
        AttrChange change;
        change.mode = mode;
        REQUIRE(vfs::setattr(vnode, change, root_cred).ok());
    }
    void chown(Vnode& vnode, uint32_t uid, uint32_t gid) {
        AttrChange change;
        change.uid = uid;
        change.gid = gid;
        REQUIRE(vfs::setattr(vnode, change, root_cred).ok());
    }
    uint32_t mode(Vnode& vnode) { return vfs::getattr(vnode)->mode; }

    host::VirtualClock clock{Timespec{1000000, 0}, 1000};
    std::unique_ptr<Kernel> kernel;
    Mount* mount = nullptr;
    VnodeRef root; // goes before the kernel
};

} // namespace rump::test
