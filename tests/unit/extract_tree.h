// Copies a mounted tree out to a directory of the host, through the generic operations, so that
// other programs can judge it: names, contents, times.
#pragma once

#include "kernel/kern/kernel.h"
#include "kernel/vfs/vfs_ops.h"

#include <catch2/catch.hpp>

#include <string>
#include <vector>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace rump::test {

struct Listed {
    std::string name;
    FileType type;
    InodeNumber number;
};

inline std::vector<Listed> list(Vnode& dir) {
    std::vector<Listed> all;
    uint64_t cookie = 0;
    // A few at a time, so that cookies are used.
    for (bool more = true; more;) {
        more = false;
        size_t taken = 0;
        auto read = vfs::readdir(dir, cookie, [&](const DirEntry& entry) {
            if (taken == 7) {
                more = true;
                return false;
            }
            taken++;
            cookie = entry.next_cookie;
            if (entry.name != "." && entry.name != "..")
                all.push_back({std::string(entry.name), entry.type, entry.number});
            return true;
        });
        REQUIRE(read.ok());
    }
    return all;
}

inline void extract_times(const std::string& path, const Attr& attr) {
    timespec times[2] = {{attr.atime.sec, static_cast<long>(attr.atime.nsec)},
                         {attr.mtime.sec, static_cast<long>(attr.mtime.nsec)}};
    utimensat(AT_FDCWD, path.c_str(), times, AT_SYMLINK_NOFOLLOW);
}

inline void extract_file(Vnode& file, const std::string& path) {
    int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL, 0600);
    REQUIRE(fd >= 0);
    std::vector<std::byte> piece(60000);
    for (uint64_t at = 0;;) {
        auto got = vfs::read(file, at, piece);
        REQUIRE(got.ok());
        if (*got == 0) break;
        REQUIRE(pwrite(fd, piece.data(), *got, static_cast<off_t>(at)) ==
                static_cast<ssize_t>(*got));
        at += *got;
    }
    close(fd);
}

/// `path` is a directory that exists.
inline void extract_tree(Vnode& dir, const std::string& path) {
    for (const Listed& entry : list(dir)) {
        INFO(path << "/" << entry.name);
        auto child = vfs::lookup(dir, entry.name, Cred::superuser());
        REQUIRE(child.ok());
        CHECK((*child)->number() == entry.number);
        CHECK((*child)->type() == entry.type);
        std::string target = path + "/" + entry.name;
        if (entry.type == FileType::dir) {
            REQUIRE(mkdir(target.c_str(), 0700) == 0);
            extract_tree(**child, target);
        } else {
            extract_file(**child, target);
        }
        extract_times(target, *vfs::getattr(**child));
    }
}

} // namespace rump::test
