// Fs, File and Dir: the backend's results become outcomes that know which call they answer.
#include "tests/conformance/fs.h"

#include <algorithm>

namespace rump::conformance {

namespace {

std::string call(std::string_view what, std::string_view path = {}) {
    std::string text(what);
    text += '(';
    text += path.size() > 80 ? std::string(path.substr(0, 77)) + "..." : std::string(path);
    return text + ')';
}

Status status(Result<void> result, std::string text) {
    return Status(result.ok() ? Result<Done>(Done{}) : Result<Done>(result.error()),
                  std::move(text));
}

template<class Facade, class Raw>
Outcome<Facade> wrap(Result<std::unique_ptr<Raw>> raw, std::string text) {
    if (!raw.ok()) return {Result<Facade>(raw.error()), std::move(text)};
    return {Result<Facade>(Facade(raw.release_value())), std::move(text)};
}

} // namespace

Outcome<std::string> File::read(uint64_t offset, size_t length) {
    return {file_->pread(offset, length), call("read")};
}
Outcome<size_t> File::write(uint64_t offset, std::string_view data) {
    return {file_->pwrite(offset, data), call("write")};
}
Outcome<size_t> File::append(std::string_view data) {
    return {file_->append(data), call("append")};
}
Outcome<Attr> File::stat() { return {file_->stat(), call("fstat")}; }
Status File::truncate(uint64_t size) { return status(file_->truncate(size), call("ftruncate")); }
Status File::sync(bool data_only) { return status(file_->sync(data_only), call("fsync")); }
Outcome<uint64_t> File::seek_data(uint64_t offset) {
    return {file_->seek(offset, Seek::data), call("seek_data")};
}
Outcome<uint64_t> File::seek_hole(uint64_t offset) {
    return {file_->seek(offset, Seek::hole), call("seek_hole")};
}
Status File::fallocate(vfs::Fallocate mode, uint64_t offset, uint64_t length) {
    return status(file_->fallocate(mode, offset, length), call("fallocate"));
}
Outcome<uint64_t> File::copy_to(uint64_t offset, File& to, uint64_t to_offset, uint64_t length) {
    return {file_->copy_to(offset, *to.file_, to_offset, length), call("copy_range")};
}

Outcome<std::vector<DirItem>> Dir::next() { return {dir_->next(), call("readdir")}; }
Status Dir::seek(uint64_t cookie) { return status(dir_->seek(cookie), call("seekdir")); }

Status Fs::write(std::string_view path, std::string_view data) {
    auto put = [&]() -> Result<void> {
        auto file = TRY(backend_.open(user_, path, O_WRONLY | O_CREAT | O_TRUNC, 0644));
        for (size_t at = 0; at < data.size();) {
            const size_t done = TRY(file->pwrite(at, data.substr(at)));
            if (done == 0) return Errno::io;
            at += done;
        }
        return file->flush();
    };
    return status(put(), call("write", path));
}

Outcome<std::string> Fs::read(std::string_view path) {
    auto get = [&]() -> Result<std::string> {
        auto file = TRY(backend_.open(user_, path, O_RDONLY, 0));
        std::string all;
        while (true) {
            const std::string more = TRY(file->pread(all.size(), 1 << 20));
            if (more.empty()) return all;
            all += more;
        }
    };
    return {get(), call("read", path)};
}

Outcome<File> Fs::open(std::string_view path, int flags, uint32_t mode) {
    return wrap<File>(backend_.open(user_, path, flags, mode), call("open", path));
}
Outcome<Dir> Fs::opendir(std::string_view path) {
    return wrap<Dir>(backend_.opendir(user_, path), call("opendir", path));
}

Outcome<std::vector<std::string>> Fs::list(std::string_view path) {
    auto get = [&]() -> Result<std::vector<std::string>> {
        auto dir = TRY(backend_.opendir(user_, path));
        std::vector<std::string> names;
        while (true) {
            const auto items = TRY(dir->next());
            if (items.empty()) break;
            for (const DirItem& item : items)
                if (item.name != "." && item.name != "..") names.push_back(item.name);
        }
        std::sort(names.begin(), names.end());
        return names;
    };
    return {get(), call("list", path)};
}

Outcome<Attr> Fs::stat(std::string_view path) {
    return {backend_.stat(user_, path, true), call("stat", path)};
}
Outcome<Attr> Fs::lstat(std::string_view path) {
    return {backend_.stat(user_, path, false), call("lstat", path)};
}
Status Fs::mkdir(std::string_view path, uint32_t mode) {
    return status(backend_.mkdir(user_, path, mode), call("mkdir", path));
}
Status Fs::mknod(std::string_view path, FileType type, uint32_t mode, DeviceNumber device) {
    return status(backend_.mknod(user_, path, type, mode, device), call("mknod", path));
}
Status Fs::symlink(std::string_view target, std::string_view path) {
    return status(backend_.symlink(user_, target, path), call("symlink", path));
}
Outcome<std::string> Fs::readlink(std::string_view path) {
    return {backend_.readlink(user_, path), call("readlink", path)};
}
Status Fs::link(std::string_view from, std::string_view to) {
    return status(backend_.link(user_, from, to), call("link", to));
}
Status Fs::unlink(std::string_view path) {
    return status(backend_.unlink(user_, path), call("unlink", path));
}
Status Fs::rmdir(std::string_view path) {
    return status(backend_.rmdir(user_, path), call("rmdir", path));
}
Status Fs::rename(std::string_view from, std::string_view to, vfs::RenameMode mode) {
    return status(backend_.rename(user_, from, to, mode), call("rename", from));
}
Status Fs::chmod(std::string_view path, uint32_t mode) {
    return status(backend_.chmod(user_, path, mode), call("chmod", path));
}
Status Fs::chown(std::string_view path, uint32_t uid, uint32_t gid) {
    return status(backend_.chown(user_, path, uid, gid, true), call("chown", path));
}
Status Fs::lchown(std::string_view path, uint32_t uid, uint32_t gid) {
    return status(backend_.chown(user_, path, uid, gid, false), call("lchown", path));
}
Status Fs::utimes(std::string_view path, SetTime atime, SetTime mtime) {
    return status(backend_.utimes(user_, path, atime, mtime, true), call("utimes", path));
}
Status Fs::lutimes(std::string_view path, SetTime atime, SetTime mtime) {
    return status(backend_.utimes(user_, path, atime, mtime, false), call("lutimes", path));
}
Status Fs::truncate(std::string_view path, uint64_t size) {
    return status(backend_.truncate(user_, path, size), call("truncate", path));
}
Status Fs::access(std::string_view path, unsigned want) {
    return status(backend_.access(user_, path, want), call("access", path));
}
Outcome<FileFlags> Fs::flags(std::string_view path) {
    return {backend_.flags(user_, path), call("flags", path)};
}
Status Fs::set_flags(std::string_view path, FileFlags flags) {
    return status(backend_.set_flags(user_, path, flags), call("set_flags", path));
}
Outcome<std::string> Fs::getxattr(std::string_view path, const std::string& name,
                                  std::optional<size_t> room) {
    return {backend_.getxattr(user_, path, name, room), call("getxattr", name)};
}
Status Fs::setxattr(std::string_view path, const std::string& name, std::string_view value,
                    XattrSet how) {
    return status(backend_.setxattr(user_, path, name, value, how), call("setxattr", name));
}
Status Fs::removexattr(std::string_view path, const std::string& name) {
    return status(backend_.removexattr(user_, path, name), call("removexattr", name));
}
Outcome<std::vector<std::string>> Fs::listxattr(std::string_view path) {
    auto names = backend_.listxattr(user_, path);
    if (names.ok()) std::sort(names->begin(), names->end());
    return {std::move(names), call("listxattr", path)};
}
Outcome<StatVfs> Fs::statvfs() { return {backend_.statvfs(), call("statvfs")}; }
Status Fs::sync() { return status(backend_.sync(), call("sync")); }
Outcome<std::string> Fs::handle(std::string_view path) {
    return {backend_.handle(user_, path), call("handle", path)};
}
Outcome<Attr> Fs::stat_handle(const std::string& handle) {
    return {backend_.stat_handle(handle), call("open_by_handle")};
}
Status Fs::remount(bool read_only) { return status(backend_.remount(read_only), call("remount")); }

} // namespace rump::conformance
