// libukfs through its C interface: over tmpfs, which needs no image, and refusals of images.
#include "tests/unit/temp_dir.h"
#include "ukfs/ukfs.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <sys/stat.h>
#include <thread>
#include <vector>

using Catch::Matchers::Contains;
using rump::test::TempDir;

namespace {

/// A tmpfs that is released, and must be releasable, at the end.
class Fs {
public:
    explicit Fs(const char* options = nullptr) {
        ukfs_open_args args{.type = "tmpfs", .options = options};
        ukfs_error error;
        int rc = ukfs_open(nullptr, &args, &fs_, &error);
        if (rc != 0) FAIL(error.text);
    }
    ~Fs() {
        if (fs_) CHECK(ukfs_release(fs_, 0) == 0);
    }
    Fs(const Fs&) = delete;
    Fs& operator=(const Fs&) = delete;
    operator ukfs*() const { return fs_; }
    ukfs* give_up() { return std::exchange(fs_, nullptr); }

    void write(const char* path, const std::string& text) {
        if (int rc = ukfs_create(fs_, path, 0644); rc != -EEXIST) REQUIRE(rc == 0);
        REQUIRE(ukfs_truncate(fs_, path, 0) == 0);
        REQUIRE(ukfs_pwrite(fs_, path, text.data(), text.size(), 0) ==
                static_cast<int64_t>(text.size()));
    }
    std::string read(const char* path) {
        std::string text(4096, 0);
        int64_t got = ukfs_pread(fs_, path, text.data(), text.size(), 0);
        REQUIRE(got >= 0);
        text.resize(static_cast<size_t>(got));
        return text;
    }
    struct ukfs_stat stat(const char* path) {
        struct ukfs_stat out;
        REQUIRE(ukfs_lstat(fs_, path, &out) == 0);
        return out;
    }
    std::vector<std::string> names(const char* path) {
        std::vector<std::string> found;
        REQUIRE(ukfs_readdir(
                    fs_, path,
                    [](void* arg, const ukfs_dirent* d) {
                        static_cast<std::vector<std::string>*>(arg)->emplace_back(d->name,
                                                                                  d->name_length);
                        return 0;
                    },
                    &found, 0) == 0);
        std::sort(found.begin(), found.end());
        return found;
    }

private:
    ukfs* fs_ = nullptr;
};

std::string refusal(const char* image, const ukfs_open_args& args, int expected) {
    ukfs* fs = nullptr;
    ukfs_error error{};
    int rc = ukfs_open(image, &args, &fs, &error);
    CHECK(rc == -expected);
    CHECK(error.code == expected);
    CHECK(fs == nullptr);
    if (rc == 0) ukfs_release(fs, 1);
    return error.text;
}

} // namespace

TEST_CASE("files and directories are made, read, listed and removed by path") {
    Fs fs;
    CHECK(ukfs_mkdir(fs, "/a", 0755) == 0);
    CHECK(ukfs_mkdir(fs, "a/b/", 0700) == 0);
    fs.write("a/b/file", "hello");
    CHECK(fs.read("/a/b/../b/./file") == "hello");
    CHECK(fs.names("a") == std::vector<std::string>{".", "..", "b"});

    auto attributes = fs.stat("/a/b/file");
    CHECK(attributes.mode == (S_IFREG | 0644));
    CHECK(attributes.size == 5);
    CHECK(attributes.nlink == 1);

    CHECK(ukfs_rmdir(fs, "a/b") == -ENOTEMPTY);
    CHECK(ukfs_unlink(fs, "a/b") == -EISDIR);
    CHECK(ukfs_unlink(fs, "a/b/file") == 0);
    CHECK(ukfs_rmdir(fs, "a/b") == 0);
    CHECK(ukfs_rmdir(fs, "/") == -EBUSY);
    struct ukfs_stat out;
    CHECK(ukfs_stat(fs, "a/b", &out) == -ENOENT);
    CHECK(ukfs_stat(fs, "", &out) == -ENOENT);
}

