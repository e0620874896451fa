// ukfs put: from the host into an image. Owners, modes, times, extended attributes, hard links,
// holes and special files come along, as the format can hold them.
#include "ukfs/tool/commands.h"
#include "ukfs/tool/host_tree.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <fcntl.h>
#include <map>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <utility>

namespace rump::tool {
namespace {

class Putter {
public:
    explicit Putter(Session& session) : session_(session), buffer_(1 << 20) {}

    /// `name` within the host's directory `dir` goes to `to`; `shown` is its path, for messages.
    void tree(int dir, const std::string& name, const std::string& shown, const std::string& to) {
        struct stat status;
        if (::fstatat(dir, name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0)
            return host_failure(shown);
        if (S_ISDIR(status.st_mode)) return directory(dir, name, shown, to, status);
        if (status.st_nlink > 1) {
            auto [known, first] = copies_.try_emplace({status.st_dev, status.st_ino}, to);
            if (!first) {
                if (make_room(to))
                    session_.check(ukfs_link(fs(), known->second.c_str(), to.c_str()), to);
                return;
            }
        }
        if (!make_room(to)) return;
        if (S_ISREG(status.st_mode))
            file(dir, name, shown, to, status);
        else if (S_ISLNK(status.st_mode))
            symbolic_link(dir, name, shown, to, status);
        else if (session_.check(ukfs_mknod(fs(), to.c_str(), status.st_mode, major(status.st_rdev),
                                           minor(status.st_rdev)),
                                to))
            finish(to, status);
    }

    /// Standard input, to its end.
    void stream(const std::string& to) {
        ukfs_file* opened = nullptr;
        int flags = UKFS_WRITE | UKFS_CREATE | UKFS_TRUNCATE;
        if (!session_.check(ukfs_file_open(fs(), to.c_str(), flags, 0644, &opened), to)) return;
        UkfsFile target(opened);
        uint64_t offset = 0;
        for (;;) {
            ssize_t got = ::read(STDIN_FILENO, buffer_.data(), buffer_.size());
            if (got < 0 && errno == EINTR) continue;
            if (got < 0) return host_failure("standard input");
            if (got == 0 || !write(opened, to, static_cast<size_t>(got), offset)) return;
            offset += static_cast<uint64_t>(got);
        }
    }

private:
    ukfs* fs() const { return session_.fs(); }
    void host_failure(const std::string& shown) {
        session_.fail(fmt::format("{}: {}", shown, host_error(errno)));
    }

    bool make_room(const std::string& to) {
        int result = ukfs_unlink(fs(), to.c_str());
        return result == -ENOENT || session_.check(result, to);
    }

    void directory(int dir, const std::string& name, const std::string& shown,
                   const std::string& to, const struct stat& status) {
        Descriptor fd(::openat(dir, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
        if (!fd) return host_failure(shown);
        int made = ukfs_mkdir(fs(), to.c_str(), 0700);
        if (made == -EEXIST && session_.is_dir(to)) made = 0;
        if (!session_.check(made, to)) return;
        for (const std::string& entry : names_in(fd.get(), shown))
            tree(fd.get(), entry, join(shown, entry), join(to, entry));
        copy_xattrs(fd.get(), to);
        finish(to, status);
    }

    std::vector<std::string> names_in(int fd, const std::string& shown) {
        std::vector<std::string> names;
        Directory stream(::fdopendir(::dup(fd)));
        if (!stream) {
            host_failure(shown);
            return names;
        }
        for (;;) {
            errno = 0;
            const dirent* entry = ::readdir(stream.get());
            if (!entry) break;
            std::string_view name = entry->d_name;
            if (name != "." && name != "..") names.emplace_back(name);
        }
        if (errno) host_failure(shown);
        // The same host tree makes the same image, whatever order the host's directories have.
        std::sort(names.begin(), names.end());
        return names;
    }

    void symbolic_link(int dir, const std::string& name, const std::string& shown,
                       const std::string& to, const struct stat& status) {
        std::array<char, 4096> target;
        ssize_t length = ::readlinkat(dir, name.c_str(), target.data(), target.size());
        if (length < 0) return host_failure(shown);
        std::string text(target.data(), static_cast<size_t>(length));
        if (session_.check(ukfs_symlink(fs(), text.c_str(), to.c_str()), to)) finish(to, status);
    }

    void file(int dir, const std::string& name, const std::string& shown, const std::string& to,
              const struct stat& status) {
        Descriptor source(
            ::openat(dir, name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
        if (!source) return host_failure(shown);
        ukfs_file* opened = nullptr;
        int flags = UKFS_WRITE | UKFS_CREATE | UKFS_TRUNCATE;
        if (!session_.check(ukfs_file_open(fs(), to.c_str(), flags, 0600, &opened), to)) return;
        UkfsFile target(opened);
        if (!copy_data(source.get(), opened, shown, to)) return;
        struct stat after;
        // A hole at the end has only a length.
        if (::fstat(source.get(), &after) == 0)
            session_.check(ukfs_file_truncate(opened, static_cast<uint64_t>(after.st_size)), to);
        target.reset();
        copy_xattrs(source.get(), to);
        finish(to, status);
    }

    bool copy_data(int source, ukfs_file* target, const std::string& shown, const std::string& to) {
        off_t at = 0;
        for (;;) {
            off_t data = ::lseek(source, at, SEEK_DATA);
            if (data < 0 && errno == ENXIO) return true; // nothing but a hole is left
            off_t end = data < 0 ? -1 : ::lseek(source, data, SEEK_HOLE);
            if (data < 0) data = at; // a host file system that knows no holes
            for (at = data; end < 0 || at < end;) {
                size_t part = buffer_.size();
                if (end >= 0) part = std::min(part, static_cast<size_t>(end - at));
                ssize_t got = ::pread(source, buffer_.data(), part, at);
                if (got < 0 && errno == EINTR) continue;
                if (got < 0) {
                    host_failure(shown);
                    return false;
                }
                if (got == 0) return true;
                if (!write(target, to, static_cast<size_t>(got), static_cast<uint64_t>(at)))
                    return false;
                at += got;
            }
        }
    }

    bool write(ukfs_file* target, const std::string& to, size_t length, uint64_t offset) {
        for (size_t done = 0; done < length;) {
            int64_t put = ukfs_file_pwrite(target, &buffer_[done], length - done, offset + done);
            if (put == 0) put = -ENOSPC;
            if (!session_.check(put, to)) return false;
            done += static_cast<size_t>(put);
        }
        return true;
    }

    /// What the format cannot hold is not copied; that is worth one line, not one for each file.
    void copy_xattrs(int source, const std::string& to) {
        std::vector<char> names(65536), value(65536);
        ssize_t length = ::flistxattr(source, names.data(), names.size());
        for (ssize_t at = 0; at < length;) {
            std::string name(&names[static_cast<size_t>(at)]);
            at += static_cast<ssize_t>(name.size()) + 1;
            ssize_t size = ::fgetxattr(source, name.c_str(), value.data(), value.size());
            if (size < 0) continue;
            int result = ukfs_setxattr(fs(), to.c_str(), name.c_str(), value.data(),
                                       static_cast<size_t>(size), UKFS_NOFOLLOW);
            if (result == -EOPNOTSUPP || result == -EPERM) {
                if (!std::exchange(warned_, true))
                    complain(session_.common(),
                             fmt::format("{}: attribute {} cannot be stored, and maybe others", to,
                                         name));
                continue;
            }
            session_.check(result, to + ": " + name);
        }
    }

    void finish(const std::string& to, const struct stat& status) {
        ukfs_time atime = from_host(status.st_atim), mtime = from_host(status.st_mtim);
        int owned = ukfs_chown(fs(), to.c_str(), status.st_uid, status.st_gid, UKFS_NOFOLLOW);
        // Formats without owners refuse; that all files have one owner there is no news.
        if (owned != -EPERM) session_.check(owned, to);
        if (!S_ISLNK(status.st_mode))
            session_.check(ukfs_chmod(fs(), to.c_str(), status.st_mode & 07777), to);
        session_.check(ukfs_utimens(fs(), to.c_str(), &atime, &mtime, UKFS_NOFOLLOW), to);
    }

    Session& session_;
    std::vector<char> buffer_;
    std::map<std::pair<dev_t, ino_t>, std::string> copies_; // where the first name went
    bool warned_ = false;
};

} // namespace

int put(const Common& common, Paths paths) {
    if (paths.size() < 2) {
        complain(common, "put needs what to copy and where to");
        return exit_usage;
    }
    std::string target = std::move(paths.back());
    paths.pop_back();
    Session session(common, true);
    if (!session) return exit_failed;
    const std::optional<bool> into =
        session.goes_into(target, paths.size(), host_is_directory(paths[0]));
    if (!into) return session.finish();
    Putter putter(session);
    for (const std::string& path : paths) {
        if (path == "-") {
            putter.stream(target);
            continue;
        }
        // "put . /" and "put dir/ /" copy what is in the directory, with no name of its own.
        std::string name = base_name(path);
        bool contents =
            *into && (name == "." || name == ".." || name == "/" || path.ends_with('/'));
        putter.tree(AT_FDCWD, contents ? path + "/." : path, path,
                    *into && !contents ? join(target, name) : target);
    }
    return session.finish();
}

} // namespace rump::tool
