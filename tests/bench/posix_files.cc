// The bench's file operations as system calls on a mounted directory.
#include "tests/bench/files.h"

#include <cerrno>
#include <cstring>
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <utility>

namespace bench {

Failed::Failed(const std::string& what, int error)
    : std::runtime_error(what + ": " + std::strerror(error)) {}

namespace {

[[noreturn]] void fail(const char* call, const std::string& path) {
    throw Failed(std::string(call) + " " + path, errno);
}

class Descriptor {
public:
    Descriptor(const std::string& path, int flags)
        : fd_(::open(path.c_str(), flags | O_CLOEXEC, 0644)) {
        if (fd_ < 0) fail("open", path);
    }
    ~Descriptor() {
        if (fd_ >= 0) ::close(fd_);
    }
    Descriptor(const Descriptor&) = delete;
    Descriptor& operator=(const Descriptor&) = delete;
    int fd() const { return fd_; }
    /// A close that reports what it found (fuse's flush).
    void close(const std::string& path) {
        if (::close(std::exchange(fd_, -1)) != 0) fail("close", path);
    }

private:
    int fd_;
};

size_t read_at(int fd, uint64_t offset, std::span<std::byte> out, const std::string& path) {
    size_t done = 0;
    while (done < out.size()) {
        auto got =
            ::pread(fd, out.data() + done, out.size() - done, static_cast<off_t>(offset + done));
        if (got < 0) fail("read", path);
        if (got == 0) break;
        done += static_cast<size_t>(got);
    }
    return done;
}

void write_at(int fd, uint64_t offset, std::span<const std::byte> data, const std::string& path) {
    size_t done = 0;
    while (done < data.size()) {
        auto put =
            ::pwrite(fd, data.data() + done, data.size() - done, static_cast<off_t>(offset + done));
        if (put <= 0) fail("write", path);
        done += static_cast<size_t>(put);
    }
}

class PosixFile final : public File {
public:
    PosixFile(const std::string& path, int flags) : path_(path), descriptor_(path, flags) {}
    size_t read(uint64_t offset, std::span<std::byte> out) override {
        return read_at(descriptor_.fd(), offset, out, path_);
    }
    void write(uint64_t offset, std::span<const std::byte> data) override {
        write_at(descriptor_.fd(), offset, data, path_);
    }
    void fsync() override {
        if (::fsync(descriptor_.fd()) != 0) fail("fsync", path_);
    }

private:
    const std::string path_;
    Descriptor descriptor_;
};

class PosixFiles final : public Files {
public:
    explicit PosixFiles(std::string directory) : directory_(std::move(directory)) {}

    // The mount is this process's directory while a command runs, so that a path is as short as the
    // work, and not in use afterwards, so that it can be unmounted.
    void begin() override {
        if (::chdir(directory_.c_str()) != 0) fail("chdir", directory_);
    }
    void end() override {
        if (::chdir("/") != 0) fail("chdir", "/");
    }

    void mkdir(const std::string& path) override {
        if (::mkdir(path.c_str(), 0755) != 0) fail("mkdir", path);
    }
    void create(const std::string& path) override {
        Descriptor(path, O_CREAT | O_EXCL | O_WRONLY).close(path);
    }
    void write_file(const std::string& path, std::span<const std::byte> data) override {
        Descriptor file(path, O_WRONLY);
        write_at(file.fd(), 0, data, path);
        file.close(path);
    }
    size_t read_file(const std::string& path, std::span<std::byte> out) override {
        Descriptor file(path, O_RDONLY);
        auto got = ::read(file.fd(), out.data(), out.size());
        if (got < 0) fail("read", path);
        return static_cast<size_t>(got);
    }
    void stat(const std::string& path) override {
        struct stat st;
        if (::stat(path.c_str(), &st) != 0) fail("stat", path);
    }
    size_t list_and_stat(const std::string& path) override {
        std::unique_ptr<DIR, int (*)(DIR*)> dir(::opendir(path.c_str()), ::closedir);
        if (!dir) fail("opendir", path);
        size_t count = 0;
        while (auto* entry = ::readdir(dir.get())) {
            if (std::strcmp(entry->d_name, ".") == 0 || std::strcmp(entry->d_name, "..") == 0)
                continue;
            struct stat st;
            if (::fstatat(::dirfd(dir.get()), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0)
                fail("stat", path + "/" + entry->d_name);
            ++count;
        }
        return count;
    }
    void rename(const std::string& from, const std::string& to) override {
        if (::rename(from.c_str(), to.c_str()) != 0) fail("rename", from);
    }
    void unlink(const std::string& path) override {
        if (::unlink(path.c_str()) != 0) fail("unlink", path);
    }
    std::unique_ptr<File> open(const std::string& path, bool make) override {
        return std::make_unique<PosixFile>(path, make ? O_CREAT | O_TRUNC | O_RDWR : O_RDWR);
    }
    void sync() override {
        // syncfs writes the host's dirty pages back; a FUSE daemon hears of it only by fsync.
        Descriptor root(".", O_RDONLY | O_DIRECTORY);
        if (::syncfs(root.fd()) != 0) fail("syncfs", directory_);
        if (::fsync(root.fd()) != 0) fail("fsync", directory_);
    }
    std::string directory() const override { return directory_; }

private:
    const std::string directory_;
};

} // namespace

std::unique_ptr<Files> posix_files(const std::string& directory) {
    return std::make_unique<PosixFiles>(directory);
}

} // namespace bench
