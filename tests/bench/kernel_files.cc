// The bench's file operations as the kernel's generic operations in this process: no mount, no
// FUSE, no system call but the device's own.
#include "tests/bench/files.h"

#include "hostshim/file_device.h"
#include "kernel/fs/registry.h"
#include "kernel/kern/kernel.h"
#include "kernel/vfs/buffer_cache.h"
#include "kernel/vfs/name_cache.h"
#include "kernel/vfs/namei.h"
#include "kernel/vfs/vfs_ops.h"
#include "kernel/vfs/vnode_cache.h"

namespace bench {
namespace {

using namespace rump;

template<class T>
T need(Result<T> result, const std::string& what) {
    if (!result.ok()) throw Failed(what, to_int(result.error()));
    return std::move(result).value();
}
void need(Result<void> result, const std::string& what) {
    if (!result.ok()) throw Failed(what, to_int(result.error()));
}

const Cred& root_cred() {
    static const Cred cred = Cred::superuser();
    return cred;
}

class KernelFile final : public File {
public:
    explicit KernelFile(VnodeRef vnode) : vnode_(std::move(vnode)) {}
    size_t read(uint64_t offset, std::span<std::byte> out) override {
        return need(vfs::read(*vnode_, offset, out), "read");
    }
    void write(uint64_t offset, std::span<const std::byte> data) override {
        if (need(vfs::write(*vnode_, offset, data, root_cred()), "write") != data.size())
            throw Failed("write", ENOSPC);
    }
    void fsync() override { need(vfs::fsync(*vnode_, false), "fsync"); }

private:
    VnodeRef vnode_;
};

class KernelFiles final : public Files {
public:
    KernelFiles(const std::string& type_name, const std::string& image)
        : kernel_({.background = true}) {
        const FileSystemType* type = find_filesystem(type_name);
        if (!type) throw Failed("no file system " + type_name, ENODEV);
        MountArgs args;
        if (type->needs_device()) {
            auto device = host::open_file_device(image, {.access = host::Access::read_write});
            if (!device.ok()) throw std::runtime_error(image + ": " + device.error().text);
            args.device = std::move(device).value();
        }
        auto mount = kernel_.mount(*type, std::move(args));
        if (!mount.ok()) throw std::runtime_error(image + ": " + mount.error().text);
        mount_ = *mount;
        start_.root = start_.cwd = need(mount_->root(), "root");
    }
    ~KernelFiles() override {
        start_ = {};
        (void)kernel_.unmount(*mount_, true).ok();
    }

    void mkdir(const std::string& path) override {
        auto parent = parent_of(path);
        need(vfs::mkdir(*parent.dir, parent.name, {.type = FileType::dir, .mode = 0755},
                        root_cred()),
             path);
    }
    void create(const std::string& path) override { (void)make(path); }
    void write_file(const std::string& path, std::span<const std::byte> data) override {
        KernelFile(find(path)).write(0, data);
    }
    size_t read_file(const std::string& path, std::span<std::byte> out) override {
        return KernelFile(find(path)).read(0, out);
    }
    void stat(const std::string& path) override { need(vfs::getattr(*find(path)), path); }
    size_t list_and_stat(const std::string& path) override {
        auto dir = find(path);
        size_t count = 0;
        // In batches, as getdents does: the sink must not look names up itself.
        constexpr size_t batch = 256;
        uint64_t cookie = 0;
        for (std::vector<std::string> names; cookie == 0 || !names.empty();) {
            names.clear();
            need(vfs::readdir(*dir, cookie,
                              [&](const DirEntry& entry) {
                                  if (names.size() == batch) return false;
                                  names.emplace_back(entry.name);
                                  cookie = entry.next_cookie;
                                  return true;
                              }),
                 path);
            for (const auto& name : names) {
                if (name == "." || name == "..") continue;
                auto vnode = need(vfs::lookup(*dir, name, root_cred()), name);
                need(vfs::getattr(*vnode), name);
                ++count;
            }
        }
        return count;
    }
    void rename(const std::string& from, const std::string& to) override {
        auto source = parent_of(from), target = parent_of(to);
        need(vfs::rename(*source.dir, source.name, *target.dir, target.name,
                         vfs::RenameMode::replace, root_cred()),
             from);
    }
    void unlink(const std::string& path) override {
        auto parent = parent_of(path);
        need(vfs::unlink(*parent.dir, parent.name, root_cred()), path);
    }
    std::unique_ptr<File> open(const std::string& path, bool make_it) override {
        auto found = vfs::namei(start_, path, vfs::FollowLast::yes, root_cred());
        if (!found.ok() && make_it && found.error() == Errno::noent)
            return std::make_unique<KernelFile>(make(path));
        auto vnode = need(std::move(found), path);
        if (make_it) {
            AttrChange change;
            change.size = 0;
            need(vfs::setattr(*vnode, change, root_cred()), path);
        }
        return std::make_unique<KernelFile>(std::move(vnode));
    }
    void sync() override { need(mount_->sync(), "sync"); }
    void drop_caches() override {
        sync();
        mount_->names().clear();
        mount_->vnodes().drop_inactive(false);
        if (mount_->has_device()) mount_->buffers().drop_clean();
    }

private:
    VnodeRef find(const std::string& path) {
        return need(vfs::namei(start_, path, vfs::FollowLast::yes, root_cred()), path);
    }
    vfs::ParentOf parent_of(const std::string& path) {
        return need(vfs::namei_parent(start_, path, root_cred()), path);
    }
    VnodeRef make(const std::string& path) {
        auto parent = parent_of(path);
        return need(vfs::create(*parent.dir, parent.name, {.type = FileType::reg, .mode = 0644},
                                root_cred()),
                    path);
    }

    Kernel kernel_;
    Mount* mount_ = nullptr;
    vfs::LookupStart start_;
};

} // namespace

std::vector<std::string> kernel_types() {
    std::vector<std::string> names;
    for (const FileSystemType* type : filesystem_types()) names.emplace_back(type->name());
    return names;
}

std::unique_ptr<Files> kernel_files(const std::string& type, const std::string& image) {
    return std::make_unique<KernelFiles>(type, image);
}

} // namespace bench
