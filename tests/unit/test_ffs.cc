// FFS as made by newfs: random work compared with a model, with check after each unmount; a full
// file system; crash states; damage. All in memory.
#include "kernel/fs/ffs/ffs.h"
#include "kernel/kern/kernel.h"
#include "kernel/vfs/vfs_ops.h"

#include "hostshim/memory_device.h"
#include "hostshim/overlay_device.h"
#include "hostshim/recording_device.h"
#include "tests/support/ffs_volume.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <map>

using namespace rump;
using test::ffs_findings;
using test::make_ffs;
using test::mount_ffs;

namespace {

const Cred root = Cred::superuser();

/// The layouts, and the oldest one that is written.
std::vector<test::FfsLayout> all_layouts() {
    auto all = test::ffs_layouts();
    all.push_back({"0", "le", "8k", "1k", false});
    return all;
}

bool has_xattrs(const test::FfsLayout& layout) { return layout.format == "2"; }

/// What should be there.
struct Model {
    struct Node {
        bool dir = false;
        std::string data; // or a symlink's target
        bool link = false;
        std::map<std::string, std::string> xattrs;
    };
    std::map<std::string, std::shared_ptr<Node>> names; // paths without a leading slash
};

class Work {
public:
    Work(Mount& mount, uint64_t seed, bool xattrs)
        : mount_(mount), random_(seed), xattrs_(xattrs), root_(*mount.root()) {}

    Model model;
    void steps(int n) {
        for (int i = 0; i < n; ++i) step();
    }
    void compare() { compare_dir("", *root_); }

