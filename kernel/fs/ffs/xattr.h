// Extended attributes. UFS2: an area of records in up to two blocks of the
// inode's own. UFS1: files under /.attribute, which are read on read-only
// mounts.
//
// Names. The disk knows two namespaces. FreeBSD stores the bare name, so does
// NetBSD's extattr(2); NetBSD's xattr(2) stores the whole Linux name. Both are
// read; new ones are written as NetBSD does on its own kind of UFS2 and bare
// elsewhere.
//
//     user.NAME               user namespace, NAME or user.NAME
//     system.posix_acl_*      system namespace, posix1e.acl_*, in the form of
//     acl(3) of the BSDs trusted.NAME            system namespace, NAME or
//     trusted.NAME security.NAME           system namespace, security.NAME
#pragma once

#include "kernel/fs/ffs/bmap.h"

#include "kernel/sys/vnode.h"

namespace rump::ffs {

/// ENODATA, EOPNOTSUPP, EIO, EUCLEAN.
Result<std::vector<std::byte>> get_attribute(Inode& inode, std::string_view name);
/// ENODATA, EEXIST, ENOSPC, E2BIG (more than the area holds), EOPNOTSUPP.
Result<void> set_attribute(Transaction& tx, Inode& inode, std::string_view name,
                           std::span<const std::byte> value, XattrSet how);
Result<void> remove_attribute(Transaction& tx, Inode& inode, std::string_view name);
Result<void> list_attributes(Inode& inode, XattrSink sink);

/// One record of an area.
struct ExtattrRecord {
    uint32_t at = 0;
    uint32_t length = 0;
    uint8_t name_space = 0;
    std::string_view name;
    std::span<const std::byte> value;
};
/// Walks an area; false at the end. EUCLEAN when a record does not fit.
Result<bool> next_extattr(const Geometry& geo, std::span<const std::byte> area, uint32_t& at,
                          ExtattrRecord& out);

} // namespace rump::ffs
