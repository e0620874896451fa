// ukfs get: from an image to the host. The image may be hostile: nothing is written outside the
// target, for every step is taken from a descriptor of its directory and no symbolic link is
// followed below it.
#include "ukfs/tool/commands.h"
#include "ukfs/tool/host_tree.h"

#include <fmt/format.h>

#include <fcntl.h>
#include <map>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <utility>

namespace rump::tool {
namespace {

class Getter {
public:
    explicit Getter(Session& session)
        : session_(session), buffer_(1 << 20), privileged_(::geteuid() == 0) {}

    /// `from` goes to `name` in the host's directory `dir`; `shown` is its path, for messages.
    void tree(const std::string& from, const struct ukfs_stat& a, int dir, const std::string& name,
              const std::string& shown) {
        if (is_dir_mode(a.mode)) return directory(from, a, dir, name, shown);
        if (linked(a, dir, name, shown)) return;
        if (::unlinkat(dir, name.c_str(), 0) != 0 && errno != ENOENT) return host_failure(shown);
        if (is_reg_mode(a.mode))
            file(from, a, dir, name, shown);
        else if (is_link_mode(a.mode))
            symbolic_link(from, a, dir, name, shown);
        else
            node(from, a, dir, name, shown);
    }

private:
    ukfs* fs() const { return session_.fs(); }
    void host_failure(const std::string& shown) {
        session_.fail(fmt::format("{}: {}", shown, host_error(errno)));
    }

    /// A further name of a file that is on the host already.
    bool linked(const struct ukfs_stat& a, int dir, const std::string& name,
                const std::string& shown) {
        if (a.nlink < 2) return false;
        auto known = copies_.find(a.ino);
        if (known == copies_.end()) return false;
        struct stat there;
        // Only to what this run has made, should somebody have changed the target meanwhile.
        if (::lstat(known->second.path.c_str(), &there) != 0 || there.st_dev != known->second.dev ||
            there.st_ino != known->second.ino)
            return false;
        if (::unlinkat(dir, name.c_str(), 0) != 0 && errno != ENOENT) {
            host_failure(shown);
            return true;
        }
        if (::linkat(AT_FDCWD, known->second.path.c_str(), dir, name.c_str(), 0) != 0)
            host_failure(shown);
        return true;
    }

    void remember(const struct ukfs_stat& a, int dir, const std::string& name,
                  const std::string& shown) {
        struct stat made;
        if (a.nlink > 1 && ::fstatat(dir, name.c_str(), &made, AT_SYMLINK_NOFOLLOW) == 0)
            copies_[a.ino] = {shown, made.st_dev, made.st_ino};
    }