    VnodeRef find(const std::string& path) {
        VnodeRef at = root_;
        size_t start = 0;
        while (start < path.size()) {
            size_t end = path.find('/', start);
            if (end == std::string::npos) end = path.size();
            auto next = vfs::lookup(*at, path.substr(start, end - start), root);
            REQUIRE(next.ok());
            at = *next;
            start = end + 1;
        }
        return at;
    }

private:
    std::string pick(bool dir_only, bool file_only = false) {
        std::vector<std::string> list;
        if (dir_only) list.emplace_back("");
        for (const auto& [path, node] : model.names)
            if ((!dir_only || node->dir) && (!file_only || (!node->dir && !node->link)))
                list.push_back(path);
        return list.empty() ? "" : list[random_.below(list.size())];
    }
    static std::pair<std::string, std::string> split(const std::string& path) {
        const size_t slash = path.rfind('/');
        if (slash == std::string::npos) return {"", path};
        return {path.substr(0, slash), path.substr(slash + 1)};
    }
    std::string new_name() {
        std::string name = "n" + std::to_string(random_.below(100000));
        if (random_.below(4) == 0) name += std::string(random_.below(200), 'x');
        return name;
    }
    bool has_children(const std::string& path) {
        const auto it = model.names.upper_bound(path + "/");
        return it != model.names.end() && it->first.starts_with(path + "/");
    }
    void step() {
        const uint64_t what = random_.below(100);
        if (what < 30) return create();
        if (what < 60) return write();
        if (what < 68) return truncate();
        if (what < 78) return remove();
        if (what < 86) return rename();
        if (what < 90) return link();
        if (what < 93) return punch();
        if (what < 96 && xattrs_) return xattr();
        if (what < 98) {
            REQUIRE(mount_.sync().ok());
            return;
        }
        compare();
    }
    void create() {
        const std::string dir = pick(true);
        const std::string path = (dir.empty() ? "" : dir + "/") + new_name();
        if (model.names.contains(path)) return;
        const auto [parent, name] = split(path);
        VnodeRef at = find(parent);
        auto node = std::make_shared<Model::Node>();
        const uint64_t kind = random_.below(10);
        if (kind < 2) {
            node->dir = true;
            REQUIRE(vfs::mkdir(*at, name, {.mode = 0755}, root).ok());
        } else if (kind == 2) {
            node->link = true;
            node->data = std::string(1 + random_.below(random_.below(2) ? 50 : 900), 't');
            REQUIRE(vfs::symlink(*at, name, node->data, root).ok());
        } else {
            REQUIRE(vfs::create(*at, name, {.mode = 0644}, root).ok());
        }
        model.names[path] = node;
    }
    void write() {
        const std::string path = pick(false, true);
        if (path.empty()) return;
        auto& data = model.names[path]->data;
        uint64_t offset = random_.below(data.size() + 1);
        if (random_.below(20) == 0) offset += random_.below(300000);
        const uint64_t most = random_.below(10) == 0 ? 200000 : 6000;
        std::string bytes(1 + random_.below(most), static_cast<char>('a' + random_.below(26)));
        auto wrote = vfs::write(*find(path), offset, std::as_bytes(std::span(bytes)), root);
        REQUIRE(wrote.ok());
        REQUIRE(*wrote == bytes.size());
        if (data.size() < offset + bytes.size()) data.resize(offset + bytes.size());
        std::copy(bytes.begin(), bytes.end(), data.begin() + static_cast<ptrdiff_t>(offset));
    }
    void truncate() {
        const std::string path = pick(false, true);
        if (path.empty()) return;
        auto& data = model.names[path]->data;
        const uint64_t size = random_.below(3) == 0 ? random_.below(data.size() + 100000)
                                                    : random_.below(data.size() + 1);
        AttrChange change;
        change.size = size;
        REQUIRE(vfs::setattr(*find(path), change, root).ok());
        data.resize(size);
    }
    void punch() {
        const std::string path = pick(false, true);
        if (path.empty() || model.names[path]->data.empty()) return;
        auto& data = model.names[path]->data;
        const uint64_t from = random_.below(data.size());
        const uint64_t n = 1 + random_.below(data.size() - from);
        REQUIRE(vfs::fallocate(*find(path), from, n, vfs::Fallocate::punch_hole, root).ok());
        std::fill_n(data.begin() + static_cast<ptrdiff_t>(from), n, '\0');
    }
    void xattr() {
        const std::string path = pick(false, true);
        if (path.empty()) return;
        const std::string name = "user.a" + std::to_string(random_.below(6));
        auto node = model.names[path];
        if (node->xattrs.contains(name) && random_.below(2)) {
            REQUIRE(vfs::removexattr(*find(path), name, root).ok());
            node->xattrs.erase(name);
            return;
        }
        const std::string value(random_.below(700), 'v');
        REQUIRE(
            vfs::setxattr(*find(path), name, std::as_bytes(std::span(value)), XattrSet::any, root)
                .ok());
        node->xattrs[name] = value;
    }
    void remove() {
        const std::string path = pick(false);
        if (path.empty()) return;
        const auto [parent, name] = split(path);
        VnodeRef at = find(parent);
        if (!model.names[path]->dir) {
            REQUIRE(vfs::unlink(*at, name, root).ok());
        } else if (has_children(path)) {
            REQUIRE(vfs::rmdir(*at, name, root).error() == Errno::notempty);
            return;
        } else {
            REQUIRE(vfs::rmdir(*at, name, root).ok());
        }
        model.names.erase(path);
    }
    void link() {
        const std::string path = pick(false, true);
        if (path.empty()) return;
        const std::string dir = pick(true);
        const std::string to = (dir.empty() ? "" : dir + "/") + new_name();
        if (model.names.contains(to)) return;
        const auto [parent, name] = split(to);
        REQUIRE(vfs::link(*find(path), *find(parent), name, root).ok());
        model.names[to] = model.names[path];
    }
    void rename() {
        const std::string from = pick(false);
        if (from.empty()) return;
        const std::string dir = pick(true);
        if (dir == from || dir.starts_with(from + "/")) return;
        const std::string to = (dir.empty() ? "" : dir + "/") + new_name();
        std::string target = to;
        if (random_.below(3) == 0) { // onto a file
            target = pick(false, true);
            if (target.empty() || model.names[from]->dir || target == from ||
                model.names[target] == model.names[from])
                return;
        } else if (model.names.contains(to)) {
            return;
        }
        const auto [from_parent, from_name] = split(from);
        const auto [to_parent, to_name] = split(target);
        REQUIRE(vfs::rename(*find(from_parent), from_name, *find(to_parent), to_name,
                            vfs::RenameMode::replace, root)
                    .ok());
        model.names[target] = model.names[from];
        std::map<std::string, std::shared_ptr<Model::Node>> moved;
        for (auto it = model.names.begin(); it != model.names.end();) {
            if (it->first.starts_with(from + "/")) {
                moved[target + it->first.substr(from.size())] = it->second;
                it = model.names.erase(it);
            } else {
                ++it;
            }
        }
        model.names.erase(from);
        model.names.merge(moved);
    }
    void compare_dir(const std::string& path, Vnode& dir) {
        std::vector<std::string> got, want;
        REQUIRE(vfs::readdir(dir, 0, [&](const DirEntry& e) {
                    if (e.name != "." && e.name != "..") got.emplace_back(e.name);
                    return true;
                }).ok());
        const std::string prefix = path.empty() ? "" : path + "/";
        uint32_t subdirs = 0;
        for (const auto& [name, node] : model.names) {
            if (!name.starts_with(prefix) || name.find('/', prefix.size()) != std::string::npos)
                continue;
            want.push_back(name.substr(prefix.size()));
            subdirs += node->dir ? 1 : 0;
        }
        std::sort(got.begin(), got.end());
        REQUIRE(got == want);
        CHECK(vfs::getattr(dir)->nlink == 2 + subdirs);
        for (const auto& name : got) {
            const auto& node = *model.names[prefix + name];
            VnodeRef child = *vfs::lookup(dir, name, root);
            if (node.dir) {
                compare_dir(prefix + name, *child);
            } else if (node.link) {
                CHECK(*vfs::readlink(*child) == node.data);
            } else {
                compare_file(prefix + name, *child, node);
            }
        }
    }
    void compare_file(const std::string& path, Vnode& file, const Model::Node& node) {
        const Attr a = *vfs::getattr(file);
        INFO(path);
        REQUIRE(a.size == node.data.size());
        std::string data(a.size, '\0');
        REQUIRE(*vfs::read(file, 0, std::as_writable_bytes(std::span(data))) == data.size());
        REQUIRE(std::equal(data.begin(), data.end(), node.data.begin()));
        if (!xattrs_) return;
        std::vector<std::string> names;
        REQUIRE(vfs::listxattr(file, root, [&](std::string_view name) {
                    names.emplace_back(name);
                }).ok());
        std::map<std::string, std::string> xattrs;
        for (const auto& name : names) {
            std::string value(*vfs::getxattr(file, name, {}, root), '\0');
            if (!value.empty())
                REQUIRE(
                    vfs::getxattr(file, name, std::as_writable_bytes(std::span(value)), root).ok());
            xattrs[name] = value;
        }
        CHECK(xattrs == node.xattrs);
    }

