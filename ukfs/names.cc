// Names: making, removing, renaming, links, directories.
#include "ukfs/instance.h"

#include <cstring>

using namespace rump;
using namespace rump::ukfslib;

namespace {

/// Where a new entry goes. A trailing slash is right only for a directory: ENOENT, or EEXIST when
/// the name is there, as Linux answers.
Result<vfs::ParentOf> place_for(const ukfs& fs, const char* path, bool directory) {
    auto parent = vfs::namei_parent(fs.start, path, fs.cred);
    // The root, asked to be made.
    if (!parent.ok() && parent.error() == Errno::busy) return Errno::exist;
    if (!parent.ok()) return parent;
    if (parent->trailing_slash && !directory) {
        auto there = vfs::lookup(*parent->dir, parent->name, fs.cred);
        if (there.ok()) return Errno::exist;
        return there.error();
    }
    return parent;
}

int make_node(ukfs* fs, const char* path, const vfs::Make& make) {
    return call([&]() -> Result<void> {
        auto parent = TRY(place_for(*fs, path, false));
        TRY(vfs::create(*parent.dir, parent.name, make, fs->cred));
        return {};
    });
}

/// An entry that is to be removed or renamed away; with a trailing slash only a directory will do.
Result<vfs::ParentOf> entry_at(const ukfs& fs, const char* path) {
    auto parent = TRY(vfs::namei_parent(fs.start, path, fs.cred));
    if (parent.trailing_slash) {
        auto there = TRY(vfs::lookup(*parent.dir, parent.name, fs.cred));
        if (!there->is_dir()) return Errno::notdir;
    }
    return parent;
}

} // namespace

int ukfs_create(ukfs* fs, const char* path, uint32_t mode) {
    return make_node(fs, path, {.type = FileType::reg, .mode = mode & mode_permissions});
}

int ukfs_mknod(ukfs* fs, const char* path, uint32_t mode, uint32_t rdev_major,
               uint32_t rdev_minor) {
    FileType type = mode >> 12 ? mode_to_type(mode) : FileType::reg;
    if (type == FileType::unknown || type == FileType::dir || type == FileType::lnk ||
        type == FileType::wht)
        return -to_int(Errno::inval);
    return make_node(fs, path,
                     {.type = type,
                      .mode = mode & mode_permissions,
                      .rdev = {.major = rdev_major, .minor = rdev_minor}});
}

int ukfs_mkdir(ukfs* fs, const char* path, uint32_t mode) {
    return call([&]() -> Result<void> {
        auto parent = TRY(place_for(*fs, path, true));
        TRY(vfs::mkdir(*parent.dir, parent.name,
                       {.type = FileType::dir, .mode = mode & mode_permissions}, fs->cred));
        return {};
    });
}

int ukfs_symlink(ukfs* fs, const char* target, const char* path) {
    return call([&]() -> Result<void> {
        auto parent = TRY(place_for(*fs, path, false));
        TRY(vfs::symlink(*parent.dir, parent.name, target, fs->cred));
        return {};
    });
}

int ukfs_link(ukfs* fs, const char* from, const char* to) {
    return call([&]() -> Result<void> {
        auto target = TRY(find(*fs, from, vfs::FollowLast::no));
        auto parent = TRY(place_for(*fs, to, false));
        return vfs::link(*target, *parent.dir, parent.name, fs->cred);
    });
}

int ukfs_unlink(ukfs* fs, const char* path) {
    return call([&]() -> Result<void> {
        auto parent = TRY(entry_at(*fs, path));
        return vfs::unlink(*parent.dir, parent.name, fs->cred);
    });
}

int ukfs_rmdir(ukfs* fs, const char* path) {
    return call([&]() -> Result<void> {
        auto parent = TRY(vfs::namei_parent(fs->start, path, fs->cred));
        return vfs::rmdir(*parent.dir, parent.name, fs->cred);
    });
}

