// A random workload on a mounted file system, and a model of what must be there afterwards. For
// formats without links and owners.
#pragma once

#include "hostshim/random.h"
#include "kernel/kern/kernel.h"
#include "kernel/vfs/vfs_ops.h"

#include <catch2/catch.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

namespace rump::test {

class Workload {
public:
    Workload(Mount& mount, uint64_t seed, uint64_t biggest)
        : mount_(&mount), random_(seed), biggest_(biggest) {}

    void mount_again(Mount& mount) { mount_ = &mount; }

    void run(unsigned steps) {
        for (unsigned i = 0; i < steps; i++) step();
    }

    /// Every name, size and byte.
    void compare() {
        size_t seen = 0;
        compare_dir("", *mount_->root().release_value(), seen);
        CHECK(seen == files_.size() + dirs_.size());
    }

    const std::map<std::string, std::string>& files() const { return files_; }
    unsigned refused_for_space = 0;

private:
    using Ref = VnodeRef;
    static std::string parent(const std::string& path) {
        return path.substr(0, path.rfind('/') == path.npos ? 0 : path.rfind('/'));
    }
    static std::string leaf(const std::string& path) {
        return path.substr(path.rfind('/') == path.npos ? 0 : path.rfind('/') + 1);
    }
    Ref walk(const std::string& path) {
        Ref at = *mount_->root();
        for (size_t begin = 0; begin < path.size();) {
            size_t end = std::min(path.find('/', begin), path.size());
            auto next = vfs::lookup(*at, path.substr(begin, end - begin), Cred::superuser());
            INFO(path);
            REQUIRE(next.ok());
            at = next.release_value();
            begin = end + 1;
        }
        return at;
    }
    uint64_t below(uint64_t n) { return random_.below(n); }
    std::string new_name() {
        static const char* const shapes[] = {
            "f{}",        "File {}.Text", "UPPER{}.TXT", "a longer name with number {} in it",
            "n{}.c",      "Grün {}.jpeg", "日本{}",      "x.{}.y.z",
            "mixed{}.TXT"};
        std::string name = fmt::format(fmt::runtime(shapes[below(std::size(shapes))]), count_++);
        std::string dir = pick_dir();
        return dir.empty() ? name : dir + "/" + name;
    }
    std::string pick_dir() {
        size_t n = below(dirs_.size() + 1);
        return n == dirs_.size() ? "" : dirs_[n];
    }
    std::string pick_file() {
        auto it = files_.begin();
        std::advance(it, static_cast<long>(below(files_.size())));
        return it->first;
    }
    bool space(const Errno& error) {
        if (error != Errno::nospc) return false;
        refused_for_space++;
        return true;
    }