    Mount& mount_;
    host::SeededRandom random_;
    const bool xattrs_;
    VnodeRef root_;
};

} // namespace

TEST_CASE("newfs makes what check calls clean, in every format, order and size") {
    Kernel kernel;
    for (const auto& layout : all_layouts()) {
        INFO(layout.name());
        auto device = host::make_memory_device(24u << 20);
        make_ffs(*device, layout);
        CHECK(ffs_findings(*device) == "");
        Mount* m = mount_ffs(kernel, *device);
        REQUIRE(kernel.unmount(*m, false).ok());
        CHECK(ffs_findings(*device) == "");
    }
}

TEST_CASE("random work leaves what the model says, and check finds nothing") {
    for (const auto& layout : all_layouts()) {
        INFO(layout.name());
        Kernel kernel;
        auto device = host::make_memory_device(24u << 20);
        make_ffs(*device, layout);
        Model model;
        for (uint64_t round = 0; round < 2; ++round) {
            Mount* m = mount_ffs(kernel, *device);
            {
                Work work(*m, 100 + round, has_xattrs(layout));
                work.model = model;
                work.compare();
                work.steps(400);
                work.compare();
                model = work.model;
            }
            REQUIRE(kernel.unmount(*m, false).ok());
            CHECK(ffs_findings(*device) == "");
        }
        Mount* m = mount_ffs(kernel, *device, true);
        {
            Work work(*m, 1, has_xattrs(layout));
            work.model = model;
            work.compare();
        }
        REQUIRE(kernel.unmount(*m, false).ok());
    }
}

TEST_CASE("a big directory grows, is found by its index, and shrinks") {
    for (const char* format : {"1", "2"}) {
        Kernel kernel;
        auto device = host::make_memory_device(32u << 20);
        make_ffs(*device, {format, "le", "8k", "1k"});
        Mount* m = mount_ffs(kernel, *device);
        {
            VnodeRef top = *m->root();
            VnodeRef dir = *vfs::mkdir(*top, "d", {.mode = 0755}, root);
            for (int i = 0; i < 3000; ++i)
                REQUIRE(vfs::create(*dir, "file" + std::to_string(i), {.mode = 0644}, root).ok());
            for (int i = 0; i < 3000; i += 7)
                REQUIRE(vfs::lookup(*dir, "file" + std::to_string(i), root).ok());
            CHECK(vfs::lookup(*dir, "file3000", root).error() == Errno::noent);
            const uint64_t big = vfs::getattr(*dir)->size;
            for (int i = 0; i < 3000; ++i)
                REQUIRE(vfs::unlink(*dir, "file" + std::to_string(i), root).ok());
            CHECK(vfs::getattr(*dir)->size < big);
            REQUIRE(vfs::rmdir(*top, "d", root).ok());
        }
        REQUIRE(kernel.unmount(*m, false).ok());
        CHECK(ffs_findings(*device) == "");
    }
}

