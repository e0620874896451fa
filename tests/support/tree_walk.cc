// Walking a mount.
#include "tests/support/tree_walk.h"

#include "kernel/vfs/namei.h"
#include "kernel/vfs/vfs_ops.h"

#include <fmt/core.h>

#include <algorithm>
#include <set>

namespace rump::test {

namespace {

const Cred& root_cred() {
    static const Cred cred = Cred::superuser();
    return cred;
}

class Walker {
public:
    Walker(Mount& mount, const WalkLimits& limits, WalkVisit visit)
        : mount_(mount), limits_(limits), visit_(visit) {}

    WalkResult run() {
        auto root = mount_.root();
        if (!root) {
            note("/", "root", root.error());
            return std::move(result_);
        }
        directory("", **root, 0);
        return std::move(result_);
    }

private:
    void note(const std::string& path, const char* operation, Errno error) {
        if (result_.errors.size() < 1000)
            result_.errors.push_back(fmt::format("{}: {}: {}", path, operation, errno_name(error)));
    }

    bool exhausted() {
        if (result_.entries < limits_.entries) return false;
        result_.limited = true;
        return true;
    }

    void directory(const std::string& path, Vnode& dir, unsigned depth) {
        if (!entered_.insert(dir.number().value()).second) return;
        if (depth >= limits_.depth) {
            result_.limited = true;
            return;
        }
        std::vector<std::string> names;
        auto listed = vfs::readdir(dir, 0, [&](const DirEntry& entry) {
            if (result_.entries + names.size() >= limits_.entries) return false;
            if (entry.name != "." && entry.name != "..") names.emplace_back(entry.name);
            return true;
        });
        if (!listed) note(path + "/", "readdir", listed.error());
        for (const std::string& name : names) {
            if (exhausted()) return;
            ++result_.entries;
            std::string child_path = path + "/" + name;
            auto child = vfs::lookup(dir, name, root_cred());
            if (!child)
                note(child_path, "lookup", child.error());
            else
                entry(child_path, **child, depth);
        }
    }

    void entry(const std::string& path, Vnode& vnode, unsigned depth) {
        auto attr = vfs::getattr(vnode);
        if (!attr) return note(path, "getattr", attr.error());
        visit_(path, vnode, *attr);
        attributes(path, vnode);
        if (vnode.is_reg()) data(path, vnode, attr->size);
        if (vnode.type() == FileType::lnk)
            if (auto target = vfs::readlink(vnode); !target) note(path, "readlink", target.error());
        if (vnode.is_dir()) directory(path, vnode, depth + 1);
    }

    void attributes(const std::string& path, Vnode& vnode) {
        std::vector<std::string> names;
        auto listed = vfs::listxattr(vnode, root_cred(),
                                     [&](std::string_view name) { names.emplace_back(name); });
        if (!listed) return note(path, "listxattr", listed.error());
        std::vector<std::byte> value(xattr_value_max);
        for (const std::string& name : names)
            if (auto got = vfs::getxattr(vnode, name, value, root_cred()); !got)
                note(path, "getxattr", got.error());
    }

    void data(const std::string& path, Vnode& vnode, uint64_t size) {
        range(path, vnode, 0, std::min(size, limits_.bytes_per_file));
        if (size > limits_.bytes_per_file)
            range(path, vnode,
                  size - std::min(size - limits_.bytes_per_file, limits_.bytes_per_file), size);
    }

    void range(const std::string& path, Vnode& vnode, uint64_t from, uint64_t to) {
        buffer_.resize(1u << 16);
        while (from < to) {
            auto piece = std::span(buffer_).first(std::min<uint64_t>(buffer_.size(), to - from));
            auto got = vfs::read(vnode, from, piece);
            if (!got) return note(path, "read", got.error());
            if (*got == 0) return note(path, "read (short)", Errno::io);
            from += *got;
        }
    }

    Mount& mount_;
    const WalkLimits& limits_;
    WalkVisit visit_;
    WalkResult result_;
    std::set<uint64_t> entered_;
    std::vector<std::byte> buffer_;
};

} // namespace

WalkResult walk(Mount& mount, const WalkLimits& limits, WalkVisit visit) {
    return Walker(mount, limits, visit).run();
}

WalkResult walk(Mount& mount, const WalkLimits& limits) {
    return walk(mount, limits, [](const std::string&, Vnode&, const Attr&) {});
}

Result<std::vector<std::byte>> read_all(Vnode& vnode, uint64_t most) {
    uint64_t size = TRY(vfs::getattr(vnode)).size;
    if (size > most) return Errno::fbig;
    std::vector<std::byte> contents(size);
    for (uint64_t done = 0; done < size;) {
        size_t got = TRY(vfs::read(vnode, done, std::span(contents).subspan(done)));
        if (got == 0) return Errno::io;
        done += got;
    }
    return contents;
}

Result<VnodeRef> at_path(Mount& mount, std::string_view path) {
    VnodeRef root = TRY(mount.root());
    return vfs::namei({root, root}, path, vfs::FollowLast::no, root_cred());
}

} // namespace rump::test
