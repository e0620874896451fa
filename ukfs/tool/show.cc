// ukfs ls, stat, cat, readlink: looking into an image without changing a byte of it.
#include "ukfs/tool/commands.h"

#include "hostshim/printable.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <ctime>
#include <unistd.h>

namespace rump::tool {
namespace {

/// Names may hold anything; a terminal does not get control characters.
std::string for_output(std::string_view name) {
    return isatty(STDOUT_FILENO) ? host::printable(name) : std::string(name);
}

std::string mode_string(uint32_t mode) {
    constexpr std::string_view types = "?pc?d?b?-?l?s???";
    std::string text{types[mode >> 12 & 15]};
    for (int shift = 6; shift >= 0; shift -= 3) {
        uint32_t bits = mode >> shift & 7;
        text += bits & 4 ? 'r' : '-';
        text += bits & 2 ? 'w' : '-';
        text += bits & 1 ? 'x' : '-';
    }
    auto special = [&](uint32_t bit, size_t at, char with_x, char without) {
        if (mode & bit) text[at] = text[at] == 'x' ? with_x : without;
    };
    special(04000, 3, 's', 'S');
    special(02000, 6, 's', 'S');
    special(01000, 9, 't', 'T');
    return text;
}

std::string time_string(const ukfs_time& time, const char* format) {
    time_t seconds = static_cast<time_t>(time.sec);
    tm parts;
    std::array<char, 64> text;
    if (!localtime_r(&seconds, &parts)) return std::to_string(time.sec);
    return {text.data(), std::strftime(text.data(), text.size(), format, &parts)};
}

void print_entry(Session& session, const std::string& path, std::string_view shown,
                 const struct ukfs_stat& a, const ListOptions& options) {
    std::string line;
    if (options.inodes) line += fmt::format("{:>8} ", a.ino);
    if (options.details) {
        bool device = (a.mode & 0170000) == 0020000 || (a.mode & 0170000) == 0060000;
        std::string size =
            device ? fmt::format("{}, {}", a.rdev_major, a.rdev_minor) : std::to_string(a.size);
        line += fmt::format("{} {:>3} {:>5} {:>5} {:>10} {} ", mode_string(a.mode), a.nlink, a.uid,
                            a.gid, size, time_string(a.mtime, "%Y-%m-%d %H:%M"));
    }
    line += for_output(shown);
    if (options.details && is_link_mode(a.mode))
        line += " -> " + for_output(link_target(session, path));
    print(line + "\n");
}

void list_directory(Session& session, const std::string& path, const struct ukfs_stat& dir,
                    const ListOptions& options, bool headed) {
    if (options.recursive && !session.first_visit(dir, path)) return;
    if (headed) print(for_output(path) + ":\n");
    auto entries = session.entries(path);
    if (options.all) {
        struct ukfs_stat parent = dir;
        ukfs_lstat(session.fs(), join(path, "..").c_str(), &parent);
        print_entry(session, path, ".", dir, options);
        print_entry(session, path, "..", parent, options);
    }
    for (const auto& entry : entries)
        if (options.all || !entry.name.starts_with('.'))
            print_entry(session, join(path, entry.name), entry.name, entry.attributes, options);
    if (!options.recursive) return;
    for (const auto& entry : entries) {
        if (!is_dir_mode(entry.attributes.mode)) continue;
        if (!options.all && entry.name.starts_with('.')) continue;
        print("\n");
        list_directory(session, join(path, entry.name), entry.attributes, options, true);
    }
}

const char* type_name(uint32_t mode) {
    switch (mode & 0170000) {
    case 0010000:
        return "fifo";
    case 0020000:
        return "character device";
    case 0040000:
        return "directory";
    case 0060000:
        return "block device";
    case 0100000:
        return "file";
    case 0120000:
        return "symbolic link";
    case 0140000:
        return "socket";
    default:
        return "unknown";
    }
}

} // namespace

int list(const Common& common, const Paths& paths, const ListOptions& options) {
    Session session(common, false);
    if (!session) return exit_failed;
    bool first = true;
    for (const std::string& path : paths) {
        struct ukfs_stat a;
        // As ls(1): a link that is named itself is followed, unless it is to be described.
        bool as_link = options.details || options.directory;
        int result = as_link && !path.ends_with('/') ? ukfs_lstat(session.fs(), path.c_str(), &a)
                                                     : ukfs_stat(session.fs(), path.c_str(), &a);
        if (!session.check(result, path)) continue;
        if (options.directory || !is_dir_mode(a.mode)) {
            print_entry(session, path, path, a, options);
        } else {
            if (!first) print("\n");
            session.forget_visits();
            list_directory(session, path, a, options, paths.size() > 1 || options.recursive);
        }
        first = false;
    }
    return session.finish();
}

int show_attributes(const Common& common, const Paths& paths, bool follow) {
    Session session(common, false);
    if (!session) return exit_failed;
    for (const std::string& path : paths) {
        struct ukfs_stat a;
        int result = follow ? ukfs_stat(session.fs(), path.c_str(), &a)
                            : ukfs_lstat(session.fs(), path.c_str(), &a);
        if (!session.check(result, path)) continue;
        auto moment = [](const ukfs_time& t) {
            return fmt::format("{}.{:09}{}", time_string(t, "%Y-%m-%d %H:%M:%S"), t.nsec,
                               time_string(t, " %z"));
        };
        std::string text = fmt::format("  path: {}", for_output(path));
        if (is_link_mode(a.mode)) text += " -> " + for_output(link_target(session, path));
        text += fmt::format("\n  type: {}\n inode: {} (generation {})\n  mode: {:04o} {}\n"
                            " links: {}\n owner: {}:{}\n  size: {}\nblocks: {} of 512 bytes\n",
                            type_name(a.mode), a.ino, a.generation, a.mode & 07777,
                            mode_string(a.mode), a.nlink, a.uid, a.gid, a.size, a.blocks);
        if ((a.mode & 0170000) == 0020000 || (a.mode & 0170000) == 0060000)
            text += fmt::format("device: {}, {}\n", a.rdev_major, a.rdev_minor);
        if (a.flags) text += fmt::format(" flags: {:#x}\n", a.flags);
        text += fmt::format("access: {}\nmodify: {}\nchange: {}\n", moment(a.atime),
                            moment(a.mtime), moment(a.ctime));
        if (a.btime.sec || a.btime.nsec) text += fmt::format(" birth: {}\n", moment(a.btime));
        print(text);
    }
    return session.finish();
}

int print_contents(const Common& common, const Paths& paths) {
    Session session(common, false);
    if (!session) return exit_failed;
    std::vector<char> buffer(1 << 20);
    for (const std::string& path : paths) {
        ukfs_file* file = nullptr;
        if (!session.check(ukfs_file_open(session.fs(), path.c_str(), UKFS_READ, 0, &file), path))
            continue;
        uint64_t offset = 0;
        for (;;) {
            int64_t got = ukfs_file_pread(file, buffer.data(), buffer.size(), offset);
            if (!session.check(got, path) || got == 0) break;
            if (std::fwrite(buffer.data(), 1, static_cast<size_t>(got), stdout) !=
                static_cast<size_t>(got))
                break;
            offset += static_cast<uint64_t>(got);
        }
        ukfs_file_close(file);
    }
    if (std::fflush(stdout) != 0 || std::ferror(stdout))
        session.fail(fmt::format("standard output: {}", std::generic_category().message(errno)));
    return session.finish();
}

int read_link(const Common& common, const Paths& paths) {
    Session session(common, false);
    if (!session) return exit_failed;
    for (const std::string& path : paths)
        if (std::string target = link_target(session, path); !target.empty()) print(target + "\n");
    return session.finish();
}

} // namespace rump::tool
