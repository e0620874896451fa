// Fs: the file system as a test body sees it: paths, open files, users. Behind it is a backend, the
// kernel's own operations in process (direct.h) or system calls on a mount (posix.h).
#pragma once

#include "tests/conformance/outcome.h"
#include "tests/conformance/traits.h"

#include "kernel/vfs/vfs_ops.h"

#include <fcntl.h>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace rump::conformance {

struct User {
    uint32_t uid = 0;
    uint32_t gid = 0;
    std::vector<uint32_t> groups;
};
inline const User root_user{};
inline const User alice{1001, 1001, {}};
inline const User bob{1002, 1002, {}};
inline const User carol{1003, 1003, {1001}}; // of alice's group

struct DirItem {
    std::string name;
    FileType type;
    uint64_t number;
    uint64_t cookie; // seek() continues behind this item from here
};

/// A time to set: a point, now, or leave it.
struct SetTime {
    enum class Kind : uint8_t { omit, now, at } kind = Kind::omit;
    Timespec at{};
};
inline SetTime at(int64_t sec, uint32_t nsec = 0) { return {SetTime::Kind::at, {sec, nsec}}; }
inline constexpr SetTime time_now{SetTime::Kind::now, {}};
inline constexpr SetTime time_omit{};

inline constexpr uint32_t keep_id = UINT32_MAX;

// --- what a backend provides ---------------------------------------------------------------------

class OpenFile {
public:
    virtual ~OpenFile() = default;
    virtual Result<std::string> pread(uint64_t offset, size_t length) = 0;
    virtual Result<size_t> pwrite(uint64_t offset, std::string_view data) = 0;
    virtual Result<size_t> append(std::string_view data) = 0; // opened with O_APPEND
    virtual Result<Attr> stat() = 0;
    virtual Result<void> truncate(uint64_t size) = 0;
    virtual Result<void> sync(bool data_only) = 0;
    /// What close(2) says of writes that failed behind one's back.
    virtual Result<void> flush() = 0;
    virtual Result<uint64_t> seek(uint64_t offset, Seek what) = 0;
    virtual Result<void> fallocate(vfs::Fallocate mode, uint64_t offset, uint64_t length) = 0;
    virtual Result<uint64_t> copy_to(uint64_t offset, OpenFile& to, uint64_t to_offset,
                                     uint64_t length) = 0;
};

class OpenDir {
public:
    virtual ~OpenDir() = default;
    /// The next few entries; none at the end.
    virtual Result<std::vector<DirItem>> next() = 0;
    virtual Result<void> seek(uint64_t cookie) = 0;
};

class Backend {
public:
    virtual ~Backend() = default;

    /// Other users than the one who runs the test can act.
    virtual bool can_switch_user() const = 0;
    virtual bool can_remount() const = 0;
    virtual bool is_direct() const = 0;
    /// Our file system, not the host's driver, which may hold less or more of the format.
    virtual bool is_ours() const = 0;
    /// open(2) asks the file system, so that it can refuse by a file's flags. Over FUSE it does
    /// not: an open costs no request, and the write is what fails.
    virtual bool asks_at_open() const = 0;
    /// The open flag by which write(2) itself says ENOSPC; the host may keep data back else.
    virtual int write_through() const { return 0; }

