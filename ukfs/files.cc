// File data: by path, and by open files.
#include "ukfs/instance.h"

using namespace rump;
using namespace rump::ukfslib;

namespace {

Result<VnodeRef> open_existing(const ukfs& fs, Vnode& vnode, int flags) {
    if (vnode.is_dir() && flags & UKFS_WRITE) return Errno::isdir;
    if (vnode.type() == FileType::lnk) return Errno::loop;
    unsigned want =
        (flags & UKFS_READ ? vfs::may_read : 0) | (flags & UKFS_WRITE ? vfs::may_write : 0);
    TRY(vfs::access(vnode, want, fs.cred));
    if (flags & UKFS_TRUNCATE && flags & UKFS_WRITE && vnode.is_reg())
        TRY(vfs::setattr(vnode, {.size = 0}, fs.cred));
    return VnodeRef::to(vnode);
}

/// open(2) with O_CREAT: what a symbolic link at the end names is made where it points to.
Result<VnodeRef> open_or_create(const ukfs& fs, const char* path, int flags, uint32_t mode) {
    vfs::LookupStart start = fs.start;
    std::string at = path;
    for (unsigned links = 0; links <= symlink_max; ++links) {
        auto parent = TRY(vfs::namei_parent(start, at, fs.cred));
        if (parent.trailing_slash) return Errno::isdir;
        auto there = vfs::lookup(*parent.dir, parent.name, fs.cred);
        if (!there.ok() && there.error() == Errno::noent) {
            auto made =
                vfs::create(*parent.dir, parent.name, {.mode = mode & mode_permissions}, fs.cred);
            // Somebody else may have made it just now; then look again.
            if (made.ok() || made.error() != Errno::exist) return made;
            continue;
        }
        if (!there.ok()) return there;
        if (flags & UKFS_EXCLUSIVE) return Errno::exist;
        if ((*there)->type() != FileType::lnk) return open_existing(fs, **there, flags);
        at = TRY(vfs::readlink(**there));
        start.cwd = parent.dir;
    }
    return Errno::loop;
}

} // namespace

int64_t ukfs_pread(ukfs* fs, const char* path, void* data, size_t size, uint64_t offset) {
    return call<int64_t>([&]() -> Result<size_t> {
        auto vnode = TRY(find(*fs, path));
        TRY(vfs::access(*vnode, vfs::may_read, fs->cred));
        return vfs::read(*vnode, offset, {static_cast<std::byte*>(data), size});
    });
}

int64_t ukfs_pwrite(ukfs* fs, const char* path, const void* data, size_t size, uint64_t offset) {
    return call<int64_t>([&]() -> Result<size_t> {
        auto vnode = TRY(find(*fs, path));
        TRY(vfs::access(*vnode, vfs::may_write, fs->cred));
        return vfs::write(*vnode, offset, {static_cast<const std::byte*>(data), size}, fs->cred);
    });
}

int ukfs_file_open(ukfs* fs, const char* path, int flags, uint32_t mode, ukfs_file** out) {
    return call([&]() -> Result<void> {
        if (!(flags & (UKFS_READ | UKFS_WRITE))) return Errno::inval;
        VnodeRef vnode;
        if (flags & UKFS_CREATE)
            vnode = TRY(open_or_create(*fs, path, flags, mode));
        else
            vnode = TRY(open_existing(*fs, *TRY(find(*fs, path)), flags));
        *out = new ukfs_file{*fs, std::move(vnode), flags};
        fs->references.fetch_add(1, std::memory_order_relaxed);
        return {};
    });
}

void ukfs_file_close(ukfs_file* file) {
    if (!file) return;
    ukfs& fs = file->fs;
    delete file; // the vnode goes before the kernel that it belongs to
    fs.drop();
}

int64_t ukfs_file_pread(ukfs_file* file, void* data, size_t size, uint64_t offset) {
    return call<int64_t>([&]() -> Result<size_t> {
        if (!(file->flags & UKFS_READ)) return Errno::badf;
        return vfs::read(*file->vnode, offset, {static_cast<std::byte*>(data), size});
    });
}

int64_t ukfs_file_pwrite(ukfs_file* file, const void* data, size_t size, uint64_t offset) {
    return call<int64_t>([&]() -> Result<size_t> {
        if (!(file->flags & UKFS_WRITE)) return Errno::badf;
        std::span bytes{static_cast<const std::byte*>(data), size};
        if (file->flags & UKFS_APPEND) {
            TRY(vfs::append(*file->vnode, bytes, file->fs.cred));
            return size;
        }
        return vfs::write(*file->vnode, offset, bytes, file->fs.cred);
    });
}

int ukfs_file_stat(ukfs_file* file, struct ukfs_stat* out) {
    return call([&]() -> Result<void> {
        auto attr = TRY(vfs::getattr(*file->vnode));
        to_c(attr, *out);
        return {};
    });
}

int ukfs_file_truncate(ukfs_file* file, uint64_t size) {
    return call([&]() -> Result<void> {
        if (!(file->flags & UKFS_WRITE)) return Errno::badf;
        TRY(vfs::setattr(*file->vnode, {.size = size}, file->fs.cred));
        return {};
    });
}

int ukfs_file_sync(ukfs_file* file) {
    return call([&] { return vfs::fsync(*file->vnode, false); });
}

int64_t ukfs_file_seek(ukfs_file* file, uint64_t offset, int hole) {
    return call<int64_t>(
        [&] { return vfs::seek(*file->vnode, offset, hole ? Seek::hole : Seek::data); });
}

int ukfs_file_punch(ukfs_file* file, uint64_t offset, uint64_t length) {
    return call([&]() -> Result<void> {
        if (!(file->flags & UKFS_WRITE)) return Errno::badf;
        return vfs::fallocate(*file->vnode, offset, length, vfs::Fallocate::punch_hole,
                              file->fs.cred);
    });
}

int64_t ukfs_file_copy(ukfs_file* from, uint64_t from_offset, ukfs_file* to, uint64_t to_offset,
                       uint64_t length) {
    return call<int64_t>([&]() -> Result<uint64_t> {
        if (!(from->flags & UKFS_READ) || !(to->flags & UKFS_WRITE)) return Errno::badf;
        return vfs::copy_range(*from->vnode, from_offset, *to->vnode, to_offset, length,
                               to->fs.cred);
    });
}