TEST_CASE("a directory that shrank is found whole when it is big again") {
    Kernel kernel;
    auto device = host::make_memory_device(32u << 20);
    make_ffs(*device, {"2", "le", "8k", "1k"});
    Mount* m = mount_ffs(kernel, *device);
    {
        VnodeRef top = *m->root();
        VnodeRef dir = *vfs::mkdir(*top, "d", {.mode = 0755}, root);
        const auto create = [&](char letter, int count) {
            for (int i = 0; i < count; ++i)
                REQUIRE(vfs::create(*dir, letter + std::to_string(i), {.mode = 0644}, root).ok());
        };
        const auto unlink = [&](char letter, int count) {
            for (int i = count; i-- > 0;)
                REQUIRE(vfs::unlink(*dir, letter + std::to_string(i), root).ok());
        };
        create('a', 1000);
        const uint64_t big = vfs::getattr(*dir)->size;
        unlink('a', 1000); // to one chunk
        REQUIRE(vfs::getattr(*dir)->size < big / 8);
        create('b', 20);
        create('c', 1000);
        unlink('c', 1000);
        unlink('b', 20);
        CHECK(vfs::rmdir(*top, "d", root).ok());
    }
    REQUIRE(kernel.unmount(*m, false).ok());
    CHECK(ffs_findings(*device) == "");
}

TEST_CASE("a full file system refuses, loses nothing, and has the space again afterwards") {
    for (const bool log : {false, true}) {
        Kernel kernel;
        auto device = host::make_memory_device(8u << 20);
        make_ffs(*device, {"2", "le", "8k", "1k", log});
        Mount* m = mount_ffs(kernel, *device);
        const uint64_t free = m->statvfs()->blocks_free;
        {
            VnodeRef top = *m->root();
            const std::string part(50000, 'p');
            for (int i = 0;; ++i) {
                auto file = vfs::create(*top, "f" + std::to_string(i), {.mode = 0644}, root);
                if (!file) {
                    CHECK(file.error() == Errno::nospc);
                    break;
                }
                auto n = vfs::write(**file, 0, std::as_bytes(std::span(part)), root);
                if (!n || *n < part.size()) break;
                REQUIRE(i < 1000);
            }
            std::vector<std::string> names;
            REQUIRE(vfs::readdir(*top, 0, [&](const DirEntry& e) {
                        if (e.name.starts_with('f')) names.emplace_back(e.name);
                        return true;
                    }).ok());
            for (const auto& name : names) REQUIRE(vfs::unlink(*top, name, root).ok());
            // What was freed can be used at once.
            VnodeRef again = *vfs::create(*top, "again", {.mode = 0644}, root);
            const std::string large(4000000, 'q');
            auto n = vfs::write(*again, 0, std::as_bytes(std::span(large)), root);
            REQUIRE(n.ok());
            CHECK(*n == large.size());
            REQUIRE(vfs::unlink(*top, "again", root).ok());
        }
        REQUIRE(m->sync().ok());
        CHECK(m->statvfs()->blocks_free == free);
        REQUIRE(kernel.unmount(*m, false).ok());
        CHECK(ffs_findings(*device) == "");
    }
}

TEST_CASE("every state that a crash leaves is mended by check, or by the log alone") {
    for (const char* format : {"1", "2"})
        for (bool log : {false, true}) {
            INFO("format " << format << (log ? " log" : ""));
            Kernel kernel;
            auto base = host::make_memory_device(8u << 20);
            make_ffs(*base, {format, "le", "8k", "1k", log});
            auto* recorder =
                new host::RecordingDevice(host::make_memory_overlay(*base)); // the mount owns it
            std::vector<host::RecordedEvent> events;
            {
                MountArgs args;
                args.device.reset(recorder);
                auto m = kernel.mount(ffs::type(), std::move(args));
                REQUIRE(m.ok());
                {
                    Work work(**m, 7, false);
                    work.steps(250);
                }
                events = recorder->events();
                REQUIRE(kernel.unmount(**m, false).ok());
            }
            // After each flush, and with a part of the writes that follow it.
            auto state = host::make_memory_overlay(*base);
            host::SeededRandom random(3);
            int tried = 0;
            for (size_t i = 0; i < events.size(); ++i) {
                REQUIRE(host::replay(events[i], *state).ok());
                if (events[i].kind != host::RecordedEvent::Kind::flush || random.below(3) != 0)
                    continue;
                auto crashed = host::make_memory_overlay(*state);
                for (size_t k = i + 1;
                     k < events.size() && events[k].kind != host::RecordedEvent::Kind::flush; ++k)
                    if (random.below(2)) REQUIRE(host::replay(events[k], *crashed).ok());
                INFO("event " << i);
                ++tried;
                if (log) {
                    Mount* m = mount_ffs(kernel, *crashed);
                    REQUIRE(kernel.unmount(*m, false).ok());
                } else {
                    CHECK(ffs_findings(*crashed, true) == "");
                }
                REQUIRE(ffs_findings(*crashed) == "");
            }
            CHECK(tried > 3);
        }
}
