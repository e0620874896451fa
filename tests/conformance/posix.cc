// System calls in place of the kernel's operations. One call of the suite is one system call where
// there is one, so that the errno is the one that a program would see.
#include "tests/conformance/posix.h"

#include <cstring>
#include <dirent.h>
#include <grp.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdexcept>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

namespace rump::conformance {

namespace {

Errno last_error() { return errno_from_host(errno); }
Result<void> done(int returned) {
    return returned < 0 ? Result<void>(last_error()) : Result<void>();
}

/// Acts as another user for the length of a scope; only root can.
class ActAs {
public:
    explicit ActAs(const User& user) : switched_(user.uid != 0 && getuid() == 0) {
        if (!switched_) return;
        if (setgroups(user.groups.size(), user.groups.data()) != 0 || setegid(user.gid) != 0 ||
            seteuid(user.uid) != 0)
            throw std::runtime_error("cannot become another user");
    }
    ~ActAs() {
        if (!switched_) return;
        const int saved = errno;
        if (seteuid(0) != 0 || setegid(0) != 0 || setgroups(0, nullptr) != 0) std::abort();
        errno = saved;
    }
    ActAs(const ActAs&) = delete;
    ActAs& operator=(const ActAs&) = delete;

private:
    const bool switched_;
};

class Descriptor {
public:
    explicit Descriptor(int fd) : fd_(fd) {}
    ~Descriptor() {
        const int saved = errno;
        if (fd_ >= 0) ::close(fd_);
        errno = saved;
    }
    Descriptor(const Descriptor&) = delete;
    Descriptor& operator=(const Descriptor&) = delete;
    int get() const { return fd_; }
    bool ok() const { return fd_ >= 0; }
    int release() { return std::exchange(fd_, -1); }

private:
    int fd_;
};

Timespec from_statx(const statx_timestamp& t) { return {t.tv_sec, t.tv_nsec}; }

Result<Attr> attributes(int at, const char* path, int flags) {
    struct statx s {};
    if (::statx(at, path, flags | AT_STATX_SYNC_AS_STAT, STATX_BASIC_STATS | STATX_BTIME, &s) != 0)
        return last_error();
    Attr attr;
    attr.number = InodeNumber(s.stx_ino);
    attr.type = mode_to_type(s.stx_mode);
    attr.mode = s.stx_mode & mode_permissions;
    attr.nlink = s.stx_nlink;
    attr.uid = s.stx_uid;
    attr.gid = s.stx_gid;
    attr.rdev = {s.stx_rdev_major, s.stx_rdev_minor};
    attr.size = s.stx_size;
    attr.blocks = s.stx_blocks;
    attr.block_size = s.stx_blksize;
    attr.atime = from_statx(s.stx_atime);
    attr.mtime = from_statx(s.stx_mtime);
    attr.ctime = from_statx(s.stx_ctime);
    if (s.stx_mask & STATX_BTIME) attr.btime = from_statx(s.stx_btime);
    return attr;
}

class PosixFile final : public OpenFile {
public:
    PosixFile(int fd, const User& user) : fd_(fd), user_(user) {}

