// The vnode operations of a file system that does not implement them. Refusals are what Linux says
// when a file system lacks the operation. read(), write() and seek() have defaults that work, by
// map(): vfs/generic_io.cc.
#include "kernel/sys/vnode.h"

#include "kernel/sys/mount.h"

namespace rump {

// A vnode that is no directory, or a file system that forgot its lookup.
Result<VnodeRef> Vnode::lookup(Name) { return Errno::notdir; }
Result<void> Vnode::readdir(uint64_t, DirSink) { return Errno::notdir; }

// A file system that cannot make, remove or change: "the file system does not support it" is EPERM
// for all of these in open(2), mkdir(2), symlink(2), link(2), unlink(2), rename(2).
Result<VnodeRef> Vnode::create(Name, const NewNode&) { return Errno::perm; }
Result<VnodeRef> Vnode::mkdir(Name, const NewNode&) { return Errno::perm; }
Result<VnodeRef> Vnode::symlink(Name, std::string_view, const NewNode&) { return Errno::perm; }
Result<void> Vnode::link(Name, Vnode&) { return Errno::perm; }
Result<void> Vnode::remove(Name, Vnode&) { return Errno::perm; }
Result<void> Vnode::rmdir(Name, Vnode&) { return Errno::perm; }
Result<void> Vnode::rename(const RenameArgs&) { return Errno::perm; }
Result<void> Vnode::setattr(const AttrChange&) { return Errno::perm; }

Result<std::string> Vnode::readlink() { return Errno::inval; }

Result<void> Vnode::fsync(bool) { return mount_.sync(); }

Result<size_t> Vnode::getxattr(std::string_view, std::span<std::byte>) { return Errno::opnotsupp; }
Result<void> Vnode::setxattr(std::string_view, std::span<const std::byte>, XattrSet) {
    return Errno::opnotsupp;
}
Result<void> Vnode::removexattr(std::string_view) { return Errno::opnotsupp; }
Result<void> Vnode::listxattr(XattrSink) { return Errno::opnotsupp; }

Result<void> Vnode::map(uint64_t, uint64_t, ExtentList&) { return Errno::opnotsupp; }
Result<void> Vnode::prepare_write(Transaction&, uint64_t, uint64_t, bool, ExtentList&) {
    return Errno::opnotsupp;
}
Result<void> Vnode::finish_write(Transaction&, uint64_t) { return Errno::opnotsupp; }
Result<void> Vnode::allocate(uint64_t, uint64_t, bool, bool, bool) { return Errno::opnotsupp; }
Result<void> Vnode::deallocate(uint64_t, uint64_t) { return Errno::opnotsupp; }

} // namespace rump
