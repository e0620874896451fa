// File handles, read-only mounts, file flags, what survives an unmount, threads.
#include "tests/conformance/helpers.h"

#include <thread>

using namespace rump;
using namespace rump::conformance;

CONFORMANCE("a handle finds its file, whatever its name is") {
    if (!fs.traits.handles) return;
    fs.mkdir("d");
    fs.write("d/f", "x");
    const std::string handle = fs.handle("d/f").take();
    const Attr attr = fs.attr("d/f");
    CHECK(fs.stat_handle(handle)->number == attr.number);
    fs.rename("d/f", "g");
    fs.rmdir("d");
    CHECK(fs.stat_handle(handle)->number == attr.number);
    CHECK(fs.stat_handle(fs.handle(".").take())->type == FileType::dir);
    if (!fs.traits.persistent || !fs.traits.lasting_handles) return;
    fs.reopen();
    CHECK(fs.stat_handle(handle)->number == attr.number);
    CHECK(fs.stat_handle(handle)->size == 1);
}

CONFORMANCE("a handle of a file that is gone is ESTALE, also when its number is used again") {
    if (!fs.traits.handles) return;
    fs.write("f", "x");
    const std::string handle = fs.handle("f").take();
    fs.unlink("f");
    CHECK(fs.stat_handle(handle) == Errno::stale);
    for (int i = 0; i < 100; ++i) fs.write("f" + std::to_string(i), "y");
    CHECK(fs.stat_handle(handle) == Errno::stale);
    if (!fs.traits.persistent || !fs.traits.lasting_handles) return;
    fs.reopen();
    CHECK(fs.stat_handle(handle) == Errno::stale);
}

CONFORMANCE("a read-only mount refuses every change and answers every question") {
    if (!fs.can_remount()) return;
    fs.mkdir("d");
    fs.write("f", "text");
    fs.write("d/g", "");
    if (fs.traits.symlinks) fs.symlink("f", "l");
    if (fs.traits.user_xattrs) fs.setxattr("f", "user.a", "1");
    REQUIRE(fs.remount(true) == ok);
    CHECK(fs.open("f", O_RDWR) == Errno::rofs);
    CHECK(fs.open("f", O_RDONLY | O_TRUNC) == Errno::rofs);
    CHECK(fs.open("new", O_RDWR | O_CREAT) == Errno::rofs);
    CHECK(fs.open("f", O_RDONLY | O_CREAT) == ok); // there is nothing to make
    CHECK(fs.mkdir("new") == Errno::rofs);
    CHECK(fs.mkdir("d") == Errno::exist);
    CHECK(fs.mknod("new", FileType::reg) == Errno::rofs);
    CHECK(fs.symlink("x", "new") == Errno::rofs);
    CHECK(fs.link("f", "new") == Errno::rofs);
    CHECK(fs.unlink("f") == Errno::rofs);
    CHECK(fs.rmdir("d") == Errno::rofs);
    CHECK(fs.rename("f", "h") == Errno::rofs);
    CHECK(fs.chmod("f", 0600) == Errno::rofs);
    CHECK(fs.chown("f", 1, 1) == Errno::rofs);
    CHECK(fs.utimes("f", at(1), at(1)) == Errno::rofs);
    CHECK(fs.utimes("f", time_now, time_now) == Errno::rofs);
    CHECK(fs.truncate("f", 0) == Errno::rofs);
    CHECK(fs.access("f", vfs::may_write) == Errno::rofs);
    CHECK(fs.access("f", vfs::may_read) == ok);
    if (fs.traits.user_xattrs) {
        CHECK(fs.setxattr("f", "user.a", "2") == Errno::rofs);
        CHECK(fs.removexattr("f", "user.a") == Errno::rofs);
        CHECK(fs.getxattr("f", "user.a") == "1");
    }
    if (fs.traits.file_flags) CHECK(fs.set_flags("f", file_flag::nodump) == Errno::rofs);
    CHECK(fs.read("f") == "text");
    CHECK(fs.list("d") == Names{"g"});
    CHECK(fs.stat("f")->size == 4);
    CHECK(fs.statvfs() == ok);
    CHECK(fs.sync() == ok);
    if (fs.traits.symlinks) CHECK(fs.readlink("l") == "f");
    REQUIRE(fs.remount(false) == ok);
    CHECK(fs.write("f", "changed") == ok);
    CHECK(fs.unlink("d/g") == ok);
    CHECK(fs.rmdir("d") == ok);
}