    void directory(const std::string& from, const struct ukfs_stat& a, int dir,
                   const std::string& name, const std::string& shown) {
        if (!session_.first_visit(a, from)) return;
        if (::mkdirat(dir, name.c_str(), 0700) != 0 && errno != EEXIST) return host_failure(shown);
        Descriptor fd(::openat(dir, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
        if (!fd) return host_failure(shown);
        contents(from, a, fd.get(), shown);
    }

public:
    /// What is in the directory `from` goes into the host's directory `fd`, which gets its
    /// attributes.
    void contents(const std::string& from, const struct ukfs_stat& a, int fd,
                  const std::string& shown) {
        for (const auto& entry : session_.entries(from)) {
            if (!entry.attributes.mode) continue; // complained about
            if (entry.name.find('/') != entry.name.npos) {
                session_.fail(fmt::format("{}: an entry with a slash in its name", from));
                continue;
            }
            tree(join(from, entry.name), entry.attributes, fd, entry.name, join(shown, entry.name));
        }
        copy_xattrs(from, fd, shown);
        finish_open(a, fd, shown);
    }

    bool write_all(int fd, size_t length, off_t offset, const std::string& shown) {
        for (size_t done = 0; done < length;) {
            ssize_t put = offset < 0 ? ::write(fd, &buffer_[done], length - done)
                                     : ::pwrite(fd, &buffer_[done], length - done,
                                                offset + static_cast<off_t>(done));
            if (put < 0 && errno == EINTR) continue;
            if (put < 0) {
                host_failure(shown);
                return false;
            }
            done += static_cast<size_t>(put);
        }
        return true;
    }

private:
    void file(const std::string& from, const struct ukfs_stat& a, int dir, const std::string& name,
              const std::string& shown) {
        ukfs_file* opened = nullptr;
        if (!session_.check(ukfs_file_open(fs(), from.c_str(), UKFS_READ, 0, &opened), from))
            return;
        UkfsFile source(opened);
        constexpr int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
        Descriptor target(::openat(dir, name.c_str(), flags, 0600));
        if (!target) return host_failure(shown);
        if (!copy_data(opened, target.get(), from, a.size, shown)) return;
        if (::ftruncate(target.get(), static_cast<off_t>(a.size)) != 0) return host_failure(shown);
        copy_xattrs(from, target.get(), shown);
        finish_open(a, target.get(), shown);
        remember(a, dir, name, shown);
    }

    bool copy_data(ukfs_file* source, int target, const std::string& from, uint64_t size,
                   const std::string& shown) {
        uint64_t at = 0;
        while (at < size) {
            int64_t data = ukfs_file_seek(source, at, 0);
            if (data == -ENXIO) return true; // nothing but a hole is left
            int64_t end = data < 0 ? data : ukfs_file_seek(source, static_cast<uint64_t>(data), 1);
            if (!session_.check(end, from)) return false;
            for (at = static_cast<uint64_t>(data); at < static_cast<uint64_t>(end);) {
                size_t part = std::min<uint64_t>(buffer_.size(), static_cast<uint64_t>(end) - at);
                int64_t got = ukfs_file_pread(source, buffer_.data(), part, at);
                if (!session_.check(got, from)) return false;
                if (got == 0) return true;
                if (!write_all(target, static_cast<size_t>(got), static_cast<off_t>(at), shown))
                    return false;
                at += static_cast<uint64_t>(got);
            }
        }
        return true;
    }

    void symbolic_link(const std::string& from, const struct ukfs_stat& a, int dir,
                       const std::string& name, const std::string& shown) {
        std::string target = link_target(session_, from);
        if (target.empty()) return;
        if (::symlinkat(target.c_str(), dir, name.c_str()) != 0) return host_failure(shown);
        finish_named(a, dir, name, shown);
        remember(a, dir, name, shown);
    }

    void node(const std::string& from, const struct ukfs_stat& a, int dir, const std::string& name,
              const std::string& shown) {
        bool device = (a.mode & 0170000) == 0020000 || (a.mode & 0170000) == 0060000;
        if (device && !privileged_) {
            session_.fail(fmt::format("{}: only root can make device nodes", from));
            return;
        }
        if (::mknodat(dir, name.c_str(), a.mode, makedev(a.rdev_major, a.rdev_minor)) != 0)
            return host_failure(shown);
        finish_named(a, dir, name, shown);
        remember(a, dir, name, shown);
    }

    /// Owner first: a change of owner takes set-id bits away. They stay away when the owner is not
    /// ours to give: a set-user-ID program must not become the user's who copied it.
    void finish_open(const struct ukfs_stat& a, int fd, const std::string& shown) {
        bool owned = privileged_ && ::fchown(fd, a.uid, a.gid) == 0;
        mode_t mode = a.mode & (owned ? 07777 : 01777);
        if (::fchmod(fd, mode) != 0) host_failure(shown);
        const timespec times[] = {to_host(a.atime), to_host(a.mtime)};
        if (::futimens(fd, times) != 0) host_failure(shown);
    }

    void finish_named(const struct ukfs_stat& a, int dir, const std::string& name,
                      const std::string& shown) {
        if (privileged_ && ::fchownat(dir, name.c_str(), a.uid, a.gid, AT_SYMLINK_NOFOLLOW) != 0)
            host_failure(shown);
        // The umask has taken bits from a node's mode; it is no link, so this changes the node
        // itself.
        if (!is_link_mode(a.mode) && ::fchmodat(dir, name.c_str(), a.mode & 0777, 0) != 0)
            host_failure(shown);
        const timespec times[] = {to_host(a.atime), to_host(a.mtime)};
        if (::utimensat(dir, name.c_str(), times, AT_SYMLINK_NOFOLLOW) != 0) host_failure(shown);
    }

    void copy_xattrs(const std::string& from, int target, const std::string& shown) {
        session_.each_xattr(from, [&](const std::string& name, std::span<const char> value) {
            if (::fsetxattr(target, name.c_str(), value.data(), value.size(), 0) == 0) return;
            // What the host or the user's rights do not allow is worth one line in all.
            if (!std::exchange(warned_, true))
                complain(session_.common(), fmt::format("{}: attribute {}: {}, and maybe others",
                                                        shown, name, host_error(errno)));
        });
    }

    struct Copy {
        std::string path;
        dev_t dev = 0;
        ino_t ino = 0;
    };
    Session& session_;
    std::vector<char> buffer_;
    const bool privileged_;
    std::map<uint64_t, Copy> copies_; // by inode number: where the first name went
    bool warned_ = false;
};

} // namespace

int get(const Common& common, Paths paths) {
    if (paths.size() == 1) paths.emplace_back(".");
    if (paths.size() < 2) {
        complain(common, "get needs what to copy");
        return exit_usage;
    }
    std::string target = std::move(paths.back());
    paths.pop_back();
    if (target == "-") return print_contents(common, paths);
    Session session(common, false);
    if (!session) return exit_failed;
    bool into = host_is_directory(target);
    if (!into && (paths.size() > 1 || (target.ends_with('/') && !session.is_dir(paths[0])))) {
        const bool there = ::access(target.c_str(), F_OK) == 0;
        session.fail(fmt::format("{}: {}", target, host_error(there ? ENOTDIR : errno)));
        return session.finish();
    }
    Getter getter(session);
    for (const std::string& path : paths) {
        struct ukfs_stat attributes;
        if (!session.check(ukfs_lstat(session.fs(), path.c_str(), &attributes), path)) continue;
        session.forget_visits();
        std::string name = base_name(path);
        bool unnamed = name == "/" || name == "." || name == ".." || path.ends_with('/');
        if (into && unnamed && is_dir_mode(attributes.mode)) {
            // "get / dir" copies what is in the directory, with no name of its own.
            Descriptor fd(::open(target.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
            if (!fd)
                session.fail(fmt::format("{}: {}", target, host_error(errno)));
            else if (session.first_visit(attributes, path))
                getter.contents(path, attributes, fd.get(), target);
            continue;
        }
        std::string to = into ? join(target, name) : target;
        getter.tree(path, attributes, AT_FDCWD, to, to);
    }
    return session.finish();
}

} // namespace rump::tool