    virtual Result<std::unique_ptr<OpenFile>> open(const User&, std::string_view path, int flags,
                                                   uint32_t mode) = 0;
    virtual Result<std::unique_ptr<OpenDir>> opendir(const User&, std::string_view path) = 0;
    virtual Result<Attr> stat(const User&, std::string_view path, bool follow) = 0;
    virtual Result<void> mkdir(const User&, std::string_view path, uint32_t mode) = 0;
    virtual Result<void> mknod(const User&, std::string_view path, FileType type, uint32_t mode,
                               DeviceNumber device) = 0;
    virtual Result<void> symlink(const User&, std::string_view target, std::string_view path) = 0;
    virtual Result<std::string> readlink(const User&, std::string_view path) = 0;
    virtual Result<void> link(const User&, std::string_view from, std::string_view to) = 0;
    virtual Result<void> unlink(const User&, std::string_view path) = 0;
    virtual Result<void> rmdir(const User&, std::string_view path) = 0;
    virtual Result<void> rename(const User&, std::string_view from, std::string_view to,
                                vfs::RenameMode mode) = 0;
    virtual Result<void> chmod(const User&, std::string_view path, uint32_t mode) = 0;
    virtual Result<void> chown(const User&, std::string_view path, uint32_t uid, uint32_t gid,
                               bool follow) = 0;
    virtual Result<void> utimes(const User&, std::string_view path, SetTime atime, SetTime mtime,
                                bool follow) = 0;
    virtual Result<void> truncate(const User&, std::string_view path, uint64_t size) = 0;
    virtual Result<void> access(const User&, std::string_view path, unsigned want) = 0;
    virtual Result<FileFlags> flags(const User&, std::string_view path) = 0;
    virtual Result<void> set_flags(const User&, std::string_view path, FileFlags flags) = 0;
    virtual Result<std::string> getxattr(const User&, std::string_view path,
                                         const std::string& name, std::optional<size_t> room) = 0;
    virtual Result<void> setxattr(const User&, std::string_view path, const std::string& name,
                                  std::string_view value, XattrSet how) = 0;
    virtual Result<void> removexattr(const User&, std::string_view path,
                                     const std::string& name) = 0;
    virtual Result<std::vector<std::string>> listxattr(const User&, std::string_view path) = 0;
    virtual Result<StatVfs> statvfs() = 0;
    virtual Result<void> sync() = 0;

    /// An opaque name of the file that outlives a remount.
    virtual Result<std::string> handle(const User&, std::string_view path) = 0;
    virtual Result<Attr> stat_handle(const std::string& handle) = 0;

    virtual void set_umask(uint32_t umask) = 0;
    /// Later time stamps differ from earlier ones by more than the format's granularity.
    virtual void tick() = 0;
    virtual Result<void> remount(bool read_only) = 0;
    /// Unmounts, checks the image, mounts again. All open files are closed before.
    virtual void reopen() = 0;
    /// Unmounts and checks the image. Called once.
    virtual void finish() = 0;
};

// --- what a body uses ----------------------------------------------------------------------------

class File {
public:
    explicit File(std::unique_ptr<OpenFile> file) : file_(std::move(file)) {}

    /// Everything from `offset` on, or `length` bytes of it.
    Outcome<std::string> read(uint64_t offset = 0, size_t length = 1 << 20);
    Outcome<size_t> write(uint64_t offset, std::string_view data);
    Outcome<size_t> append(std::string_view data);
    Outcome<Attr> stat();
    Status truncate(uint64_t size);
    Status sync(bool data_only = false);
    Outcome<uint64_t> seek_data(uint64_t offset);
    Outcome<uint64_t> seek_hole(uint64_t offset);
    Status fallocate(vfs::Fallocate mode, uint64_t offset, uint64_t length);
    Outcome<uint64_t> copy_to(uint64_t offset, File& to, uint64_t to_offset, uint64_t length);
    void close() { file_.reset(); }

private:
    std::unique_ptr<OpenFile> file_;
};

class Dir {
public:
    explicit Dir(std::unique_ptr<OpenDir> dir) : dir_(std::move(dir)) {}
    Outcome<std::vector<DirItem>> next();
    Status seek(uint64_t cookie);

private:
    std::unique_ptr<OpenDir> dir_;
};

class Fs {
public:
    Fs(Backend& backend, const Traits& traits, User user = {})
        : traits(traits), backend_(backend), user_(std::move(user)) {}

    const Traits& traits;

