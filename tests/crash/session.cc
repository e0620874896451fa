// The operations of a workload, and the model of what each of them promises.
#include "tests/crash/session.h"

#include "kernel/vfs/namei.h"
#include "kernel/vfs/vfs_ops.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstring>

namespace rump::crash {

namespace {
const Cred& root_cred() {
    static const Cred cred = Cred::superuser();
    return cred;
}

/// `inside` is an entry of `dir`, at any depth.
bool below(const std::string& inside, const std::string& dir) {
    return inside.size() > dir.size() && inside.starts_with(dir) && inside[dir.size()] == '/';
}
} // namespace

namespace content {

std::string make(uint16_t file, uint16_t version, uint64_t offset, uint64_t length) {
    std::string out(length, '\0');
    for (uint64_t at = 0; at + 8 <= length; at += 8) {
        uint64_t word = static_cast<uint64_t>(file) << 48 | static_cast<uint64_t>(version) << 32 |
                        ((offset + at) / 8 & UINT32_MAX);
        std::memcpy(out.data() + at, &word, 8);
    }
    return out;
}

bool plausible(std::span<const std::byte> bytes) {
    uint64_t file = 0;
    for (size_t at = 0; at + 8 <= bytes.size(); at += 8) {
        uint64_t word;
        std::memcpy(&word, bytes.data() + at, 8);
        if (word == 0) continue;
        if (file == 0) file = word >> 48;
        if (word >> 48 != file || (word & UINT32_MAX) != at / 8) return false;
    }
    return bytes.size() % 8 == 0;
}

} // namespace content

// --- the model ----------------------------------------------------------------------------------

bool Session::exists(const std::string& path) const {
    return is_file(path) || is_dir(path) || is_symlink(path);
}

bool Session::has_entries(const std::string& dir) const {
    auto inside = [&](const std::string& path) { return below(path, dir); };
    return std::any_of(files_.begin(), files_.end(), [&](auto& f) { return inside(f.first); }) ||
           std::any_of(dirs_.begin(), dirs_.end(), inside) ||
           std::any_of(symlinks_.begin(), symlinks_.end(), inside);
}

void Session::note(const std::string& path, std::vector<Contents> allowed) {
    device_.mark(notes_.size());
    promised_[path] = allowed;
    notes_.push_back({path, std::move(allowed)});
}

void Session::changing_all_names(const std::string& path) {
    auto file = files_.at(path);
    for (auto& [name, other] : files_)
        if (other == file) changing(name);
    for (auto& [name, other] : replaced_)
        if (other == file) changing(name);
}

bool Session::check(bool ok, Errno error, const char* what, const std::string& path) {
    if (!ok && error_.empty())
        error_ = fmt::format("workload: {} {}: {}", what, path, errno_name(error));
    return ok && error_.empty();
}

Result<Session::Parent> Session::parent(const std::string& path) {
    VnodeRef root = TRY(mount_.root());
    auto found = TRY(vfs::namei_parent({root, root}, path, root_cred()));
    return Parent{found.dir, found.name};
}

// --- operations ---------------------------------------------------------------------------------

void Session::create(const std::string& path) {
    changing(path);
    auto result = [&]() -> Result<void> {
        Parent p = TRY(parent(path));
        TRY(vfs::create(*p.dir, p.name, {FileType::reg, 0644, 0, {}}, root_cred()));
        return {};
    }();
    if (!check(result, "create", path)) return;
    files_[path] = std::make_shared<File>(File{next_file_++, 0, {}});
    gone_.erase(path);
}

void Session::write(const std::string& path, uint64_t offset, uint64_t length) {
    changing_all_names(path);
    File& file = *files_.at(path);
    std::string data = content::make(file.id, ++file.version, offset, length);
    auto result = [&]() -> Result<void> {
        Parent p = TRY(parent(path));
        VnodeRef vnode = TRY(vfs::lookup(*p.dir, p.name, root_cred()));
        size_t n = TRY(vfs::write(*vnode, offset, std::as_bytes(std::span(data)), root_cred()));
        if (n != data.size()) return Errno::nospc;
        return {};
    }();
    if (!check(result, "write", path)) return;
    if (file.bytes.size() < offset + length) file.bytes.resize(offset + length);
    file.bytes.replace(offset, length, data);
}

void Session::truncate(const std::string& path, uint64_t size) {
    changing_all_names(path);
    auto result = [&]() -> Result<void> {
        Parent p = TRY(parent(path));
        VnodeRef vnode = TRY(vfs::lookup(*p.dir, p.name, root_cred()));
        AttrChange change;
        change.size = size;
        TRY(vfs::setattr(*vnode, change, root_cred()));
        return {};
    }();
    if (check(result, "truncate", path)) files_.at(path)->bytes.resize(size);
}

void Session::fsync(const std::string& path) {
    auto result = [&]() -> Result<void> {
        Parent p = TRY(parent(path));
        VnodeRef vnode = TRY(vfs::lookup(*p.dir, p.name, root_cred()));
        return vfs::fsync(*vnode, false);
    }();
    if (!check(result, "fsync", path)) return;
    note(path, {files_.at(path)->bytes});
    replaced_.erase(path);
}

void Session::sync() {
    if (!check(mount_.sync(), "sync", "")) return;
    for (auto& [path, file] : files_) note(path, {file->bytes});
    for (const std::string& path : gone_) note(path, {std::nullopt});
    gone_.clear();
    replaced_.clear();
}

void Session::rename(const std::string& from, const std::string& to) {
    bool file = is_file(from);
    // A file that was safe under its new name stays so: as it was, or as the new one.
    std::vector<Contents> either = file && is_file(to) ? promised_[to] : std::vector<Contents>();
    if (!either.empty()) either.push_back(files_.at(from)->bytes);
    changing(from);
    note(to, std::move(either));
    auto result = [&]() -> Result<void> {
        Parent a = TRY(parent(from)), b = TRY(parent(to));
        return vfs::rename(*a.dir, a.name, *b.dir, b.name, vfs::RenameMode::replace, root_cred());
    }();
    if (!check(result, "rename", from + " to " + to)) return;
    if (file && is_file(to) && files_.at(from) == files_.at(to)) return; // two names of one file
    if (file) {
        if (is_file(to)) replaced_.emplace(to, files_.at(to));
        files_[to] = files_.at(from);
        files_.erase(from);
        gone_.insert(from);
        gone_.erase(to);
    } else if (dirs_.erase(from)) {
        dirs_.insert(to);
    } else {
        symlinks_.erase(from);
        symlinks_.insert(to);
    }
}

void Session::link(const std::string& from, const std::string& to) {
    changing(to);
    auto result = [&]() -> Result<void> {
        Parent a = TRY(parent(from)), b = TRY(parent(to));
        VnodeRef vnode = TRY(vfs::lookup(*a.dir, a.name, root_cred()));
        return vfs::link(*vnode, *b.dir, b.name, root_cred());
    }();
    if (!check(result, "link", from + " to " + to)) return;
    files_[to] = files_.at(from);
    gone_.erase(to);
}

void Session::unlink(const std::string& path) {
    changing(path);
    auto result = [&]() -> Result<void> {
        Parent p = TRY(parent(path));
        return vfs::unlink(*p.dir, p.name, root_cred());
    }();
    if (!check(result, "unlink", path)) return;
    if (files_.erase(path)) gone_.insert(path);
    symlinks_.erase(path);
}

void Session::mkdir(const std::string& path) {
    changing(path);
    auto result = [&]() -> Result<void> {
        Parent p = TRY(parent(path));
        TRY(vfs::mkdir(*p.dir, p.name, {FileType::dir, 0755, 0, {}}, root_cred()));
        return {};
    }();
    if (!check(result, "mkdir", path)) return;
    dirs_.insert(path);
    gone_.erase(path);
}

void Session::rmdir(const std::string& path) {
    changing(path);
    auto result = [&]() -> Result<void> {
        Parent p = TRY(parent(path));
        return vfs::rmdir(*p.dir, p.name, root_cred());
    }();
    if (check(result, "rmdir", path)) dirs_.erase(path);
}

void Session::symlink(const std::string& path, const std::string& target) {
    changing(path);
    auto result = [&]() -> Result<void> {
        Parent p = TRY(parent(path));
        TRY(vfs::symlink(*p.dir, p.name, target, root_cred()));
        return {};
    }();
    if (!check(result, "symlink", path)) return;
    symlinks_.insert(path);
    gone_.erase(path);
}

} // namespace rump::crash