TEST_CASE("a trailing slash means a directory") {
    Fs fs;
    fs.write("file", "x");
    CHECK(ukfs_mkdir(fs, "dir", 0755) == 0);
    struct ukfs_stat out;
    CHECK(ukfs_stat(fs, "file/", &out) == -ENOTDIR);
    CHECK(ukfs_unlink(fs, "file/") == -ENOTDIR);
    CHECK(ukfs_rename(fs, "file/", "other", 0) == -ENOTDIR);
    CHECK(ukfs_rename(fs, "file", "other/", 0) == -ENOTDIR);
    CHECK(ukfs_create(fs, "new/", 0644) == -ENOENT);
    CHECK(ukfs_create(fs, "dir/", 0644) == -EEXIST);
    CHECK(ukfs_mkdir(fs, "/", 0755) == -EEXIST);
    CHECK(ukfs_rename(fs, "dir/", "moved/", 0) == 0);
    CHECK(ukfs_stat(fs, "moved/", &out) == 0);
}

TEST_CASE("links: hard ones share, symbolic ones are followed unless asked not to") {
    Fs fs;
    fs.write("file", "text");
    CHECK(ukfs_link(fs, "file", "second") == 0);
    CHECK(fs.stat("second").nlink == 2);
    CHECK(ukfs_symlink(fs, "file", "link") == 0);
    CHECK(fs.read("link") == "text");
    CHECK(fs.stat("link").mode >> 12 == S_IFLNK >> 12);
    char target[3];
    CHECK(ukfs_readlink(fs, "link", target, sizeof target) == 4);
    CHECK(std::memcmp(target, "fil", 3) == 0);
    CHECK(ukfs_readlink(fs, "file", target, sizeof target) == -EINVAL);
    CHECK(ukfs_chown(fs, "link", 7, UKFS_KEEP, UKFS_NOFOLLOW) == 0);
    CHECK(fs.stat("link").uid == 7);
    CHECK(fs.stat("file").uid == 0);
    CHECK(ukfs_symlink(fs, "loop", "loop") == 0);
    struct ukfs_stat out;
    CHECK(ukfs_stat(fs, "loop", &out) == -ELOOP);
}

TEST_CASE("rename replaces, exchanges or refuses") {
    Fs fs;
    fs.write("a", "1");
    fs.write("b", "2");
    CHECK(ukfs_rename(fs, "a", "b", UKFS_RENAME_NOREPLACE) == -EEXIST);
    CHECK(ukfs_rename(fs, "a", "b", UKFS_RENAME_EXCHANGE) == 0);
    CHECK(fs.read("a") == "2");
    CHECK(ukfs_rename(fs, "a", "b", 0) == 0);
    CHECK(fs.read("b") == "2");
    CHECK(ukfs_rename(fs, "a", "c", 0) == -ENOENT);
    CHECK(ukfs_rename(fs, "b", "c", 3) == -EINVAL);
    CHECK(ukfs_rename(fs, "b", "c", 64) == -EINVAL);
}