CONFORMANCE("an immutable file is not changed, linked, renamed or removed") {
    if (!fs.traits.file_flags || !fs.can_switch_user()) return;
    fs.write("f", "x");
    fs.write("g", "y");
    CHECK(fs.set_flags("f", file_flag::immutable) == ok);
    CHECK(fs.flags("f") == file_flag::immutable);
    CHECK(fs.write("f", "changed") == Errno::perm);
    if (fs.asks_at_open()) {
        CHECK(fs.open("f", O_WRONLY) == Errno::perm);
        CHECK(fs.access("f", vfs::may_write) == Errno::perm);
    }
    CHECK(fs.open("f", O_RDONLY) == ok);
    CHECK(fs.unlink("f") == Errno::perm);
    CHECK(fs.rename("f", "h") == Errno::perm);
    CHECK(fs.rename("g", "f") == Errno::perm);
    CHECK(fs.link("f", "h") == Errno::perm);
    CHECK(fs.chmod("f", 0600) == Errno::perm);
    CHECK(fs.chown("f", 1, 1) == Errno::perm);
    CHECK(fs.truncate("f", 0) == Errno::perm);
    CHECK(fs.utimes("f", at(1), at(1)) == Errno::perm);
    CHECK(fs.setxattr("f", "user.a", "1") == Errno::perm);
    CHECK(fs.read("f") == "x");
    if (fs.traits.persistent) fs.reopen();
    CHECK(fs.unlink("f") == Errno::perm);
    CHECK(fs.set_flags("f", 0) == ok);
    CHECK(fs.unlink("f") == ok);
}

CONFORMANCE("in an immutable directory no name comes or goes") {
    if (!fs.traits.file_flags || !fs.can_switch_user()) return;
    fs.mkdir("d");
    fs.write("d/f", "x");
    fs.write("g", "y");
    fs.set_flags("d", file_flag::immutable);
    CHECK(fails_with_one_of(fs.open("d/new", O_RDWR | O_CREAT), {Errno::perm, Errno::acces}));
    CHECK(fails_with_one_of(fs.mkdir("d/new"), {Errno::perm, Errno::acces}));
    CHECK(fails_with_one_of(fs.unlink("d/f"), {Errno::perm, Errno::acces}));
    CHECK(fails_with_one_of(fs.rename("d/f", "d/h"), {Errno::perm, Errno::acces}));
    CHECK(fails_with_one_of(fs.rename("g", "d/g"), {Errno::perm, Errno::acces}));
    CHECK(fs.write("d/f", "changed") == ok); // the file itself is free
    fs.set_flags("d", 0);
    CHECK(fs.unlink("d/f") == ok);
}

CONFORMANCE("an append-only file grows at its end and nowhere else") {
    if (!fs.traits.file_flags || !fs.can_switch_user()) return;
    fs.write("f", "start");
    CHECK(fs.set_flags("f", file_flag::append) == ok);
    CHECK(fs.write("f", "new") == Errno::perm);
    if (fs.asks_at_open()) CHECK(fs.open("f", O_WRONLY) == Errno::perm);
    CHECK(fs.open("f", O_WRONLY | O_TRUNC | O_APPEND) == Errno::perm);
    CHECK(fs.truncate("f", 0) == Errno::perm);
    CHECK(fs.unlink("f") == Errno::perm);
    CHECK(fs.rename("f", "g") == Errno::perm);
    CHECK(fs.link("f", "g") == Errno::perm);
    CHECK(fs.chmod("f", 0600) == Errno::perm);
    auto file = fs.open("f", O_WRONLY | O_APPEND);
    CHECK(file->append(" more") == 5u);
    file->close();
    CHECK(fs.read("f") == "start more");
    fs.set_flags("f", 0);
    CHECK(fs.unlink("f") == ok);
}

