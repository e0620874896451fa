// ukfs rm, mkdir, rmdir, mv, ln, chmod, chown, touch, truncate, mknod, xattr.
#include "ukfs/tool/commands.h"
#include "ukfs/tool/mode.h"

#include <fmt/format.h>

#include <cerrno>
#include <charconv>
#include <cstdio>
#include <functional>

namespace rump::tool {
namespace {

/// Runs `change` in an image that is open for writing.
int in_session(const Common& common, const std::function<void(Session&)>& change) {
    Session session(common, true);
    if (!session) return exit_failed;
    change(session);
    return session.finish();
}

void remove_tree(Session& session, const std::string& path, const struct ukfs_stat& attributes) {
    if (is_dir_mode(attributes.mode)) {
        if (!session.first_visit(attributes, path)) return;
        for (const auto& entry : session.entries(path))
            remove_tree(session, join(path, entry.name), entry.attributes);
        session.check(ukfs_rmdir(session.fs(), path.c_str()), path);
    } else {
        session.check(ukfs_unlink(session.fs(), path.c_str()), path);
    }
}

/// "a/.", "a/..": removing what is in them and then failing to remove them helps nobody.
bool names_no_entry(const std::string& path) {
    const std::string name = base_name(path);
    return name == "." || name == "..";
}

/// Calls `visit` for a path and, when it is a directory and asked for, for all below.
void walk(Session& session, const std::string& path, const struct ukfs_stat& attributes,
          bool recursive,
          const std::function<void(const std::string&, const struct ukfs_stat&)>& visit) {
    visit(path, attributes);
    if (!recursive || !is_dir_mode(attributes.mode)) return;
    if (!session.first_visit(attributes, path)) return;
    for (const auto& entry : session.entries(path))
        walk(session, join(path, entry.name), entry.attributes, recursive, visit);
}

std::optional<uint64_t> number(std::string_view text, uint64_t most) {
    uint64_t value = 0;
    auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
    if (parsed.ec != std::errc() || parsed.ptr != text.data() + text.size() || value > most)
        return std::nullopt;
    return value;
}

/// "1000:100", "1000", ":100"; UKFS_KEEP for what is left out.
struct Owner {
    uint32_t uid = UKFS_KEEP, gid = UKFS_KEEP;
};
std::optional<Owner> parse_owner(std::string_view text) {
    Owner owner;
    size_t colon = text.find(':');
    std::string_view user = text.substr(0, colon);
    std::string_view group = colon == text.npos ? std::string_view() : text.substr(colon + 1);
    if (user.empty() && group.empty()) return std::nullopt;
    if (!user.empty()) {
        auto id = number(user, UINT32_MAX - 1);
        if (!id) return std::nullopt;
        owner.uid = static_cast<uint32_t>(*id);
    }
    if (!group.empty()) {
        auto id = number(group, UINT32_MAX - 1);
        if (!id) return std::nullopt;
        owner.gid = static_cast<uint32_t>(*id);
    }
    return owner;
}

int usage(const Common& common, std::string_view text) {
    complain(common, text);
    return exit_usage;
}

} // namespace

int remove(const Common& common, const Paths& paths, bool recursive, bool force) {
    return in_session(common, [&](Session& session) {
        struct ukfs_stat root;
        if (!session.check(ukfs_lstat(session.fs(), "/", &root), "/")) return;
        for (const std::string& path : paths) {
            struct ukfs_stat attributes;
            int result = ukfs_lstat(session.fs(), path.c_str(), &attributes);
            if (result == -ENOENT && force) continue;
            if (!session.check(result, path)) continue;
            if (is_dir_mode(attributes.mode) && !recursive) {
                session.fail(fmt::format("{}: is a directory, use -r", path));
                continue;
            }
            if (attributes.ino == root.ino || names_no_entry(path)) {
                session.fail(
                    fmt::format("{}: {} cannot be removed", path,
                                attributes.ino == root.ino ? "the root" : "\".\" or \"..\""));
                continue;
            }
            session.forget_visits();
            session.first_visit(root, "/"); // nor by way of a damaged image
            remove_tree(session, path, attributes);
        }
    });
}

int make_directory(const Common& common, const Paths& paths, bool parents,
                   const std::string& mode_text) {
    auto mode = apply_mode(mode_text, 0040777);
    if (!mode) return usage(common, fmt::format("-m {}: not a mode", mode_text));
    return in_session(common, [&](Session& session) {
        for (const std::string& path : paths) {
            for (size_t at = 1; parents && at < path.size(); ++at) {
                if (path[at] != '/' || path[at - 1] == '/') continue;
                std::string before = path.substr(0, at);
                int result = ukfs_mkdir(session.fs(), before.c_str(), 0755);
                if (result != -EEXIST && !session.check(result, before)) break;
            }
            int result = ukfs_mkdir(session.fs(), path.c_str(), *mode & 07777);
            if (result == -EEXIST && parents && session.is_dir(path)) continue;
            session.check(result, path);
        }
    });
}

int remove_directory(const Common& common, const Paths& paths) {
    return in_session(common, [&](Session& session) {
        for (const std::string& path : paths)
            session.check(ukfs_rmdir(session.fs(), path.c_str()), path);
    });
}

int move(const Common& common, Paths paths, bool no_replace) {
    if (paths.size() < 2) return usage(common, "mv needs what to move and where to");
    std::string target = std::move(paths.back());
    paths.pop_back();
    return in_session(common, [&](Session& session) {
        bool into = session.is_dir(target);
        if (!into && paths.size() > 1) {
            session.fail(fmt::format("{}: not a directory", target));
            return;
        }
        for (const std::string& path : paths) {
            std::string to = into ? join(target, base_name(path)) : target;
            session.check(ukfs_rename(session.fs(), path.c_str(), to.c_str(),
                                      no_replace ? UKFS_RENAME_NOREPLACE : 0),
                          fmt::format("{} to {}", path, to));
        }
    });
}

int make_link(const Common& common, Paths paths, bool symbolic) {
    if (paths.size() != 2) return usage(common, "ln needs what to link to and the new name");
    return in_session(common, [&](Session& session) {
        std::string to = session.is_dir(paths[1]) ? join(paths[1], base_name(paths[0])) : paths[1];
        int result = symbolic ? ukfs_symlink(session.fs(), paths[0].c_str(), to.c_str())
                              : ukfs_link(session.fs(), paths[0].c_str(), to.c_str());
        session.check(result, to);
    });
}

int change_mode(const Common& common, const std::string& mode, const Paths& paths, bool recursive) {
    if (!apply_mode(mode, 0))
        return usage(common, fmt::format("{}: not a mode (chmod IMAGE MODE PATH)", mode));
    return in_session(common, [&](Session& session) {
        for (const std::string& path : paths) {
            struct ukfs_stat attributes;
            if (!session.check(ukfs_stat(session.fs(), path.c_str(), &attributes), path)) continue;
            session.forget_visits();
            walk(session, path, attributes, recursive,
                 [&](const std::string& at, const struct ukfs_stat& a) {
                     if (is_link_mode(a.mode)) return; // a link has no mode of its own
                     uint32_t wanted = *apply_mode(mode, a.mode) & 07777;
                     session.check(ukfs_chmod(session.fs(), at.c_str(), wanted), at);
                 });
        }
    });
}

int change_owner(const Common& common, const std::string& owner_text, const Paths& paths,
                 bool recursive, bool follow) {
    auto owner = parse_owner(owner_text);
    if (!owner)
        return usage(common, fmt::format("{}: not UID, UID:GID or :GID, images have numbers "
                                         "(chown IMAGE OWNER PATH)",
                                         owner_text));
    return in_session(common, [&](Session& session) {
        for (const std::string& path : paths) {
            struct ukfs_stat attributes;
            int result = follow ? ukfs_stat(session.fs(), path.c_str(), &attributes)
                                : ukfs_lstat(session.fs(), path.c_str(), &attributes);
            if (!session.check(result, path)) continue;
            session.forget_visits();
            walk(session, path, attributes, recursive,
                 [&](const std::string& at, const struct ukfs_stat&) {
                     int flags = follow && at == path ? 0 : UKFS_NOFOLLOW;
                     session.check(
                         ukfs_chown(session.fs(), at.c_str(), owner->uid, owner->gid, flags), at);
                 });
        }
    });
}

int touch(const Common& common, const Paths& paths) {
    return in_session(common, [&](Session& session) {
        for (const std::string& path : paths) {
            int result = ukfs_touch(session.fs(), path.c_str(), 0);
            if (result == -ENOENT) result = ukfs_create(session.fs(), path.c_str(), 0644);
            session.check(result, path);
        }
    });
}

int truncate(const Common& common, const std::string& size, const Paths& paths) {
    auto bytes = parse_bytes(size);
    if (!bytes || *bytes > INT64_MAX)
        return usage(common, fmt::format("-s {}: not a size (512, 64k, 10M, 1G)", size));
    return in_session(common, [&](Session& session) {
        for (const std::string& path : paths)
            session.check(ukfs_truncate(session.fs(), path.c_str(), *bytes), path);
    });
}

int make_node(const Common& common, const std::string& path, const std::string& type,
              std::optional<uint32_t> major, std::optional<uint32_t> minor,
              const std::string& mode_text) {
    uint32_t format = 0;
    if (type == "p") format = 0010000;
    if (type == "c" || type == "u") format = 0020000;
    if (type == "b") format = 0060000;
    if (type == "s") format = 0140000;
    if (!format) return usage(common, fmt::format("{}: not p, c, b or s", type));
    bool device = format == 0020000 || format == 0060000;
    if (device != (major && minor))
        return usage(common, device ? "a device needs its major and minor number"
                                    : "only a device has major and minor numbers");
    auto mode = apply_mode(mode_text, format);
    if (!mode) return usage(common, fmt::format("-m {}: not a mode", mode_text));
    return in_session(common, [&](Session& session) {
        session.check(ukfs_mknod(session.fs(), path.c_str(), format | (*mode & 07777),
                                 major.value_or(0), minor.value_or(0)),
                      path);
    });
}

namespace {

void list_xattrs(Session& session, const std::string& path) {
    session.check(ukfs_listxattr(
                      session.fs(), path.c_str(), [](void*, const char* name) { std::puts(name); },
                      nullptr, UKFS_NOFOLLOW),
                  path);
}

void print_xattr(Session& session, const std::string& path, const std::string& name) {
    std::vector<char> value(65536);
    int64_t size = ukfs_getxattr(session.fs(), path.c_str(), name.c_str(), value.data(),
                                 value.size(), UKFS_NOFOLLOW);
    if (session.check(size, path + ": " + name))
        std::fwrite(value.data(), 1, static_cast<size_t>(size), stdout);
}

} // namespace

int xattr(const Common& common, const XattrArguments& arguments) {
    const std::string& path = arguments.path;
    const std::string& name = arguments.name;
    if (arguments.remove && (name.empty() || arguments.value))
        return usage(common, "-d takes a path and a name");
    bool writing = arguments.remove || arguments.value;
    Session session(common, writing);
    if (!session) return exit_failed;
    if (name.empty())
        list_xattrs(session, path);
    else if (arguments.remove)
        session.check(ukfs_removexattr(session.fs(), path.c_str(), name.c_str(), UKFS_NOFOLLOW),
                      path + ": " + name);
    else if (arguments.value)
        session.check(ukfs_setxattr(session.fs(), path.c_str(), name.c_str(),
                                    arguments.value->data(), arguments.value->size(),
                                    UKFS_NOFOLLOW),
                      path + ": " + name);
    else
        print_xattr(session, path, name);
    return session.finish();
}

} // namespace rump::tool
