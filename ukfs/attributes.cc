// Attributes by path: stat, chmod, chown, times, size, flags, extended attributes.
#include "ukfs/instance.h"

using namespace rump;
using namespace rump::ukfslib;

namespace rump::ukfslib {

namespace {
ukfs_time to_c(Timespec time) { return {.sec = time.sec, .nsec = time.nsec}; }
} // namespace

void to_c(const Attr& attr, struct ukfs_stat& out) {
    out = {.ino = attr.number.value(),
           .generation = attr.generation,
           .mode = type_to_mode(attr.type) | attr.mode,
           .nlink = attr.nlink,
           .uid = attr.uid,
           .gid = attr.gid,
           .rdev_major = attr.rdev.major,
           .rdev_minor = attr.rdev.minor,
           .block_size = attr.block_size,
           .size = attr.size,
           .blocks = attr.blocks,
           .atime = to_c(attr.atime),
           .mtime = to_c(attr.mtime),
           .ctime = to_c(attr.ctime),
           .btime = to_c(attr.btime.value_or(Timespec{})),
           .flags = attr.flags};
}

} // namespace rump::ukfslib

namespace {

Result<void> stat_path(const ukfs& fs, const char* path, vfs::FollowLast follow,
                       struct ukfs_stat& out) {
    auto vnode = TRY(find(fs, path, follow));
    auto attr = TRY(vfs::getattr(*vnode));
    to_c(attr, out);
    return {};
}

int change_path(ukfs* fs, const char* path, int flags, const AttrChange& change) {
    return call([&]() -> Result<void> {
        auto vnode = TRY(find(*fs, path, following(flags)));
        TRY(vfs::setattr(*vnode, change, fs->cred));
        return {};
    });
}

bool valid(const ukfs_time* time) { return !time || time->nsec < 1'000'000'000; }

std::optional<Timespec> from_c(const ukfs_time* time) {
    if (!time) return std::nullopt;
    return Timespec{time->sec, time->nsec};
}

} // namespace

int ukfs_stat(ukfs* fs, const char* path, struct ukfs_stat* out) {
    return call([&] { return stat_path(*fs, path, vfs::FollowLast::yes, *out); });
}

int ukfs_lstat(ukfs* fs, const char* path, struct ukfs_stat* out) {
    return call([&] { return stat_path(*fs, path, vfs::FollowLast::no, *out); });
}

int ukfs_access(ukfs* fs, const char* path, int mode) {
    return call([&]() -> Result<void> {
        if (mode & ~7) return Errno::inval;
        auto vnode = TRY(find(*fs, path));
        return mode ? vfs::access(*vnode, static_cast<unsigned>(mode), fs->cred) : Result<void>{};
    });
}

int ukfs_chmod(ukfs* fs, const char* path, uint32_t mode) {
    return change_path(fs, path, 0, {.mode = mode & mode_permissions});
}

int ukfs_chown(ukfs* fs, const char* path, uint32_t uid, uint32_t gid, int flags) {
    AttrChange change;
    if (uid != UKFS_KEEP) change.uid = uid;
    if (gid != UKFS_KEEP) change.gid = gid;
    return change_path(fs, path, flags, change);
}

int ukfs_utimens(ukfs* fs, const char* path, const ukfs_time* atime, const ukfs_time* mtime,
                 int flags) {
    if (!valid(atime) || !valid(mtime)) return -to_int(Errno::inval);
    return change_path(fs, path, flags, {.atime = from_c(atime), .mtime = from_c(mtime)});
}

int ukfs_touch(ukfs* fs, const char* path, int flags) {
    return call([&]() -> Result<void> {
        auto vnode = TRY(find(*fs, path, following(flags)));
        TRY(vfs::touch(*vnode, true, true, fs->cred));
        return {};
    });
}

int ukfs_truncate(ukfs* fs, const char* path, uint64_t size) {
    return call([&]() -> Result<void> {
        auto vnode = TRY(find(*fs, path));
        TRY(vfs::access(*vnode, vfs::may_write, fs->cred));
        TRY(vfs::setattr(*vnode, {.size = size}, fs->cred));
        return {};
    });
}

int ukfs_set_flags(ukfs* fs, const char* path, uint64_t file_flags) {
    return change_path(fs, path, UKFS_NOFOLLOW, {.flags = file_flags});
}

int64_t ukfs_getxattr(ukfs* fs, const char* path, const char* name, void* value, size_t size,
                      int flags) {
    return call<int64_t>([&]() -> Result<size_t> {
        auto vnode = TRY(find(*fs, path, following(flags)));
        return vfs::getxattr(*vnode, name, {static_cast<std::byte*>(value), size}, fs->cred);
    });
}

int ukfs_setxattr(ukfs* fs, const char* path, const char* name, const void* value, size_t size,
                  int flags) {
    return call([&]() -> Result<void> {
        auto vnode = TRY(find(*fs, path, following(flags)));
        XattrSet how = flags & UKFS_XATTR_CREATE    ? XattrSet::create
                       : flags & UKFS_XATTR_REPLACE ? XattrSet::replace
                                                    : XattrSet::any;
        return vfs::setxattr(*vnode, name, {static_cast<const std::byte*>(value), size}, how,
                             fs->cred);
    });
}

int ukfs_removexattr(ukfs* fs, const char* path, const char* name, int flags) {
    return call([&]() -> Result<void> {
        auto vnode = TRY(find(*fs, path, following(flags)));
        return vfs::removexattr(*vnode, name, fs->cred);
    });
}

int ukfs_listxattr(ukfs* fs, const char* path, void (*name)(void*, const char*), void* arg,
                   int flags) {
    return call([&]() -> Result<void> {
        auto vnode = TRY(find(*fs, path, following(flags)));
        // Collected first: the callback may want the values, and the vnode is locked meanwhile.
        std::vector<std::string> names;
        TRY(vfs::listxattr(*vnode, fs->cred,
                           [&](std::string_view found) { names.emplace_back(found); }));
        for (const std::string& found : names) name(arg, found.c_str());
        return {};
    });
}