TEST_CASE("attributes change as asked and only those") {
    Fs fs;
    fs.write("file", "12345");
    CHECK(ukfs_chmod(fs, "file", 0601) == 0);
    CHECK(ukfs_chown(fs, "file", 5, 6, 0) == 0);
    CHECK(ukfs_chown(fs, "file", UKFS_KEEP, 8, 0) == 0);
    ukfs_time before_1970{-5, 999'999'999}, late{5'000'000'000, 1};
    CHECK(ukfs_utimens(fs, "file", &before_1970, &late, 0) == 0);
    ukfs_time wrong{0, 1'000'000'000};
    CHECK(ukfs_utimens(fs, "file", &wrong, nullptr, 0) == -EINVAL);
    CHECK(ukfs_truncate(fs, "file", 2) == 0);
    auto out = fs.stat("file");
    CHECK(out.mode == (S_IFREG | 0601));
    CHECK(out.uid == 5);
    CHECK(out.gid == 8);
    CHECK(out.atime.sec == -5);
    CHECK(out.atime.nsec == 999'999'999);
    CHECK(out.size == 2);
    CHECK(ukfs_mknod(fs, "node", S_IFCHR | 0600, 10, 200) == 0);
    CHECK(fs.stat("node").rdev_major == 10);
    CHECK(fs.stat("node").rdev_minor == 200);
    CHECK(ukfs_mknod(fs, "bad", S_IFDIR | 0600, 0, 0) == -EINVAL);
}

TEST_CASE("extended attributes keep any bytes") {
    Fs fs;
    fs.write("file", "");
    const char value[] = {0, 1, '\xff'};
    CHECK(ukfs_setxattr(fs, "file", "user.a", value, 3, 0) == 0);
    CHECK(ukfs_setxattr(fs, "file", "user.a", value, 3, UKFS_XATTR_CREATE) == -EEXIST);
    CHECK(ukfs_setxattr(fs, "file", "user.b", value, 3, UKFS_XATTR_REPLACE) == -ENODATA);
    char out[8];
    CHECK(ukfs_getxattr(fs, "file", "user.a", nullptr, 0, 0) == 3);
    CHECK(ukfs_getxattr(fs, "file", "user.a", out, 2, 0) == -ERANGE);
    CHECK(ukfs_getxattr(fs, "file", "user.a", out, 8, 0) == 3);
    CHECK(std::memcmp(out, value, 3) == 0);
    std::string names;
    CHECK(ukfs_listxattr(
              fs, "file",
              [](void* arg, const char* name) { *static_cast<std::string*>(arg) += name; }, &names,
              0) == 0);
    CHECK(names == "user.a");
    CHECK(ukfs_removexattr(fs, "file", "user.a", 0) == 0);
    CHECK(ukfs_getxattr(fs, "file", "user.a", out, 8, 0) == -ENODATA);
}

TEST_CASE("readdir hands out every entry once, with attributes, and may be stopped") {
    Fs fs;
    constexpr int count = 700; // several batches
    for (int i = 0; i < count; ++i)
        REQUIRE(ukfs_create(fs, ("f" + std::to_string(i)).c_str(), 0600 + i % 8) == 0);
    struct Seen {
        ukfs* fs;
        std::vector<std::string> names;
        int wrong = 0;
        int stop_after = -1;
    } seen{.fs = fs};
    auto visit = [](void* arg, const ukfs_dirent* d) {
        auto& s = *static_cast<Seen*>(arg);
        if (static_cast<int>(s.names.size()) == s.stop_after) return 99;
        s.names.emplace_back(d->name);
        if (!d->attributes || (d->name[0] == 'f' && d->attributes->ino != d->ino)) ++s.wrong;
        // The callback may use the file system, the same directory too.
        struct ukfs_stat again;
        if (ukfs_lstat(s.fs, d->name, &again) != 0) ++s.wrong;
        return 0;
    };
    CHECK(ukfs_readdir(fs, "/", visit, &seen, UKFS_READDIR_ATTRIBUTES) == 0);
    CHECK(seen.wrong == 0);
    std::sort(seen.names.begin(), seen.names.end());
    CHECK(seen.names.size() == count + 2);
    CHECK(std::adjacent_find(seen.names.begin(), seen.names.end()) == seen.names.end());

    Seen few{.fs = fs, .stop_after = 3};
    CHECK(ukfs_readdir(fs, "/", visit, &few, UKFS_READDIR_ATTRIBUTES) == 99);
    CHECK(few.names.size() == 3);
    CHECK(ukfs_readdir(fs, "/f1", visit, &few, 0) == -ENOTDIR);
}

TEST_CASE("open files: modes, append, holes, life beyond unlink") {
    Fs fs;
    ukfs_file* file = nullptr;
    CHECK(ukfs_file_open(fs, "f", UKFS_READ, 0, &file) == -ENOENT);
    REQUIRE(ukfs_file_open(fs, "f", UKFS_READ | UKFS_WRITE | UKFS_CREATE, 0640, &file) == 0);
    CHECK(fs.stat("f").mode == (S_IFREG | 0640));
    ukfs_file* again = nullptr;
    CHECK(ukfs_file_open(fs, "f", UKFS_WRITE | UKFS_CREATE | UKFS_EXCLUSIVE, 0, &again) == -EEXIST);
    CHECK(ukfs_file_pwrite(file, "abc", 3, 1'000'000) == 3);
    CHECK(ukfs_file_seek(file, 0, 1) == 0);
    CHECK(ukfs_file_seek(file, 2'000'000, 0) == -ENXIO);
    CHECK(ukfs_file_seek(file, 0, 0) > 900'000);
    CHECK(ukfs_release(fs, 0) == -EBUSY); // and all goes on
    CHECK(ukfs_unlink(fs, "f") == 0);
    char out[4];
    CHECK(ukfs_file_pread(file, out, 4, 1'000'000) == 3);
    struct ukfs_stat attributes;
    CHECK(ukfs_file_stat(file, &attributes) == 0);
    CHECK(attributes.nlink == 0);
    ukfs_file_close(file);

    REQUIRE(ukfs_file_open(fs, "log", UKFS_WRITE | UKFS_CREATE | UKFS_APPEND, 0600, &file) == 0);
    CHECK(ukfs_file_pwrite(file, "one", 3, 0) == 3);
    CHECK(ukfs_file_pwrite(file, "two", 3, 0) == 3);
    CHECK(ukfs_file_pread(file, out, 4, 0) == -EBADF);
    CHECK(ukfs_file_sync(file) == 0);
    ukfs_file_close(file);
    CHECK(fs.read("log") == "onetwo");

    CHECK(ukfs_symlink(fs, "made", "dangling") == 0);
    REQUIRE(ukfs_file_open(fs, "dangling", UKFS_WRITE | UKFS_CREATE, 0600, &file) == 0);
    ukfs_file_close(file);
    CHECK(fs.stat("made").size == 0);
    CHECK(ukfs_file_open(fs, "/", UKFS_WRITE, 0, &file) == -EISDIR);
}

TEST_CASE("a forced release leaves open files that answer and can be closed") {
    Fs fs;
    ukfs_file* file = nullptr;
    REQUIRE(ukfs_file_open(fs, "f", UKFS_READ | UKFS_WRITE | UKFS_CREATE, 0600, &file) == 0);
    CHECK(ukfs_release(fs.give_up(), 1) == 0);
    char byte;
    CHECK(ukfs_file_pread(file, &byte, 1, 0) == -EIO);
    CHECK(ukfs_file_pwrite(file, &byte, 1, 0) == -EIO);
    ukfs_file_close(file);
}

TEST_CASE("an ordinary user meets permissions") {
    Fs fs;
    fs.write("secret", "x");
    REQUIRE(ukfs_chmod(fs, "secret", 0640) == 0);
    REQUIRE(ukfs_chown(fs, "secret", 0, 50, 0) == 0);
    REQUIRE(ukfs_set_user(fs, 1000, 1000, nullptr, 0) == 0);
    char byte;
    CHECK(ukfs_pread(fs, "secret", &byte, 1, 0) == -EACCES);
    CHECK(ukfs_access(fs, "secret", 0) == 0);
    CHECK(ukfs_access(fs, "secret", 4) == -EACCES);
    CHECK(ukfs_chmod(fs, "secret", 0666) == -EPERM);
    const uint32_t groups[] = {50};
    REQUIRE(ukfs_set_user(fs, 1000, 1000, groups, 1) == 0);
    CHECK(ukfs_pread(fs, "secret", &byte, 1, 0) == 1);
    CHECK(ukfs_pwrite(fs, "secret", &byte, 1, 0) == -EACCES);
}

TEST_CASE("several threads use one handle") {
    Fs fs;
    std::atomic<int> wrong{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t)
        threads.emplace_back([&, t] {
            for (int i = 0; i < 300; ++i) {
                std::string name = "t" + std::to_string(t) + "-" + std::to_string(i);
                struct ukfs_stat out;
                if (ukfs_create(fs, name.c_str(), 0600) != 0) ++wrong;
                if (ukfs_stat(fs, name.c_str(), &out) != 0) ++wrong;
                if (i % 3 == 0 && ukfs_unlink(fs, name.c_str()) != 0) ++wrong;
            }
        });
    for (auto& thread : threads) thread.join();
    CHECK(wrong == 0);
    CHECK(fs.names("/").size() == 2 + 4 * 200);
}

TEST_CASE("what cannot be opened is refused in one clear line") {
    TempDir dir;
    std::string missing = dir / "missing", blank = dir / "blank";
    std::ofstream(blank) << std::string(1 << 20, '\0');
    refusal(missing.c_str(), {}, ENOENT);
    refusal(dir.path().c_str(), {}, EISDIR);
    CHECK_THAT(refusal(blank.c_str(), {}, EINVAL), Contains("no known file system"));
    CHECK_THAT(refusal(blank.c_str(), {.type = "nosuchfs"}, EINVAL), Contains("nosuchfs"));
    CHECK_THAT(refusal(nullptr, {}, EINVAL), Contains("type"));
    CHECK_THAT(refusal(blank.c_str(), {.type = "tmpfs"}, EINVAL), Contains("takes no image"));
    CHECK_THAT(refusal(nullptr, {.type = "tmpfs", .options = "ro,nonsense"}, EINVAL),
               Contains("nonsense"));
    CHECK_THAT(refusal(nullptr, {.type = "tmpfs", .options = "errors=shrug"}, EINVAL),
               Contains("remount-ro"));
    CHECK_THAT(refusal(nullptr, {.type = "tmpfs", .options = "umask=9"}, EINVAL),
               Contains("umask"));
    CHECK_THAT(refusal(nullptr, {.type = "tmpfs", .options = "uid=4294967295"}, EINVAL),
               Contains("uid"));
}

TEST_CASE("options reach the mount") {
    Fs fs("size=1M,umask=027");
    fs.write("file", "");
    CHECK(fs.stat("file").mode == (S_IFREG | 0640));
    struct ukfs_statvfs out;
    REQUIRE(ukfs_statvfs(fs, &out) == 0);
    CHECK(out.blocks * out.fragment_size == 1 << 20);
    CHECK(out.read_only == 0);
    std::vector<char> big(2 << 20);
    CHECK(ukfs_pwrite(fs, "file", big.data(), big.size(), 0) < static_cast<int64_t>(big.size()));
}

TEST_CASE("types, facts, counters and error texts can be asked for") {
    std::string names;
    ukfs_types(
        [](void* arg, const ukfs_type* type) {
            *static_cast<std::string*>(arg) += std::string(type->name) + " ";
        },
        &names);
    CHECK_THAT(names, Contains("tmpfs"));
    int options = 0;
    CHECK(ukfs_type_options(
              "tmpfs", 0,
              [](void* arg, const char*, const char*, const char*) { ++*static_cast<int*>(arg); },
              &options) == 0);
    CHECK(options > 0);
    CHECK(ukfs_type_options("nosuchfs", 0, nullptr, nullptr) == -EINVAL);

    Fs fs;
    std::string facts;
    CHECK(ukfs_info(
              fs,
              [](void* arg, const char* name, const char* value) {
                  *static_cast<std::string*>(arg) += std::string(name) + "=" + value + ";";
              },
              &facts) == 0);
    CHECK_THAT(facts, Contains("type=tmpfs;"));
    int counters = 0;
    CHECK(ukfs_counters(
              fs, [](void* arg, const char*, uint64_t) { ++*static_cast<int*>(arg); }, &counters) ==
          0);
    CHECK(counters > 0);
    char text[32], tiny[4];
    CHECK(ukfs_error_text(fs, -ENOENT, text, sizeof text) ==
          std::strlen("No such file or directory"));
    CHECK(std::string(text) == "No such file or directory");
    ukfs_error_text(fs, -ENOENT, tiny, sizeof tiny);
    CHECK(std::string(tiny) == "No ");
}

TEST_CASE("probe, check and newfs say what they cannot do") {
    TempDir dir;
    std::string blank = dir / "blank";
    std::ofstream(blank) << std::string(1 << 20, '\0');
    struct ukfs_probe found;
    ukfs_error error;
    REQUIRE(ukfs_probe(blank.c_str(), nullptr, &found, &error) == 0);
    CHECK(std::string(found.type).empty());
    CHECK_THAT(found.what, Contains("no known file system"));
    CHECK(ukfs_probe(blank.c_str(), "offset=2M", &found, &error) == -EINVAL);
    ukfs_check_report report;
    CHECK(ukfs_check(blank.c_str(), nullptr, &report, &error) == -EINVAL);
    CHECK(ukfs_newfs(blank.c_str(), "nosuchfs", nullptr, 0, &error) == -EINVAL);
    CHECK(ukfs_newfs(blank.c_str(), "tmpfs", nullptr, 0, &error) == -EOPNOTSUPP);
    CHECK_THAT(error.text, Contains("tmpfs"));
}
