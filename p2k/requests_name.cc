// Requests that make, move and remove names.
#include "p2k/adapter.h"

#include <fcntl.h>
#include <sys/sysmacros.h>

namespace rump::p2k {

namespace {

vfs::Make to_make(fuse_req_t req, mode_t mode, FileType type) {
    return {.type = type,
            .mode = mode & mode_permissions,
            .umask = static_cast<uint32_t>(fuse_req_ctx(req)->umask)};
}

/// The type of a mode as mknod(2) takes it; unknown: none that mknod makes.
FileType made_type(mode_t mode) {
    if ((mode & S_IFMT) == 0) return FileType::reg;
    const FileType type = mode_to_type(mode);
    switch (type) {
    case FileType::reg:
    case FileType::fifo:
    case FileType::sock:
    case FileType::chr:
    case FileType::blk:
        return type;
    default:
        return FileType::unknown;
    }
}

} // namespace

void Adapter::Requests::mknod(fuse_req_t req, fuse_ino_t parent, const char* name, mode_t mode,
                              dev_t rdev) {
    answer(req, [&](Adapter& self) -> Result<void> {
        vfs::Make make = to_make(req, mode, made_type(mode));
        if (make.type == FileType::unknown) return Errno::inval;
        make.rdev = {.major = major(rdev), .minor = minor(rdev)};
        Vnode& dir = *TRY(self.node(parent));
        return self.reply_entry(req, TRY(vfs::create(dir, name, make, self.cred(req))));
    });
}

void Adapter::Requests::create(fuse_req_t req, fuse_ino_t parent, const char* name, mode_t mode,
                               fuse_file_info* file) {
    answer(req, [&](Adapter& self) -> Result<void> {
        // A file made by this request is one that the host announces the end of, too. Where it
        // opens without asking it makes the file by mknod then, once it has been told so.
        if (self.no_open_) return Errno::nosys;
        Vnode& dir = *TRY(self.node(parent));
        const Cred cred = self.cred(req);
        auto made = vfs::create(dir, name, to_make(req, mode, FileType::reg), cred);
        // Somebody else was first, and the caller does not mind.
        if (!made.ok() && made.error() == Errno::exist && !(file->flags & O_EXCL))
            made = vfs::lookup(dir, name, cred);
        const fuse_entry_param entry = TRY(self.make_entry(TRY(std::move(made))));
        file->keep_cache = 1;
        if (fuse_reply_create(req, &entry, file) != 0) self.nodes_.forget(entry.ino, 1);
        return {};
    });
}

void Adapter::Requests::mkdir(fuse_req_t req, fuse_ino_t parent, const char* name, mode_t mode) {
    answer(req, [&](Adapter& self) -> Result<void> {
        Vnode& dir = *TRY(self.node(parent));
        const vfs::Make make = to_make(req, mode, FileType::dir);
        return self.reply_entry(req, TRY(vfs::mkdir(dir, name, make, self.cred(req))));
    });
}

void Adapter::Requests::symlink(fuse_req_t req, const char* target, fuse_ino_t parent,
                                const char* name) {
    answer(req, [&](Adapter& self) -> Result<void> {
        Vnode& dir = *TRY(self.node(parent));
        return self.reply_entry(req, TRY(vfs::symlink(dir, name, target, self.cred(req))));
    });
}

void Adapter::Requests::link(fuse_req_t req, fuse_ino_t id, fuse_ino_t parent, const char* name) {
    answer(req, [&](Adapter& self) -> Result<void> {
        Vnode& target = *TRY(self.node(id));
        TRY(vfs::link(target, *TRY(self.node(parent)), name, self.cred(req)));
        return self.reply_entry(req, VnodeRef::to(target));
    });
}

void Adapter::Requests::unlink(fuse_req_t req, fuse_ino_t parent, const char* name) {
    answer(req, [&](Adapter& self) -> Result<void> {
        TRY(vfs::unlink(*TRY(self.node(parent)), name, self.cred(req)));
        fuse_reply_err(req, 0);
        return {};
    });
}

void Adapter::Requests::rmdir(fuse_req_t req, fuse_ino_t parent, const char* name) {
    answer(req, [&](Adapter& self) -> Result<void> {
        TRY(vfs::rmdir(*TRY(self.node(parent)), name, self.cred(req)));
        fuse_reply_err(req, 0);
        return {};
    });
}

void Adapter::Requests::rename(fuse_req_t req, fuse_ino_t parent, const char* name,
                               fuse_ino_t to_parent, const char* to_name, unsigned flags) {
    answer(req, [&](Adapter& self) -> Result<void> {
        vfs::RenameMode mode;
        switch (flags) {
        case 0:
            mode = vfs::RenameMode::replace;
            break;
        case RENAME_NOREPLACE:
            mode = vfs::RenameMode::no_replace;
            break;
        case RENAME_EXCHANGE:
            mode = vfs::RenameMode::exchange;
            break;
        default:
            return Errno::inval; // whiteouts, which no format of ours has
        }
        Vnode& from = *TRY(self.node(parent));
        Vnode& to = *TRY(self.node(to_parent));
        if (self.mount_.traits().owners) {
            TRY(vfs::rename(from, name, to, to_name, mode, self.cred(req)));
        } else {
            // Modes are not stored: the name may say what is executable, which the host cannot
            // know.
            const VnodeRef moved = TRY(vfs::lookup(from, name, self.cred(req)));
            const uint32_t before = TRY(vfs::getattr(*moved)).mode;
            TRY(vfs::rename(from, name, to, to_name, mode, self.cred(req)));
            if (TRY(vfs::getattr(*moved)).mode != before)
                self.host_.forget_attributes(self.nodes_.id_of(moved->number()));
        }
        fuse_reply_err(req, 0);
        return {};
    });
}

void Adapter::Requests::readlink(fuse_req_t req, fuse_ino_t id) {
    answer(req, [&](Adapter& self) -> Result<void> {
        const std::string target = TRY(vfs::readlink(*TRY(self.node(id))));
        fuse_reply_readlink(req, target.c_str());
        return {};
    });
}

} // namespace rump::p2k
