// What every command of the `ukfs` tool shares.
#include "ukfs/tool/session.h"

#include "hostshim/printable.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <charconv>
#include <cstdio>

namespace rump::tool {
namespace {

void print_message(void* arg, int level, const char* message) {
    const auto& common = *static_cast<const Common*>(arg);
    if (level >= UKFS_LOG_WARNING || common.verbose) complain(common, message);
}

} // namespace

std::string Common::all_options() const {
    if (partition.empty()) return options;
    // A comma or backslash in a partition's name is not a separator.
    std::string escaped;
    for (char c : partition) {
        if (c == ',' || c == '\\') escaped += '\\';
        escaped += c;
    }
    return fmt::format("{}{}part={}", options, options.empty() ? "" : ",", escaped);
}

void complain(const Common& common, std::string_view text) {
    fmt::print(stderr, "ukfs: {}\n",
               host::printable(common.image.empty() ? std::string(text)
                                                    : fmt::format("{}: {}", common.image, text)));
}

Session::Session(const Common& common, bool writing)
    : common_(common), writing_(writing && !common.read_only) {
    const std::string options = common.all_options();
    ukfs_open_args args{.type = common.type_or_null(),
                        .options = options.c_str(),
                        .read_only = !writing || common.read_only,
                        .log = print_message,
                        .log_arg = const_cast<Common*>(&common)};
    ukfs_error error;
    if (ukfs_open(common.image_or_null(), &args, &fs_, &error) != 0) {
        complain(common, error.text);
        fs_ = nullptr;
    }
}

Session::~Session() {
    if (fs_) ukfs_release(fs_, 1);
}

bool Session::check(int64_t result, std::string_view path) {
    if (result >= 0) return true;
    char text[600];
    ukfs_error_text(fs_, static_cast<int>(result), text, sizeof text);
    fail(fmt::format("{}: {}", path, text));
    return false;
}

void Session::fail(std::string_view text) {
    failed_ = true;
    complain(common_, text);
}

int Session::finish() {
    // While the file system is there, it can say what it could not write.
    if (writing_) check(ukfs_sync(fs_), "writing back");
    int result = ukfs_release(fs_, 1);
    fs_ = nullptr;
    if (result != 0 && !failed_) {
        char text[600];
        ukfs_error_text(nullptr, result, text, sizeof text);
        complain(common_, fmt::format("writing back: {}", text));
    }
    return failed_ || result != 0 ? exit_failed : exit_ok;
}

bool Session::is_dir(const std::string& path) {
    struct ukfs_stat attributes;
    return ukfs_stat(fs_, path.c_str(), &attributes) == 0 && is_dir_mode(attributes.mode);
}

std::optional<bool> Session::goes_into(const std::string& target, size_t sources,
                                       bool from_directory) {
    struct ukfs_stat attributes;
    const int found = ukfs_stat(fs_, target.c_str(), &attributes);
    if (found == 0 && is_dir_mode(attributes.mode)) return true;
    if (sources == 1 && (from_directory || !target.ends_with('/'))) return false;
    check(found < 0 ? found : -ENOTDIR, target);
    return std::nullopt;
}

void Session::each_xattr(
    const std::string& path,
    const std::function<void(const std::string& name, std::span<const char> value)>& visit) {
    std::vector<std::string> names;
    const int listed = ukfs_listxattr(
        fs_, path.c_str(),
        [](void* arg, const char* name) {
            static_cast<std::vector<std::string>*>(arg)->emplace_back(name);
        },
        &names, UKFS_NOFOLLOW);
    if (listed == -EOPNOTSUPP || !check(listed, path)) return;
    std::vector<char> value(65536);
    for (const std::string& name : names) {
        const int64_t size = ukfs_getxattr(fs_, path.c_str(), name.c_str(), value.data(),
                                           value.size(), UKFS_NOFOLLOW);
        if (check(size, path + ": " + name))
            visit(name, std::span(value).first(static_cast<size_t>(size)));
    }
}

std::vector<Session::Entry> Session::entries(const std::string& path) {
    std::vector<Entry> found;
    int result = ukfs_readdir(
        fs_, path.c_str(),
        [](void* arg, const ukfs_dirent* dirent) {
            std::string_view name(dirent->name, dirent->name_length);
            if (name == "." || name == "..") return 0;
            auto& into = *static_cast<std::vector<Entry>*>(arg);
            into.push_back({std::string(name), {}});
            if (dirent->attributes) into.back().attributes = *dirent->attributes;
            return 0;
        },
        &found, UKFS_READDIR_ATTRIBUTES);
    check(result, path);
    std::sort(found.begin(), found.end(),
              [](const Entry& a, const Entry& b) { return a.name < b.name; });
    // Why attributes are missing is worth a line; the entry itself is kept.
    for (const Entry& entry : found) {
        if (entry.attributes.mode) continue;
        struct ukfs_stat unused;
        std::string whole = join(path, entry.name);
        check(ukfs_lstat(fs_, whole.c_str(), &unused), whole);
    }
    return found;
}

bool Session::first_visit(const struct ukfs_stat& dir, const std::string& path) {
    if (visited_.insert(dir.ino).second) return true;
    fail(fmt::format("{}: this directory is elsewhere in the tree, too: not entered again", path));
    return false;
}

void print(std::string_view text) { std::fwrite(text.data(), 1, text.size(), stdout); }

std::string join(const std::string& dir, std::string_view name) {
    std::string path = dir;
    if (!path.ends_with('/')) path += '/';
    return path.append(name);
}

std::string base_name(std::string_view path) {
    while (path.size() > 1 && path.ends_with('/')) path.remove_suffix(1);
    size_t slash = path.rfind('/');
    if (slash == path.npos || path == "/") return std::string(path);
    return std::string(path.substr(slash + 1));
}

std::optional<uint64_t> parse_bytes(std::string_view text) {
    constexpr std::string_view units = "kmgt";
    uint64_t value = 0;
    const char* const end = text.data() + text.size();
    const auto parsed = std::from_chars(text.data(), end, value);
    if (parsed.ec != std::errc()) return std::nullopt;
    if (parsed.ptr == end) return value;
    const size_t unit =
        units.find(static_cast<char>(std::tolower(static_cast<unsigned char>(*parsed.ptr))));
    if (parsed.ptr + 1 != end || unit == units.npos) return std::nullopt;
    const size_t shift = (unit + 1) * 10;
    if (value > UINT64_MAX >> shift) return std::nullopt;
    return value << shift;
}

std::string link_target(Session& session, const std::string& path) {
    std::string target(4096, '\0');
    int64_t length = ukfs_readlink(session.fs(), path.c_str(), target.data(), target.size());
    if (!session.check(length, path)) return {};
    target.resize(std::min<size_t>(static_cast<size_t>(length), target.size()));
    return target;
}

} // namespace rump::tool
