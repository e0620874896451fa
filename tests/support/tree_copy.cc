// Copying trees between a mount and the host.
#include "tests/support/tree_copy.h"

#include <cstring>
#include <dirent.h>
#include <fcntl.h>
#include <iostream>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <vector>

namespace rump::test {

namespace {
const Cred root = Cred::superuser();
constexpr size_t piece = 1u << 20;

/// Other owners, devices and some attributes: an ordinary user copies what is left.
bool reserved_for_root(int error) { return error == EPERM && ::geteuid() != 0; }

} // namespace

void TreeCopy::fail(const std::string& what, int error) {
    ++failures_;
    std::cout << what << ": " << strerror(error) << "\n";
}

int TreeCopy::out(const std::string& to) {
    auto top = mount_.root();
    if (!good(top, "root")) return failures_;
    out_dir(**top, to);
    out_meta(**top, to);
    return failures_;
}

void TreeCopy::out_dir(Vnode& dir, const std::string& to) {
    std::vector<std::string> names;
    uint64_t cookie = 0;
    for (bool more = true; more;) { // in small batches, as a host would
        more = false;
        int room = 50;
        auto read = vfs::readdir(dir, cookie, [&](const DirEntry& e) {
            if (room-- == 0) {
                more = true;
                return false;
            }
            cookie = e.next_cookie;
            if (e.name != "." && e.name != "..") names.emplace_back(e.name);
            return true;
        });
        if (!good(read, to + ": readdir")) break;
    }
    for (const std::string& name : names) {
        auto node = vfs::lookup(dir, name, root);
        if (good(node, to + "/" + name)) out_node(**node, to + "/" + name);
    }
}

void TreeCopy::out_node(Vnode& node, const std::string& to) {
    auto attr = vfs::getattr(node);
    if (!good(attr, to)) return;
    const bool has_other_names = !node.is_dir() && attr->nlink > 1;
    const auto seen = seen_out_.find(node.number().value());
    if (has_other_names && seen != seen_out_.end()) {
        if (::link(seen->second.c_str(), to.c_str())) fail("link " + to, errno);
        return;
    }
    int made = 0;
    switch (node.type()) {
    case FileType::dir:
        made = ::mkdir(to.c_str(), 0700);
        if (!made) out_dir(node, to);
        break;
    case FileType::reg:
        out_file(node, to);
        break;
    case FileType::lnk: {
        auto target = vfs::readlink(node);
        if (good(target, to)) made = ::symlink(target->c_str(), to.c_str());
        break;
    }
    default:
        made = ::mknod(to.c_str(), type_to_mode(node.type()) | 0600,
                       makedev(attr->rdev.major, attr->rdev.minor));
    }
    if (made && reserved_for_root(errno)) return;
    if (made) fail(to, errno);
    if (has_other_names) seen_out_.emplace(node.number().value(), to);
    out_meta(node, to);
}

void TreeCopy::out_file(Vnode& node, const std::string& to) {
    const int fd = ::open(to.c_str(), O_WRONLY | O_CREAT | O_EXCL, 0600);
    if (fd < 0) return fail(to, errno);
    std::vector<std::byte> buffer(piece);
    auto attr = vfs::getattr(node);
    if (ftruncate(fd, static_cast<off_t>(attr->size))) fail(to, errno);
    for (uint64_t at = 0; at < attr->size;) {
        auto data = vfs::seek(node, at, Seek::data);
        if (!data && data.error() == Errno::nxio) break;
        auto hole = data ? vfs::seek(node, *data, Seek::hole) : data;
        if (!good(hole, to)) break;
        for (at = *data; at < *hole;) {
            auto got = vfs::read(node, at, std::span(buffer).first(std::min(piece, *hole - at)));
            if (!good(got, to)) break;
            if (*got == 0) break;
            if (pwrite(fd, buffer.data(), *got, static_cast<off_t>(at)) < 0) fail(to, errno);
            at += *got;
        }
        if (at < *hole) break;
    }
    ::close(fd);
}

void TreeCopy::out_meta(Vnode& node, const std::string& to) {
    auto attr = vfs::getattr(node);
    if (::lchown(to.c_str(), attr->uid, attr->gid) && !reserved_for_root(errno)) fail(to, errno);
    std::vector<std::string> names;
    auto listed =
        vfs::listxattr(node, root, [&](std::string_view name) { names.emplace_back(name); });
    for (const std::string& name : names) {
        std::vector<std::byte> value(65536);
        auto size = vfs::getxattr(node, name, value, root);
        if (good(size, to + ": " + name) &&
            lsetxattr(to.c_str(), name.c_str(), value.data(), *size, 0) &&
            !reserved_for_root(errno))
            fail(to + ": " + name, errno);
    }
    good(listed, to);
    if (node.type() != FileType::lnk && ::chmod(to.c_str(), attr->mode)) fail(to, errno);
    const timespec times[2] = {{attr->atime.sec, attr->atime.nsec},
                               {attr->mtime.sec, attr->mtime.nsec}};
    if (utimensat(AT_FDCWD, to.c_str(), times, AT_SYMLINK_NOFOLLOW)) fail(to, errno);
}

int TreeCopy::in(const std::string& from) {
    auto top = mount_.root();
    if (!good(top, "root")) return failures_;
    in_dir(**top, from);
    in_meta(**top, from);
    seen_in_.clear();
    return failures_;
}

void TreeCopy::in_dir(Vnode& dir, const std::string& from) {
    DIR* d = ::opendir(from.c_str());
    if (!d) return fail(from, errno);
    std::vector<std::string> names;
    while (const dirent* e = ::readdir(d))
        if (strcmp(e->d_name, ".") && strcmp(e->d_name, "..")) names.emplace_back(e->d_name);
    ::closedir(d);
    for (const std::string& name : names)
        if (name != "lost+found") in_node(dir, name, from + "/" + name);
}

void TreeCopy::in_node(Vnode& dir, const std::string& name, const std::string& from) {
    struct stat st;
    if (::lstat(from.c_str(), &st)) return fail(from, errno);
    if (auto it = seen_in_.find(st.st_ino); it != seen_in_.end()) {
        good(vfs::link(*it->second, dir, name, root), from);
        return;
    }
    vfs::Make make;
    make.type = mode_to_type(st.st_mode);
    make.mode = st.st_mode & 07777;
    make.rdev = {major(st.st_rdev), minor(st.st_rdev)};
    Result<VnodeRef> made = Errno::inval;
    if (S_ISDIR(st.st_mode)) {
        made = vfs::mkdir(dir, name, make, root);
    } else if (S_ISLNK(st.st_mode)) {
        std::string target(4096, '\0');
        target.resize(static_cast<size_t>(::readlink(from.c_str(), target.data(), 4095)));
        made = vfs::symlink(dir, name, target, root);
    } else {
        make.type = S_ISREG(st.st_mode) ? FileType::reg : make.type;
        made = vfs::create(dir, name, make, root);
    }
    if (!good(made, from)) return;
    if (S_ISDIR(st.st_mode)) in_dir(**made, from);
    if (S_ISREG(st.st_mode)) in_file(**made, from);
    in_meta(**made, from);
    if (!S_ISDIR(st.st_mode) && st.st_nlink > 1) seen_in_[st.st_ino] = *made;
}

void TreeCopy::in_file(Vnode& node, const std::string& from) {
    const int fd = ::open(from.c_str(), O_RDONLY);
    if (fd < 0) return fail(from, errno);
    std::vector<std::byte> buffer(piece);
    struct stat st;
    ::fstat(fd, &st);
    AttrChange size;
    size.size = static_cast<uint64_t>(st.st_size);
    good(vfs::setattr(node, size, root), from);
    for (off_t at = 0; at < st.st_size;) {
        const off_t data = lseek(fd, at, SEEK_DATA);
        if (data < 0) break;
        const off_t hole = lseek(fd, data, SEEK_HOLE);
        for (at = data; at < hole;) {
            const ssize_t got = pread(fd, buffer.data(),
                                      std::min<size_t>(piece, static_cast<size_t>(hole - at)), at);
            if (got <= 0) break;
            auto put = vfs::write(node, static_cast<uint64_t>(at),
                                  std::span(buffer).first(static_cast<size_t>(got)), root);
            if (!good(put, from)) break;
            at += got;
        }
        if (at < hole) break;
    }
    ::close(fd);
}

void TreeCopy::in_meta(Vnode& node, const std::string& from) {
    struct stat st;
    if (::lstat(from.c_str(), &st)) return fail(from, errno);
    std::vector<char> names(65536);
    const ssize_t size = llistxattr(from.c_str(), names.data(), names.size());
    for (const char* n = names.data(); n < names.data() + std::max<ssize_t>(size, 0);
         n += strlen(n) + 1) {
        std::vector<std::byte> value(65536);
        const ssize_t got = lgetxattr(from.c_str(), n, value.data(), value.size());
        if (got < 0) continue;
        good(vfs::setxattr(node, n, std::span(value).first(static_cast<size_t>(got)), XattrSet::any,
                           root),
             from + ": " + n);
    }
    AttrChange change;
    if (mount_.traits().owners) {
        change.uid = st.st_uid;
        change.gid = st.st_gid;
    }
    if (!S_ISLNK(st.st_mode)) change.mode = st.st_mode & 07777;
    change.atime = Timespec{st.st_atim.tv_sec, static_cast<uint32_t>(st.st_atim.tv_nsec)};
    change.mtime = Timespec{st.st_mtim.tv_sec, static_cast<uint32_t>(st.st_mtim.tv_nsec)};
    good(vfs::setattr(node, change, root), from);
}

} // namespace rump::test