CONFORMANCE("into an append-only directory names come, and stay") {
    if (!fs.traits.file_flags || !fs.can_switch_user()) return;
    fs.mkdir("d");
    fs.set_flags("d", file_flag::append);
    CHECK(fs.write("d/f", "x") == ok);
    CHECK(fs.mkdir("d/e") == ok);
    CHECK(fs.unlink("d/f") == Errno::perm);
    CHECK(fs.rmdir("d/e") == Errno::perm);
    CHECK(fs.rename("d/f", "d/g") == Errno::perm);
    fs.set_flags("d", 0);
    CHECK(fs.unlink("d/f") == ok);
}

CONFORMANCE("flags are kept; only root makes files immutable") {
    if (!fs.traits.file_flags || !fs.can_switch_user()) return;
    fs.mkdir("d");
    fs.chmod("d", 0777);
    fs.as(alice).write("d/f", "x");
    const FileFlags both = file_flag::nodump | (fs.traits.noatime_flag ? file_flag::noatime : 0);
    CHECK(fs.as(alice).set_flags("d/f", both) == ok);
    if (!fs.traits.noatime_flag)
        CHECK(fs.set_flags("d/f", both | file_flag::noatime) == Errno::opnotsupp);
    if (fs.traits.persistent) fs.reopen();
    CHECK(fs.flags("d/f") == both);
    CHECK(fs.as(alice).set_flags("d/f", both | file_flag::immutable) == Errno::perm);
    CHECK(fs.as(alice).set_flags("d/f", both | file_flag::append) == Errno::perm);
    fs.chmod("d/f", 0666);
    CHECK(fails_with_one_of(fs.as(bob).set_flags("d/f", 0), {Errno::perm, Errno::acces}));
    CHECK(fs.flags("d/f") == both);
    CHECK(fs.as(alice).set_flags("d/f", 0) == ok);
}

CONFORMANCE("a tree survives the unmount with everything that it holds") {
    if (!fs.traits.persistent) return;
    std::vector<std::string> paths;
    for (int d = 0; d < 8; ++d) {
        const std::string dir = "dir" + std::to_string(d);
        fs.mkdir(dir, 0700 + static_cast<uint32_t>(d));
        paths.push_back(dir);
        for (int f = 0; f < 12; ++f) {
            const std::string file = dir + "/file" + std::to_string(f);
            fs.write(file, pattern(static_cast<size_t>(f * f * 300), static_cast<uint32_t>(f)));
            if (fs.traits.owners) fs.chmod(file, 0600 + static_cast<uint32_t>(f));
            if (fs.traits.user_xattrs && f % 3 == 0) fs.setxattr(file, "user.f", std::to_string(f));
            paths.push_back(file);
        }
        if (fs.traits.symlinks) {
            fs.symlink("../dir0/file" + std::to_string(d), dir + "/link");
            paths.push_back(dir + "/link");
        }
    }
    std::vector<Attr> before;
    for (const std::string& path : paths) before.push_back(fs.attr(path));
    for (int round = 0; round < 2; ++round) {
        fs.reopen();
        for (size_t i = 0; i < paths.size(); ++i) {
            const Attr after = fs.attr(paths[i]);
            CHECK(after.type == before[i].type);
            CHECK(after.mode == before[i].mode);
            CHECK(after.nlink == before[i].nlink);
            CHECK(after.size == before[i].size);
            CHECK(after.mtime == as_stored(fs, before[i].mtime));
            if (after.type != FileType::dir) CHECK(after.blocks == before[i].blocks);
            if (fs.traits.handles) CHECK(after.number == before[i].number);
        }
        for (int d = 0; d < 8; ++d)
            for (int f = 0; f < 12; ++f)
                CHECK((fs.read("dir" + std::to_string(d) + "/file" + std::to_string(f)) ==
                       pattern(static_cast<size_t>(f * f * 300), static_cast<uint32_t>(f))));
    }
}

