// Vocabulary of the kernel: inode numbers, file types, attributes, names, directory entries.
#pragma once

#include "hostshim/clock.h"
#include "hostshim/result.h"
#include "hostshim/strong.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <sys/types.h>

namespace rump {

/// A file's number within its mount (NetBSD's va_fileid). Never 0. Formats without inodes make one
/// up that is stable while mounted.
struct InodeTag;
using InodeNumber = Strong<InodeTag, uint64_t>;

inline constexpr size_t name_max = 255; // bytes of a name, of most formats
/// The same of formats that count UTF-16 code units, 255 of them, as UTF-8.
inline constexpr size_t utf16_name_max = 3 * 255;
inline constexpr size_t path_max = 4095; // bytes of a path, without a NUL
inline constexpr unsigned symlink_max = 40;
inline constexpr size_t xattr_value_max = 65536;

/// Values are those of a Linux directory entry (DT_*) and of mode >> 12.
enum class FileType : uint8_t {
    unknown = 0,
    fifo = 1,
    chr = 2,
    dir = 4,
    blk = 6,
    reg = 8,
    lnk = 10,
    sock = 12,
    wht = 14,
};

constexpr uint32_t type_to_mode(FileType type) { return static_cast<uint32_t>(type) << 12; }
/// unknown for a mode with no valid type.
constexpr FileType mode_to_type(uint32_t mode) {
    switch (mode >> 12 & 15) {
    case 1:
        return FileType::fifo;
    case 2:
        return FileType::chr;
    case 4:
        return FileType::dir;
    case 6:
        return FileType::blk;
    case 8:
        return FileType::reg;
    case 10:
        return FileType::lnk;
    case 12:
        return FileType::sock;
    case 14:
        return FileType::wht;
    default:
        return FileType::unknown;
    }
}

inline constexpr uint32_t mode_permissions = 07777;
inline constexpr uint32_t mode_setuid = 04000;
inline constexpr uint32_t mode_setgid = 02000;
inline constexpr uint32_t mode_sticky = 01000;

struct DeviceNumber {
    uint32_t major = 0;
    uint32_t minor = 0;
    bool operator==(const DeviceNumber&) const = default;
};

/// A valid name of one directory entry: at most as long as the mount's names may be, no '/', no
/// NUL. "." and ".." are names; operations that make or remove entries refuse them. A view: the
/// bytes outlive it.
class Name {
public:
    /// ENOENT (empty), ENAMETOOLONG (over `longest` bytes), EINVAL ('/' or NUL).
    static Result<Name> from(std::string_view bytes, size_t longest = name_max);
    std::string_view view() const { return bytes_; }
    size_t size() const { return bytes_.size(); }
    bool is_dot() const { return bytes_ == "."; }
    bool is_dotdot() const { return bytes_ == ".."; }
    bool operator==(const Name&) const = default;

private:
    explicit Name(std::string_view bytes) : bytes_(bytes) {}
    std::string_view bytes_;
};

/// File flags: Linux's FS_IOC_GETFLAGS bits (linux/fs.h) in the low half, BSD flags that have no
/// Linux counterpart in the high half.
using FileFlags = uint64_t;
namespace file_flag {
inline constexpr FileFlags secure_delete = 0x1;
inline constexpr FileFlags undelete = 0x2;
inline constexpr FileFlags compress = 0x4;
inline constexpr FileFlags sync = 0x8;
inline constexpr FileFlags immutable = 0x10;
inline constexpr FileFlags append = 0x20;
inline constexpr FileFlags nodump = 0x40;
inline constexpr FileFlags noatime = 0x80;
inline constexpr FileFlags indexed = 0x1000; // read-only: a hashed directory
inline constexpr FileFlags journal_data = 0x4000;
inline constexpr FileFlags notail = 0x8000;
inline constexpr FileFlags dirsync = 0x10000;
inline constexpr FileFlags topdir = 0x20000;
inline constexpr FileFlags opaque = 1ull << 32;         // BSD UF_OPAQUE
inline constexpr FileFlags user_immutable = 1ull << 33; // BSD UF_IMMUTABLE beside SF_IMMUTABLE
inline constexpr FileFlags user_append = 1ull << 34;    // BSD UF_APPEND beside SF_APPEND
inline constexpr FileFlags archived = 1ull << 35;       // BSD SF_ARCHIVED
inline constexpr FileFlags nounlink = 1ull << 36;       // FreeBSD SF_NOUNLINK
inline constexpr FileFlags snapshot = 1ull << 37;       // FreeBSD, NetBSD SF_SNAPSHOT
} // namespace file_flag

/// What getattr says of a vnode.
struct Attr {
    InodeNumber number;
    uint32_t generation = 0;
    FileType type = FileType::unknown;
    uint32_t mode = 0; // permission bits only: 07777
    uint32_t nlink = 0;
    uint32_t uid = 0;
    uint32_t gid = 0;
    DeviceNumber rdev;
    uint64_t size = 0;       // bytes
    uint64_t blocks = 0;     // 512-byte units that are allocated, metadata of the file included
    uint32_t block_size = 0; // preferred size of I/O, bytes
    Timespec atime, mtime, ctime;
    std::optional<Timespec> btime;
    FileFlags flags = 0;
};

/// What setattr changes: the fields that hold a value.
struct AttrChange {
    std::optional<uint32_t> mode; // permission bits
    std::optional<uint32_t> uid;
    std::optional<uint32_t> gid;
    std::optional<uint64_t> size;
    std::optional<Timespec> atime;
    std::optional<Timespec> mtime;
    std::optional<Timespec> ctime; // else the file system sets it to now, when anything changes
    std::optional<Timespec> btime;
    std::optional<FileFlags> flags;
};

struct StatVfs {
    uint32_t block_size = 0;    // preferred I/O
    uint32_t fragment_size = 0; // unit of the block counts, and in which file data is allocated
    uint64_t blocks = 0;
    uint64_t blocks_free = 0;
    uint64_t blocks_available = 0; // to an unprivileged user
    uint64_t files = 0;
    uint64_t files_free = 0;
    uint64_t fsid = 0;
    uint32_t name_max = rump::name_max;
};

/// One entry as readdir hands it out. `name` is a view that ends with the call of the sink.
struct DirEntry {
    InodeNumber number;
    FileType type = FileType::unknown; // unknown: the format does not say
    std::string_view name;
    uint64_t next_cookie = 0; // readdir continues behind this entry from here
};

/// Names a file across remounts: NFS and name_to_handle_at.
struct FileHandle {
    InodeNumber number;
    uint32_t generation = 0;
};

} // namespace rump
