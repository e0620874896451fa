// ukfs cp: copying within an image. Holes stay holes, links within the copied tree stay links.
#include "ukfs/tool/commands.h"
#include "ukfs/tool/host_tree.h"

#include <fmt/format.h>

#include <cerrno>
#include <map>
#include <memory>

namespace rump::tool {
namespace {

class Copier {
public:
    Copier(Session& session, const CopyOptions& options) : session_(session), options_(options) {}

    void tree(const std::string& from, const std::string& to, const struct ukfs_stat& attributes) {
        if (is_dir_mode(attributes.mode))
            directory(from, to, attributes);
        else if (already_copied(from, to, attributes))
            return;
        else if (is_link_mode(attributes.mode))
            symbolic_link(from, to, attributes);
        else if (is_reg_mode(attributes.mode))
            file(from, to, attributes);
        else
            node(from, to, attributes);
    }

private:
    ukfs* fs() const { return session_.fs(); }

    /// A further name of a file that this run has copied: a link to the copy.
    bool already_copied(const std::string& from, const std::string& to, const struct ukfs_stat& a) {
        if (a.nlink < 2 || !(options_.recursive || options_.preserve)) return false;
        auto [known, first] = copies_.try_emplace(a.ino, to);
        if (first) return false;
        if (!make_room(to)) return true;
        int result = ukfs_link(fs(), known->second.c_str(), to.c_str());
        session_.check(result, fmt::format("{} to {}", from, to));
        return true;
    }

    /// Takes a file that is in the way away; a directory stays, and is a complaint.
    bool make_room(const std::string& to) {
        int result = ukfs_unlink(fs(), to.c_str());
        return result == -ENOENT || session_.check(result, to);
    }

    void directory(const std::string& from, const std::string& to,
                   const struct ukfs_stat& attributes) {
        if (!options_.recursive) {
            session_.fail(fmt::format("{}: is a directory, use -r", from));
            return;
        }
        if (!session_.first_visit(attributes, from)) return;
        auto entries = session_.entries(from); // before the target, which may be within
        int made = ukfs_mkdir(fs(), to.c_str(), (attributes.mode & 07777) | 0700);
        if (made == -EEXIST && session_.is_dir(to)) made = 0;
        if (!session_.check(made, to)) return;
        struct ukfs_stat target;
        if (ukfs_stat(fs(), to.c_str(), &target) == 0) made_.insert(target.ino);
        for (const auto& entry : entries) {
            // A directory that is copied into itself does not copy the copy.
            if (is_dir_mode(entry.attributes.mode) && made_.contains(entry.attributes.ino))
                continue;
            tree(join(from, entry.name), join(to, entry.name), entry.attributes);
        }
        finish(from, to, attributes);
    }

    void symbolic_link(const std::string& from, const std::string& to,
                       const struct ukfs_stat& attributes) {
        std::string target = link_target(session_, from);
        if (target.empty() || !make_room(to)) return;
        if (session_.check(ukfs_symlink(fs(), target.c_str(), to.c_str()), to))
            finish(from, to, attributes);
    }

    void node(const std::string& from, const std::string& to, const struct ukfs_stat& a) {
        if (!make_room(to)) return;
        if (session_.check(ukfs_mknod(fs(), to.c_str(), a.mode, a.rdev_major, a.rdev_minor), to))
            finish(from, to, a);
    }

    void file(const std::string& from, const std::string& to, const struct ukfs_stat& attributes) {
        struct ukfs_stat there;
        if (ukfs_stat(fs(), to.c_str(), &there) == 0 && there.ino == attributes.ino) {
            session_.fail(fmt::format("{} and {} are the same file", from, to));
            return;
        }
        ukfs_file *in = nullptr, *out = nullptr;
        if (!session_.check(ukfs_file_open(fs(), from.c_str(), UKFS_READ, 0, &in), from)) return;
        UkfsFile source(in);
        int flags = UKFS_READ | UKFS_WRITE | UKFS_CREATE | UKFS_TRUNCATE;
        int opened = ukfs_file_open(fs(), to.c_str(), flags, attributes.mode & 07777, &out);
        if (!session_.check(opened, to)) return;
        UkfsFile target(out);
        if (session_.check(copy_data(in, out, attributes.size), to))
            session_.check(ukfs_file_truncate(out, attributes.size), to);
        source.reset();
        target.reset();
        finish(from, to, attributes);
    }

    int64_t copy_data(ukfs_file* in, ukfs_file* out, uint64_t size) {
        uint64_t at = 0;
        while (at < size) {
            int64_t data = ukfs_file_seek(in, at, 0);
            if (data == -ENXIO) break; // only a hole is left
            if (data < 0) return data;
            int64_t hole = ukfs_file_seek(in, static_cast<uint64_t>(data), 1);
            if (hole < 0) return hole;
            at = static_cast<uint64_t>(data);
            while (at < static_cast<uint64_t>(hole)) {
                uint64_t part = std::min<uint64_t>(static_cast<uint64_t>(hole) - at, 1 << 20);
                int64_t moved = ukfs_file_copy(in, at, out, at, part);
                if (moved <= 0) return moved < 0 ? moved : -EIO;
                at += static_cast<uint64_t>(moved);
            }
        }
        return 0;
    }

    /// Owners, times and extended attributes, when asked for; the mode's bits always.
    void finish(const std::string& from, const std::string& to, const struct ukfs_stat& a) {
        bool link = is_link_mode(a.mode);
        if (options_.preserve) {
            session_.check(ukfs_chown(fs(), to.c_str(), a.uid, a.gid, UKFS_NOFOLLOW), to);
            copy_xattrs(from, to);
        }
        if (!link) session_.check(ukfs_chmod(fs(), to.c_str(), a.mode & 07777), to);
        if (options_.preserve)
            session_.check(ukfs_utimens(fs(), to.c_str(), &a.atime, &a.mtime, UKFS_NOFOLLOW), to);
    }

    void copy_xattrs(const std::string& from, const std::string& to) {
        session_.each_xattr(from, [&](const std::string& name, std::span<const char> value) {
            session_.check(ukfs_setxattr(fs(), to.c_str(), name.c_str(), value.data(), value.size(),
                                         UKFS_NOFOLLOW),
                           to);
        });
    }

    Session& session_;
    const CopyOptions options_;
    std::map<uint64_t, std::string> copies_; // by inode number: where the first name went
    std::set<uint64_t> made_;                // directories that this run has made
};

} // namespace

int copy(const Common& common, Paths paths, const CopyOptions& options) {
    if (paths.size() < 2) {
        complain(common, "cp needs what to copy and where to");
        return exit_usage;
    }
    std::string target = std::move(paths.back());
    paths.pop_back();
    Session session(common, true);
    if (!session) return exit_failed;
    const bool from_directory = options.recursive && session.is_dir(paths[0]);
    const std::optional<bool> into = session.goes_into(target, paths.size(), from_directory);
    if (!into) return session.finish();
    Copier copier(session, options);
    for (const std::string& path : paths) {
        struct ukfs_stat attributes;
        int result = options.recursive ? ukfs_lstat(session.fs(), path.c_str(), &attributes)
                                       : ukfs_stat(session.fs(), path.c_str(), &attributes);
        if (!session.check(result, path)) continue;
        session.forget_visits();
        copier.tree(path, *into ? join(target, base_name(path)) : target, attributes);
    }
    return session.finish();
}

} // namespace rump::tool