int ukfs_rename(ukfs* fs, const char* from, const char* to, int flags) {
    return call([&]() -> Result<void> {
        if (flags & ~(UKFS_RENAME_NOREPLACE | UKFS_RENAME_EXCHANGE)) return Errno::inval;
        if (flags == (UKFS_RENAME_NOREPLACE | UKFS_RENAME_EXCHANGE)) return Errno::inval;
        auto source = TRY(entry_at(*fs, from));
        auto target = TRY(vfs::namei_parent(fs->start, to, fs->cred));
        if (target.trailing_slash) {
            auto moved = TRY(vfs::lookup(*source.dir, source.name, fs->cred));
            if (!moved->is_dir()) return Errno::notdir;
        }
        auto mode = flags & UKFS_RENAME_EXCHANGE    ? vfs::RenameMode::exchange
                    : flags & UKFS_RENAME_NOREPLACE ? vfs::RenameMode::no_replace
                                                    : vfs::RenameMode::replace;
        return vfs::rename(*source.dir, source.name, *target.dir, target.name, mode, fs->cred);
    });
}

int64_t ukfs_readlink(ukfs* fs, const char* path, char* target, size_t size) {
    return call<int64_t>([&]() -> Result<size_t> {
        auto link = TRY(find(*fs, path, vfs::FollowLast::no));
        std::string text = TRY(vfs::readlink(*link));
        std::memcpy(target, text.data(), std::min(size, text.size()));
        return text.size();
    });
}

// --- reading directories ------------------------------------------------------------------------

namespace {

/// Entries of one call of vfs::readdir, kept until the directory is unlocked: the callback may use
/// the file system, and attributes need the entries' own locks.
class Batch {
public:
    static constexpr size_t limit = 128;

    bool add(const DirEntry& entry) {
        if (count_ == limit) return false;
        entries_[count_++] = {entry.number, entry.type, names_.size(), entry.name.size(),
                              entry.next_cookie};
        names_.insert(names_.end(), entry.name.begin(), entry.name.end());
        names_.push_back('\0');
        return true;
    }
    void clear() {
        count_ = 0;
        names_.clear();
    }

    struct Entry {
        InodeNumber number;
        FileType type;
        size_t name_at, name_length;
        uint64_t next_cookie;
    };
    std::span<const Entry> entries() const { return std::span(entries_).first(count_); }
    const char* name(const Entry& entry) const { return &names_[entry.name_at]; }

private:
    std::array<Entry, limit> entries_;
    size_t count_ = 0;
    std::vector<char> names_;
};

Result<int> hand_out(const ukfs& fs, Vnode& dir, const Batch& batch, bool attributes,
                     FunctionRef<int(const ukfs_dirent&)> entry) {
    for (const Batch::Entry& from : batch.entries()) {
        ukfs_dirent dirent{.ino = from.number.value(),
                           .type = static_cast<uint32_t>(from.type),
                           .name_length = static_cast<uint32_t>(from.name_length),
                           .name = batch.name(from),
                           .attributes = nullptr};
        struct ukfs_stat stat;
        if (attributes) {
            auto vnode = vfs::lookup(dir, {dirent.name, from.name_length}, fs.cred);
            auto attr = vnode.ok() ? vfs::getattr(**vnode) : Result<Attr>(vnode.error());
            if (attr.ok()) {
                to_c(*attr, stat);
                dirent.attributes = &stat;
            }
        }
        if (int stop = entry(dirent)) return stop;
    }
    return 0;
}

} // namespace

int ukfs_readdir(ukfs* fs, const char* path, int (*entry)(void*, const ukfs_dirent*), void* arg,
                 int flags) {
    return call([&]() -> Result<int> {
        auto dir = TRY(find(*fs, path, following(flags)));
        if (!dir->is_dir()) return Errno::notdir;
        TRY(vfs::access(*dir, vfs::may_read, fs->cred));
        Batch batch;
        uint64_t cookie = 0;
        for (;;) {
            batch.clear();
            auto read =
                vfs::readdir(*dir, cookie, [&](const DirEntry& found) { return batch.add(found); });
            // What came before the damage is handed out all the same.
            int stop = TRY(hand_out(*fs, *dir, batch, flags & UKFS_READDIR_ATTRIBUTES,
                                    [&](const ukfs_dirent& d) { return entry(arg, &d); }));
            if (stop) return stop;
            if (!read.ok()) return read.error();
            if (batch.entries().size() < Batch::limit) return 0;
            cookie = batch.entries().back().next_cookie;
        }
    });
}