    Result<std::string> pread(uint64_t offset, size_t length) override {
        std::string out(length, '\0');
        const ssize_t n = ::pread(fd_.get(), out.data(), length, static_cast<off_t>(offset));
        if (n < 0) return last_error();
        out.resize(static_cast<size_t>(n));
        return out;
    }
    Result<size_t> pwrite(uint64_t offset, std::string_view data) override {
        ActAs act(user_);
        const ssize_t n = ::pwrite(fd_.get(), data.data(), data.size(), static_cast<off_t>(offset));
        if (n < 0) return last_error();
        return static_cast<size_t>(n);
    }
    Result<size_t> append(std::string_view data) override {
        ActAs act(user_);
        const ssize_t n = ::write(fd_.get(), data.data(), data.size());
        if (n < 0) return last_error();
        return static_cast<size_t>(n);
    }
    Result<Attr> stat() override { return attributes(fd_.get(), "", AT_EMPTY_PATH); }
    Result<void> truncate(uint64_t size) override {
        ActAs act(user_);
        return done(::ftruncate(fd_.get(), static_cast<off_t>(size)));
    }
    Result<void> sync(bool data_only) override {
        return done(data_only ? ::fdatasync(fd_.get()) : ::fsync(fd_.get()));
    }
    Result<void> flush() override {
        Descriptor copy(::dup(fd_.get()));
        return copy.ok() ? done(::close(copy.release())) : Result<void>(last_error());
    }
    Result<uint64_t> seek(uint64_t offset, Seek what) override {
        const off_t at = ::lseek(fd_.get(), static_cast<off_t>(offset),
                                 what == Seek::data ? SEEK_DATA : SEEK_HOLE);
        if (at < 0) return last_error();
        return static_cast<uint64_t>(at);
    }
    Result<void> fallocate(vfs::Fallocate mode, uint64_t offset, uint64_t length) override {
        int flags = 0;
        switch (mode) {
        case vfs::Fallocate::allocate:
            break;
        case vfs::Fallocate::keep_size:
            flags = FALLOC_FL_KEEP_SIZE;
            break;
        case vfs::Fallocate::punch_hole:
            flags = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
            break;
        case vfs::Fallocate::zero_range:
            flags = FALLOC_FL_ZERO_RANGE;
            break;
        case vfs::Fallocate::zero_keep_size:
            flags = FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE;
            break;
        }
        ActAs act(user_);
        return done(
            ::fallocate(fd_.get(), flags, static_cast<off_t>(offset), static_cast<off_t>(length)));
    }
    Result<uint64_t> copy_to(uint64_t offset, OpenFile& to, uint64_t to_offset,
                             uint64_t length) override {
        auto from_at = static_cast<off64_t>(offset);
        auto to_at = static_cast<off64_t>(to_offset);
        ActAs act(user_);
        const ssize_t n = ::copy_file_range(
            fd_.get(), &from_at, static_cast<PosixFile&>(to).fd_.get(), &to_at, length, 0);
        if (n < 0) return last_error();
        return static_cast<uint64_t>(n);
    }

private:
    Descriptor fd_;
    const User user_; // who opened it goes on using it
};

class PosixDir final : public OpenDir {
public:
    explicit PosixDir(int fd) : fd_(fd) {}

    Result<std::vector<DirItem>> next() override {
        alignas(8) char buffer[1024]; // small, so that reading goes in many steps
        const long n = ::syscall(SYS_getdents64, fd_.get(), buffer, sizeof buffer);
        if (n < 0) return last_error();
        std::vector<DirItem> items;
        for (long at = 0; at < n;) {
            uint64_t number;
            int64_t cookie;
            uint16_t length;
            std::memcpy(&number, buffer + at, 8);
            std::memcpy(&cookie, buffer + at + 8, 8);
            std::memcpy(&length, buffer + at + 16, 2);
            items.push_back({buffer + at + 19, static_cast<FileType>(buffer[at + 18]), number,
                             static_cast<uint64_t>(cookie)});
            at += length;
        }
        return items;
    }
    Result<void> seek(uint64_t cookie) override {
        return ::lseek(fd_.get(), static_cast<off_t>(cookie), SEEK_SET) < 0
                   ? Result<void>(last_error())
                   : Result<void>();
    }

private:
    Descriptor fd_;
};

class PosixBackend final : public Backend {
public:
    PosixBackend(Volume::Driver driver, Target& target, ImageKind kind)
        : volume_(driver, target, kind), traits_(target.traits()) {
        ::umask(0);
    }