    /// The same file system in the eyes of another.
    Fs as(const User& user) const { return Fs(backend_, traits, user); }
    bool can_switch_user() const { return traits.owners && backend_.can_switch_user(); }
    bool can_remount() const { return backend_.can_remount(); }
    bool is_direct() const { return backend_.is_direct(); }
    bool is_ours() const { return backend_.is_ours(); }
    bool asks_at_open() const { return backend_.asks_at_open(); }
    int write_through() const { return backend_.write_through(); }
    /// As many blocks and inodes are free again as before. Over a mount it may be more: the host
    /// may only now have let go of what was removed before.
    bool space_is_back(const StatVfs& before) {
        const StatVfs now = statvfs().take();
        const uint64_t files = traits.counts_inodes ? now.files_free : before.files_free;
        if (is_direct()) return now.blocks_free == before.blocks_free && files == before.files_free;
        return now.blocks_free >= before.blocks_free && files >= before.files_free;
    }

    // Whole files: made when missing, emptied before.
    Status write(std::string_view path, std::string_view data);
    Outcome<std::string> read(std::string_view path);

    Outcome<File> open(std::string_view path, int flags = O_RDWR, uint32_t mode = 0644);
    Outcome<Dir> opendir(std::string_view path);
    /// Names without "." and "..", sorted.
    Outcome<std::vector<std::string>> list(std::string_view path);
    Outcome<Attr> stat(std::string_view path);
    Outcome<Attr> lstat(std::string_view path);
    /// lstat of what is there for sure.
    Attr attr(std::string_view path) { return lstat(path).take(); }
    Status mkdir(std::string_view path, uint32_t mode = 0755);
    Status mknod(std::string_view path, FileType type, uint32_t mode = 0644,
                 DeviceNumber device = {});
    Status symlink(std::string_view target, std::string_view path);
    Outcome<std::string> readlink(std::string_view path);
    Status link(std::string_view from, std::string_view to);
    Status unlink(std::string_view path);
    Status rmdir(std::string_view path);
    Status rename(std::string_view from, std::string_view to,
                  vfs::RenameMode mode = vfs::RenameMode::replace);
    Status chmod(std::string_view path, uint32_t mode);
    Status chown(std::string_view path, uint32_t uid, uint32_t gid);
    Status lchown(std::string_view path, uint32_t uid, uint32_t gid);
    Status utimes(std::string_view path, SetTime atime, SetTime mtime);
    Status lutimes(std::string_view path, SetTime atime, SetTime mtime);
    Status truncate(std::string_view path, uint64_t size);
    Status access(std::string_view path, unsigned want);
    Outcome<FileFlags> flags(std::string_view path);
    Status set_flags(std::string_view path, FileFlags flags);
    /// `room`: bytes of the caller's buffer; none: as many as it takes.
    Outcome<std::string> getxattr(std::string_view path, const std::string& name,
                                  std::optional<size_t> room = {});
    Status setxattr(std::string_view path, const std::string& name, std::string_view value,
                    XattrSet how = XattrSet::any);
    Status removexattr(std::string_view path, const std::string& name);
    Outcome<std::vector<std::string>> listxattr(std::string_view path); // sorted
    Outcome<StatVfs> statvfs();
    Status sync();
    Outcome<std::string> handle(std::string_view path);
    Outcome<Attr> stat_handle(const std::string& handle);

    void umask(uint32_t umask) { backend_.set_umask(umask); }
    void tick() { backend_.tick(); }
    Status remount(bool read_only);
    void reopen() { backend_.reopen(); }
    Backend& backend() { return backend_; }

private:
    Backend& backend_;
    User user_;
};

/// The umask for the length of a scope.
class UmaskScope {
public:
    UmaskScope(Fs& fs, uint32_t umask) : fs_(fs) { fs_.umask(umask); }
    ~UmaskScope() { fs_.umask(0); }
    UmaskScope(const UmaskScope&) = delete;
    UmaskScope& operator=(const UmaskScope&) = delete;

private:
    Fs& fs_;
};

} // namespace rump::conformance
