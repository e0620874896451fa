// What every command of the `ukfs` tool shares: the common options, an open image, messages,
// walking.
#pragma once

#include "ukfs/ukfs.h"

#include <functional>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace rump::tool {

/// Exit codes; check has fsck's own.
inline constexpr int exit_ok = 0;
inline constexpr int exit_failed = 1; // some of what was asked
inline constexpr int exit_usage = 2;
inline constexpr int exit_check_usage = 16; // fsck(8)

/// Options that stand before or behind any command's name.
struct Common {
    std::string image;
    std::string type;
    std::string options; // as after -o
    std::string partition;
    bool read_only = false;
    bool verbose = false;

    /// `options` with the partition.
    std::string all_options() const;
    const char* type_or_null() const { return type.empty() ? nullptr : type.c_str(); }
    const char* image_or_null() const { return image.empty() ? nullptr : image.c_str(); }
};

/// "ukfs: disk.img: text" on standard error.
void complain(const Common& common, std::string_view text);

/// An image in use by one command.
class Session {
public:
    /// Opens; complains and exits the command with a false session when that fails.
    Session(const Common& common, bool writing);
    ~Session();
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;

    explicit operator bool() const { return fs_ != nullptr; }
    ukfs* fs() const { return fs_; }
    const Common& common() const { return common_; }

    /// Complains about a path when `result` is negative, and remembers it for finish(). Returns
    /// whether all is well.
    bool check(int64_t result, std::string_view path);
    void fail(std::string_view text);
    /// Writes everything back; the command's exit code.
    int finish();

    /// Whether `path` is a directory (links followed).
    bool is_dir(const std::string& path);
    /// Whether what is copied to `target` goes into it. None, and a complaint: several cannot go to
    /// one file, and only a directory can be made with a slash behind its name.
    std::optional<bool> goes_into(const std::string& target, size_t sources, bool from_directory);
    /// The extended attributes of a file, links not followed. Complains about those that cannot be
    /// read; a format that has none has none to show.
    void each_xattr(
        const std::string& path,
        const std::function<void(const std::string& name, std::span<const char> value)>& visit);
    /// Names in a directory with their attributes (mode 0: not to be had), without dot and dot-dot,
    /// by name. Complains on errors and returns what came before.
    struct Entry {
        std::string name;
        struct ukfs_stat attributes;
    };
    std::vector<Entry> entries(const std::string& path);

    /// True once for every directory of a walk: a damaged image may contain one twice, or in
    /// itself.
    bool first_visit(const struct ukfs_stat& dir, const std::string& path);
    void forget_visits() { visited_.clear(); }

private:
    const Common& common_;
    const bool writing_;
    ukfs* fs_ = nullptr;
    bool failed_ = false;
    std::set<uint64_t> visited_;
};

/// To standard output. main() sees whether all of it went there.
void print(std::string_view text);

/// "a/b" of "a" and "b"; one slash between.
std::string join(const std::string& dir, std::string_view name);
/// The last component, without trailing slashes; "/" of the root.
std::string base_name(std::string_view path);
/// "512", "64k", "10M" as bytes; none: not a size.
std::optional<uint64_t> parse_bytes(std::string_view text);

inline bool is_dir_mode(uint32_t mode) { return (mode & 0170000) == 0040000; }
inline bool is_reg_mode(uint32_t mode) { return (mode & 0170000) == 0100000; }
inline bool is_link_mode(uint32_t mode) { return (mode & 0170000) == 0120000; }

/// The target of a symbolic link; empty and a complaint when it cannot be read.
std::string link_target(Session& session, const std::string& path);

} // namespace rump::tool