CONFORMANCE("space and inodes are the same after a remount") {
    if (!fs.traits.persistent) return;
    for (int i = 0; i < 40; ++i) fs.write("f" + std::to_string(i), pattern(3000));
    for (int i = 0; i < 40; i += 2) fs.unlink("f" + std::to_string(i));
    fs.sync();
    const StatVfs before = fs.statvfs().take();
    fs.reopen();
    const StatVfs after = fs.statvfs().take();
    CHECK(after.blocks == before.blocks);
    CHECK(after.blocks_free == before.blocks_free);
    CHECK(after.files_free == before.files_free);
}

CONFORMANCE("threads that work in directories of their own do not disturb each other") {
    constexpr int threads = 4;
    for (int t = 0; t < threads; ++t) fs.mkdir("t" + std::to_string(t));
    std::vector<std::thread> workers;
    std::atomic<int> failures{0};
    for (int t = 0; t < threads; ++t)
        workers.emplace_back([&, t] {
            Backend& backend = fs.backend();
            for (int i = 0; i < 200; ++i) {
                const std::string dir = "t" + std::to_string(t) + "/";
                const std::string name = dir + std::to_string(i);
                auto file = backend.open(root_user, name, O_RDWR | O_CREAT | O_EXCL, 0644);
                if (!file.ok() || !(*file)->pwrite(0, name).ok()) ++failures;
                if (i % 2 == 0 && !backend.unlink(root_user, name).ok()) ++failures;
                if (i % 10 == 1 &&
                    !backend.rename(root_user, name, dir + "r" + std::to_string(i), Mode::replace)
                         .ok())
                    ++failures;
            }
        });
    for (std::thread& worker : workers) worker.join();
    CHECK(failures == 0);
    for (int t = 0; t < threads; ++t) CHECK(fs.list("t" + std::to_string(t))->size() == 100);
    CHECK(fs.read("t2/r11") == "t2/11");
}

CONFORMANCE("threads that fight for the same names leave a tree that is whole") {
    fs.mkdir("a");
    fs.mkdir("b");
    std::vector<std::thread> workers;
    for (int t = 0; t < 4; ++t)
        workers.emplace_back([&fs, t] {
            Backend& backend = fs.backend();
            std::mt19937 random(static_cast<uint32_t>(t));
            auto name = [&] {
                return std::string(random() % 2 ? "a/" : "b/") + std::to_string(random() % 6);
            };
            for (int i = 0; i < 300; ++i) {
                switch (random() % 7) {
                case 0:
                case 1:
                    (void)backend.open(root_user, name(), O_RDWR | O_CREAT, 0644);
                    break;
                case 2:
                    (void)backend.unlink(root_user, name());
                    break;
                case 3:
                    (void)backend.mkdir(root_user, name(), 0755);
                    break;
                case 4:
                    (void)backend.rmdir(root_user, name());
                    break;
                case 5:
                    (void)backend.rename(root_user, name(), name(), Mode::replace);
                    break;
                case 6:
                    (void)backend.stat(root_user, name(), true);
                    break;
                }
            }
        });
    for (std::thread& worker : workers) worker.join();
    uint32_t subdirectories = 0;
    for (const char* dir : {"a", "b"}) {
        uint32_t here = 0;
        for (const std::string& name : fs.list(dir).take()) {
            const Attr attr = fs.attr(std::string(dir) + "/" + name);
            if (attr.type == FileType::dir) ++here;
        }
        if (fs.traits.directory_links) CHECK(fs.attr(dir).nlink == 2 + here);
        subdirectories += here;
    }
    CHECK(subdirectories <= 12);
}
