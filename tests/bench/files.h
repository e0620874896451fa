// What the bench's workloads do to a file system, and the two ways there: system calls on a mount,
// and the kernel's generic operations in this process. Paths are relative to the file system's
// root. A failure throws Failed: a benchmark whose operation failed has no number.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

namespace bench {

struct Failed : std::runtime_error {
    Failed(const std::string& what, int error);
};

/// An open file.
class File {
public:
    virtual ~File() = default;
    /// Bytes read; fewer than asked only at the end of the file.
    virtual size_t read(uint64_t offset, std::span<std::byte> out) = 0;
    /// All of `data`.
    virtual void write(uint64_t offset, std::span<const std::byte> data) = 0;
    virtual void fsync() = 0;
};

/// A file system under test. Thread-safe between begin() and end().
class Files {
public:
    virtual ~Files() = default;

    /// Around each command, so that nothing of the mount is in use in between.
    virtual void begin() {}
    virtual void end() {}

    virtual void mkdir(const std::string& path) = 0;
    /// A new, empty file; open and close.
    virtual void create(const std::string& path) = 0;
    /// open, one write at offset 0, close.
    virtual void write_file(const std::string& path, std::span<const std::byte> data) = 0;
    /// open, one read, close; bytes read.
    virtual size_t read_file(const std::string& path, std::span<std::byte> out) = 0;
    virtual void stat(const std::string& path) = 0;
    /// Lists the directory and stats each entry; how many there are without "." and "..".
    virtual size_t list_and_stat(const std::string& path) = 0;
    virtual void rename(const std::string& from, const std::string& to) = 0;
    virtual void unlink(const std::string& path) = 0;
    virtual std::unique_ptr<File> open(const std::string& path, bool make) = 0;
    /// Everything written so far is on the device.
    virtual void sync() = 0;
    /// In process only; a mount's caches are the host kernel's.
    virtual void drop_caches() {}
    /// Where programs (tar, git) find it; empty: nowhere.
    virtual std::string directory() const { return {}; }
};

std::unique_ptr<Files> posix_files(const std::string& directory);
/// An image (or, for a type without device, nothing) mounted in this process.
std::vector<std::string> kernel_types();
std::unique_ptr<Files> kernel_files(const std::string& type, const std::string& image);

} // namespace bench