    bool can_switch_user() const override { return getuid() == 0; }
    bool can_remount() const override { return volume_.driver() == Volume::Driver::host; }
    bool is_direct() const override { return false; }
    bool is_ours() const override { return volume_.driver() == Volume::Driver::daemon; }
    bool asks_at_open() const override { return !is_ours(); }
    int write_through() const override { return is_ours() ? O_DIRECT : 0; }
    Result<std::unique_ptr<OpenFile>> open(const User& user, std::string_view path, int flags,
                                           uint32_t mode) override {
        ActAs act(user);
        const int fd = ::open(host(path).c_str(), flags | O_CLOEXEC | O_NONBLOCK, mode);
        if (fd < 0) return last_error();
        return std::unique_ptr<OpenFile>(std::make_unique<PosixFile>(fd, user));
    }
    Result<std::unique_ptr<OpenDir>> opendir(const User& user, std::string_view path) override {
        ActAs act(user);
        const int fd = ::open(host(path).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0) return last_error();
        return std::unique_ptr<OpenDir>(std::make_unique<PosixDir>(fd));
    }
    Result<Attr> stat(const User& user, std::string_view path, bool follow) override {
        ActAs act(user);
        return attributes(AT_FDCWD, host(path).c_str(), follow ? 0 : AT_SYMLINK_NOFOLLOW);
    }
    Result<void> mkdir(const User& user, std::string_view path, uint32_t mode) override {
        ActAs act(user);
        return done(::mkdir(host(path).c_str(), mode));
    }
    Result<void> mknod(const User& user, std::string_view path, FileType type, uint32_t mode,
                       DeviceNumber device) override {
        ActAs act(user);
        return done(::mknod(host(path).c_str(), type_to_mode(type) | mode,
                            makedev(device.major, device.minor)));
    }
    Result<void> symlink(const User& user, std::string_view to, std::string_view path) override {
        ActAs act(user);
        return done(::symlink(std::string(to).c_str(), host(path).c_str()));
    }
    Result<std::string> readlink(const User& user, std::string_view path) override {
        ActAs act(user);
        std::string out(8192, '\0');
        const ssize_t n = ::readlink(host(path).c_str(), out.data(), out.size());
        if (n < 0) return last_error();
        out.resize(static_cast<size_t>(n));
        return out;
    }
    Result<void> link(const User& user, std::string_view from, std::string_view to) override {
        ActAs act(user);
        return done(::link(host(from).c_str(), host(to).c_str()));
    }
    Result<void> unlink(const User& user, std::string_view path) override {
        ActAs act(user);
        return done(::unlink(host(path).c_str()));
    }
    Result<void> rmdir(const User& user, std::string_view path) override {
        ActAs act(user);
        return done(::rmdir(host(path).c_str()));
    }
    Result<void> rename(const User& user, std::string_view from, std::string_view to,
                        vfs::RenameMode mode) override {
        ActAs act(user);
        const unsigned flags = mode == vfs::RenameMode::no_replace ? RENAME_NOREPLACE
                               : mode == vfs::RenameMode::exchange ? RENAME_EXCHANGE
                                                                   : 0;
        return done(::renameat2(AT_FDCWD, host(from).c_str(), AT_FDCWD, host(to).c_str(), flags));
    }
    Result<void> chmod(const User& user, std::string_view path, uint32_t mode) override {
        ActAs act(user);
        return done(::chmod(host(path).c_str(), mode));
    }
    Result<void> chown(const User& user, std::string_view path, uint32_t uid, uint32_t gid,
                       bool follow) override {
        ActAs act(user);
        return done(
            ::fchownat(AT_FDCWD, host(path).c_str(), uid, gid, follow ? 0 : AT_SYMLINK_NOFOLLOW));
    }
    Result<void> utimes(const User& user, std::string_view path, SetTime atime, SetTime mtime,
                        bool follow) override {
        ActAs act(user);
        const struct timespec times[2] = {to_timespec(atime), to_timespec(mtime)};
        return done(
            ::utimensat(AT_FDCWD, host(path).c_str(), times, follow ? 0 : AT_SYMLINK_NOFOLLOW));
    }
    Result<void> truncate(const User& user, std::string_view path, uint64_t size) override {
        ActAs act(user);
        return done(::truncate(host(path).c_str(), static_cast<off_t>(size)));
    }
    Result<void> access(const User& user, std::string_view path, unsigned want) override {
        ActAs act(user);
        return done(::faccessat(AT_FDCWD, host(path).c_str(), static_cast<int>(want), AT_EACCESS));
    }
    Result<FileFlags> flags(const User& user, std::string_view path) override {
        ActAs act(user);
        Descriptor fd(::open(host(path).c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
        long flags = 0;
        if (!fd.ok() || ::ioctl(fd.get(), FS_IOC_GETFLAGS, &flags) != 0) return last_error();
        return static_cast<FileFlags>(flags);
    }
    Result<void> set_flags(const User& user, std::string_view path, FileFlags flags) override {
        ActAs act(user);
        Descriptor fd(::open(host(path).c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
        long raw = static_cast<long>(flags);
        if (!fd.ok() || ::ioctl(fd.get(), FS_IOC_SETFLAGS, &raw) != 0) return last_error();
        return {};
    }
    Result<std::string> getxattr(const User& user, std::string_view path, const std::string& name,
                                 std::optional<size_t> room) override {
        ActAs act(user);
        const std::string file = host(path);
        std::string out(room.value_or(xattr_value_max), '\0');
        const ssize_t n = ::lgetxattr(file.c_str(), name.c_str(), out.data(), out.size());
        if (n < 0) return last_error();
        out.resize(static_cast<size_t>(n));
        return out;
    }
    Result<void> setxattr(const User& user, std::string_view path, const std::string& name,
                          std::string_view value, XattrSet how) override {
        ActAs act(user);
        const int flags = how == XattrSet::create    ? XATTR_CREATE
                          : how == XattrSet::replace ? XATTR_REPLACE
                                                     : 0;
        return done(
            ::lsetxattr(host(path).c_str(), name.c_str(), value.data(), value.size(), flags));
    }
    Result<void> removexattr(const User& user, std::string_view path,
                             const std::string& name) override {
        ActAs act(user);
        return done(::lremovexattr(host(path).c_str(), name.c_str()));
    }
    Result<std::vector<std::string>> listxattr(const User& user, std::string_view path) override {
        ActAs act(user);
        std::string buffer(xattr_value_max, '\0');
        const ssize_t n = ::llistxattr(host(path).c_str(), buffer.data(), buffer.size());
        if (n < 0) return last_error();
        std::vector<std::string> names;
        for (size_t at = 0; at < static_cast<size_t>(n); at += names.back().size() + 1)
            names.emplace_back(buffer.c_str() + at);
        return names;
    }
    Result<StatVfs> statvfs() override {
        struct statvfs s {};
        if (::statvfs(volume_.path().c_str(), &s) != 0) return last_error();
        StatVfs out;
        out.block_size = static_cast<uint32_t>(s.f_bsize);
        out.fragment_size = static_cast<uint32_t>(s.f_frsize);
        out.blocks = s.f_blocks;
        out.blocks_free = s.f_bfree;
        out.blocks_available = s.f_bavail;
        out.files = s.f_files;
        out.files_free = s.f_ffree;
        out.name_max = static_cast<uint32_t>(s.f_namemax);
        return out;
    }
    Result<void> sync() override {
        Descriptor fd(::open(volume_.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
        if (!fd.ok()) return last_error();
        return done(::syncfs(fd.get()));
    }

    Result<std::string> handle(const User& user, std::string_view path) override {
        ActAs act(user);
        alignas(file_handle) char buffer[sizeof(file_handle) + MAX_HANDLE_SZ] = {};
        auto* raw = reinterpret_cast<file_handle*>(buffer);
        raw->handle_bytes = MAX_HANDLE_SZ;
        int mount_id = 0;
        if (::name_to_handle_at(AT_FDCWD, host(path).c_str(), raw, &mount_id, 0) != 0)
            return last_error();
        return std::string(buffer, sizeof(file_handle) + raw->handle_bytes);
    }
    Result<Attr> stat_handle(const std::string& handle) override {
        Descriptor mount(::open(volume_.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
        if (!mount.ok()) return last_error();
        alignas(file_handle) char buffer[sizeof(file_handle) + MAX_HANDLE_SZ] = {};
        std::memcpy(buffer, handle.data(), std::min(handle.size(), sizeof buffer));
        Descriptor fd(::open_by_handle_at(mount.get(), reinterpret_cast<file_handle*>(buffer),
                                          O_PATH | O_CLOEXEC));
        if (!fd.ok()) return last_error();
        return attributes(fd.get(), "", AT_EMPTY_PATH);
    }

    void set_umask(uint32_t umask) override { ::umask(umask); }
    void tick() override {
        const uint64_t ns = std::max<uint64_t>(15'000'000, traits_.time_granularity_ns + 5'000'000);
        const struct timespec pause {
            static_cast<time_t>(ns / 1'000'000'000), static_cast<long>(ns % 1'000'000'000)
        };
        ::nanosleep(&pause, nullptr);
    }
    Result<void> remount(bool read_only) override {
        volume_.remount(read_only);
        return {};
    }
    void reopen() override {
        volume_.unmount_and_check();
        volume_.mount();
    }
    void finish() override { volume_.unmount_and_check(); }

private:
    std::string host(std::string_view path) const {
        if (path.empty()) return ""; // ENOENT is the kernel's answer
        return volume_.path() + "/" + std::string(path);
    }
    static struct timespec to_timespec(SetTime time) {
        switch (time.kind) {
        case SetTime::Kind::omit:
            return {0, UTIME_OMIT};
        case SetTime::Kind::now:
            return {0, UTIME_NOW};
        case SetTime::Kind::at:
            break;
        }
        return {static_cast<time_t>(time.at.sec), static_cast<long>(time.at.nsec)};
    }

    Volume volume_;
    const Traits& traits_;
};

} // namespace

std::unique_ptr<Backend> make_posix_backend(Volume::Driver driver, Target& target, ImageKind kind) {
    return std::make_unique<PosixBackend>(driver, target, kind);
}

} // namespace rump::conformance
