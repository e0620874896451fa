// Requests about extended attributes. The root has some that no file system stores and that are not
// listed: the counters of the live mount (JSON), and the daemon's process id.
#include "kernel/vfs/acl.h"
#include "p2k/adapter.h"

#include <fmt/format.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cstring>

namespace rump::p2k {

namespace {

constexpr std::string_view own_prefix = "user.rump.";

/// The value of a name of ours; ENODATA for one that does not exist.
Result<std::string> own_value(std::string_view name, RequestHost& host) {
    if (name == "user.rump.counters") return host.counters_json();
    if (name == "user.rump.pid") return fmt::format("{}", ::getpid());
    return Errno::nodata;
}

Result<void> reply_bytes(fuse_req_t req, std::string_view value, size_t size) {
    if (size == 0) {
        fuse_reply_xattr(req, value.size());
        return {};
    }
    if (value.size() > size) return Errno::range;
    fuse_reply_buf(req, value.data(), value.size());
    return {};
}

bool is_own(fuse_ino_t id, std::string_view name) {
    return id == root_node && name.starts_with(own_prefix);
}

} // namespace

void Adapter::Requests::getxattr(fuse_req_t req, fuse_ino_t id, const char* name, size_t size) {
    answer(req, [&](Adapter& self) -> Result<void> {
        if (is_own(id, name)) return reply_bytes(req, TRY(own_value(name, self.host_)), size);
        Vnode& vnode = *TRY(self.node(id));
        if (size == 0) {
            fuse_reply_xattr(req, TRY(vfs::getxattr(vnode, name, {}, self.cred(req))));
            return {};
        }
        const auto buffer = TRY(self.host_.this_thread().reply_buffer(size)).first(size);
        const size_t got = TRY(vfs::getxattr(vnode, name, buffer, self.cred(req)));
        fuse_reply_buf(req, reinterpret_cast<const char*>(buffer.data()), got);
        return {};
    });
}

void Adapter::Requests::setxattr(fuse_req_t req, fuse_ino_t id, const char* name, const char* value,
                                 size_t size, int flags) {
    answer(req, [&](Adapter& self) -> Result<void> {
        if (is_own(id, name)) return Errno::perm;
        XattrSet how;
        switch (flags) {
        case 0:
            how = XattrSet::any;
            break;
        case XATTR_CREATE:
            how = XattrSet::create;
            break;
        case XATTR_REPLACE:
            how = XattrSet::replace;
            break;
        default:
            return Errno::inval;
        }
        Vnode& vnode = *TRY(self.node(id));
        const Attr before = TRY(vfs::getattr(vnode));
        TRY(vfs::setxattr(vnode, name, std::as_bytes(std::span(value, size)), how, self.cred(req)));
        // The host does not expect that an attribute is a mode, too (ACLs, FAT's read-only), or has
        // blocks.
        const Attr after = TRY(vfs::getattr(vnode));
        if (after.mode != before.mode || after.blocks != before.blocks)
            self.host_.forget_attributes(id);
        fuse_reply_err(req, 0);
        return {};
    });
}

void Adapter::Requests::listxattr(fuse_req_t req, fuse_ino_t id, size_t size) {
    answer(req, [&](Adapter& self) -> Result<void> {
        std::string names;
        // The host lets only its superuser read these, whatever we think of the caller.
        const bool trusted = fuse_req_ctx(req)->uid == 0;
        TRY(vfs::listxattr(*TRY(self.node(id)), self.cred(req), [&](std::string_view name) {
            if (!trusted && name.starts_with("trusted.")) return;
            names.append(name);
            names.push_back('\0');
        }));
        return reply_bytes(req, names, size);
    });
}

void Adapter::Requests::removexattr(fuse_req_t req, fuse_ino_t id, const char* name) {
    answer(req, [&](Adapter& self) -> Result<void> {
        if (is_own(id, name)) return Errno::perm;
        Vnode& vnode = *TRY(self.node(id));
        const uint64_t blocks = TRY(vfs::getattr(vnode)).blocks;
        TRY(vfs::removexattr(vnode, name, self.cred(req)));
        if (TRY(vfs::getattr(vnode)).blocks != blocks) self.host_.forget_attributes(id);
        fuse_reply_err(req, 0);
        return {};
    });
}

} // namespace rump::p2k