    void step() {
        uint64_t what = below(100);
        if (what < 22 || files_.empty())
            create();
        else if (what < 50)
            write();
        else if (what < 60)
            truncate();
        else if (what < 75)
            remove();
        else if (what < 90)
            rename();
        else if (what < 94)
            make_dir();
        else if (what < 97)
            remove_dir();
        else
            REQUIRE(mount_->sync().ok());
    }
    void create() {
        std::string path = new_name();
        auto made = vfs::create(*walk(parent(path)), leaf(path), {}, Cred::superuser());
        if (!made) {
            REQUIRE(space(made.error()));
            return;
        }
        files_[path] = "";
    }
    void write() {
        std::string path = pick_file();
        std::string& content = files_[path];
        uint64_t offset = below(4) == 0 ? below(biggest_) : below(content.size() + 1);
        std::string data(1 + below(biggest_ / 4), '\0');
        for (size_t i = 0; i < data.size(); i++)
            data[i] = static_cast<char>('a' + (i * 7 + count_ + i / 512) % 26);
        count_++;
        Ref file = walk(path);
        auto written = vfs::write(*file, offset, std::as_bytes(std::span(data)), Cred::superuser());
        if (!written) {
            REQUIRE(space(written.error()));
            // What a refused write leaves of its way there is the file's size.
            content.resize(vfs::getattr(*file)->size, '\0');
            return;
        }
        if (content.size() < offset + *written) content.resize(offset + *written, '\0');
        content.replace(offset, *written, data.substr(0, *written));
        if (*written < data.size()) refused_for_space++;
    }
    void truncate() {
        std::string path = pick_file();
        std::string& content = files_[path];
        AttrChange change;
        change.size = below(3) == 0 ? 0 : below(biggest_);
        auto done = vfs::setattr(*walk(path), change, Cred::superuser());
        if (!done) {
            REQUIRE(space(done.error()));
            return;
        }
        content.resize(*change.size, '\0');
    }
    void remove() {
        std::string path = pick_file();
        auto done = vfs::unlink(*walk(parent(path)), leaf(path), Cred::superuser());
        INFO(path);
        REQUIRE(done.ok());
        files_.erase(path);
    }
    void rename() {
        bool dir = !dirs_.empty() && below(5) == 0;
        std::string from = dir ? dirs_[below(dirs_.size())] : pick_file();
        std::string to = !dir && below(3) == 0 ? pick_file() : new_name();
        if (to == from || to.starts_with(from + "/")) return;
        auto done = vfs::rename(*walk(parent(from)), leaf(from), *walk(parent(to)), leaf(to),
                                vfs::RenameMode::replace, Cred::superuser());
        INFO(from << " -> " << to);
        if (!done) {
            REQUIRE(space(done.error()));
            return;
        }
        if (!dir) {
            std::string content = files_[from];
            files_.erase(from);
            files_[to] = content;
            return;
        }
        auto moved = [&](const std::string& path) {
            return path == from || path.starts_with(from + "/") ? to + path.substr(from.size())
                                                                : path;
        };
        for (std::string& path : dirs_) path = moved(path);
        std::map<std::string, std::string> files;
        for (auto& [path, content] : files_) files[moved(path)] = std::move(content);
        files_ = std::move(files);
    }
    void make_dir() {
        std::string path = new_name();
        auto made = vfs::mkdir(*walk(parent(path)), leaf(path), {}, Cred::superuser());
        if (!made) {
            REQUIRE(space(made.error()));
            return;
        }
        dirs_.push_back(path);
    }
    void remove_dir() {
        if (dirs_.empty()) return;
        size_t n = below(dirs_.size());
        std::string path = dirs_[n];
        auto inside = [&](const std::string& p) { return p.starts_with(path + "/"); };
        bool empty = std::none_of(dirs_.begin(), dirs_.end(), inside) &&
                     std::none_of(files_.begin(), files_.end(),
                                  [&](const auto& f) { return inside(f.first); });
        auto done = vfs::rmdir(*walk(parent(path)), leaf(path), Cred::superuser());
        INFO(path);
        REQUIRE(done.ok() == empty);
        if (!empty) CHECK(done.error() == Errno::notempty);
        if (empty) dirs_.erase(dirs_.begin() + static_cast<long>(n));
    }
    void compare_dir(const std::string& path, Vnode& dir, size_t& seen) {
        std::vector<std::pair<std::string, FileType>> entries;
        auto read = vfs::readdir(dir, 0, [&](const DirEntry& e) {
            if (e.name != "." && e.name != "..") entries.emplace_back(e.name, e.type);
            return true;
        });
        REQUIRE(read.ok());
        for (const auto& [name, type] : entries) {
            seen++;
            std::string child = path.empty() ? name : path + "/" + name;
            INFO(child);
            Ref vnode = walk(child);
            if (type == FileType::dir) {
                CHECK(std::find(dirs_.begin(), dirs_.end(), child) != dirs_.end());
                compare_dir(child, *vnode, seen);
                continue;
            }
            auto model = files_.find(child);
            REQUIRE(model != files_.end());
            REQUIRE(vfs::getattr(*vnode)->size == model->second.size());
            std::string content(model->second.size(), '\0');
            auto got = vfs::read(*vnode, 0, std::as_writable_bytes(std::span(content)));
            REQUIRE(got.ok());
            CHECK(*got == content.size());
            CHECK((content == model->second));
        }
    }

    Mount* mount_;
    host::SeededRandom random_;
    const uint64_t biggest_;
    unsigned count_ = 0;
    std::map<std::string, std::string> files_;
    std::vector<std::string> dirs_;
};

} // namespace rump::test
