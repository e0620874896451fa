// A tree that has some of everything in it.
#include "tests/corrupt/driver.h"

#include "hostshim/faulty_device.h"
#include "hostshim/memory_device.h"
#include "kernel/kern/kernel.h"
#include "kernel/sys/mount_options.h"
#include "kernel/vfs/vfs_ops.h"

#include <fmt/core.h>

namespace rump::corrupt {

namespace {

class Populate {
public:
    explicit Populate(Mount& mount) : mount_(mount), cred_(Cred::superuser()) {}

    Result<void> run() {
        VnodeRef root = TRY(mount_.root());
        TRY(file(*root, "empty", 0, 0));
        VnodeRef small = TRY(file(*root, "small.txt", 0, 700));
        TRY(file(*root, "medium.bin", 0, 40000));
        TRY(file(*root, "large.bin", 0, 400000));
        TRY(sparse(*root));
        VnodeRef dir = TRY(vfs::mkdir(*root, "dir", {FileType::dir, 0755, 0, {}}, cred_));
        VnodeRef deep = dir;
        for (int i = 0; i < 6; ++i) {
            TRY(file(*deep, fmt::format("file{}", i), 0, 100u << i));
            deep = TRY(
                vfs::mkdir(*deep, fmt::format("level{}", i), {FileType::dir, 0700, 0, {}}, cred_));
        }
        VnodeRef many = TRY(vfs::mkdir(*root, "many", {FileType::dir, 0755, 0, {}}, cred_));
        for (int i = 0; i < 150; ++i)
            TRY(file(*many, fmt::format("a rather long name of a file, number {:04}", i), 0, 0));
        TRY(links(*root, *small));
        TRY(attributes(*small, *dir));
        return mount_.sync();
    }

private:
    Result<VnodeRef> file(Vnode& dir, std::string_view name, uint64_t offset, size_t length) {
        VnodeRef made = TRY(vfs::create(dir, name, {FileType::reg, 0644, 0, {}}, cred_));
        TRY(fill(*made, offset, length));
        return made;
    }
    Result<void> fill(Vnode& vnode, uint64_t offset, size_t length) {
        std::vector<std::byte> data(length);
        for (size_t i = 0; i < length; ++i)
            data[i] = static_cast<std::byte>((offset + i) * 2654435761u >> 13);
        if (length == 0) return {};
        if (TRY(vfs::write(vnode, offset, data, cred_)) != length) return Errno::nospc;
        return {};
    }
    Result<void> sparse(Vnode& root) {
        VnodeRef made = TRY(file(root, "sparse.bin", 0, 3000));
        TRY(fill(*made, 100000, 5000));
        return fill(*made, 900000, 2000);
    }
    Result<void> links(Vnode& root, Vnode& small) {
        const Mount::Traits& traits = mount_.traits();
        if (traits.hard_links) TRY(vfs::link(small, root, "hardlink", cred_));
        if (traits.symlinks) {
            TRY(vfs::symlink(root, "short.link", "small.txt", cred_));
            TRY(vfs::symlink(root, "long.link", std::string(300, 'x'), cred_));
        }
        if (traits.special_files) {
            TRY(vfs::create(root, "fifo", {FileType::fifo, 0600, 0, {}}, cred_));
            TRY(vfs::create(root, "device", {FileType::chr, 0600, 0, {5, 300}}, cred_));
        }
        return {};
    }
    Result<void> attributes(Vnode& small, Vnode& dir) {
        for (Vnode* vnode : {&small, &dir})
            for (size_t length : {10u, 200u}) {
                std::vector<std::byte> value(length, std::byte{'v'});
                auto set = vfs::setxattr(*vnode, fmt::format("user.of{}bytes", length), value,
                                         XattrSet::any, cred_);
                if (!set && set.error() != Errno::opnotsupp) return set;
            }
        return {};
    }

    Mount& mount_;
    const Cred cred_;
};

} // namespace

Result<void> populate(Mount& mount) { return Populate(mount).run(); }

FailureOr<std::vector<std::byte>> filled_image(const FileSystemType& type, uint64_t size,
                                               std::string_view newfs_options) {
    OptionSet options;
    for (const std::string& item : split_options(newfs_options)) {
        const NamedOption option(item);
        TRY(options.set(type.newfs_options(), option.name, option.value));
    }
    auto device = host::make_memory_device(size);
    host::SeededRandom random(5);
    Kernel kernel({.random = &random});
    TRY(type.newfs(kernel, *device, options));
    Mount* mount = TRY(kernel.mount(type, {std::make_unique<host::FaultyDevice>(*device), {}}));
    if (auto done = populate(*mount); !done) return Failure(done.error(), "cannot populate");
    if (auto done = kernel.unmount(*mount, false); !done)
        return Failure(done.error(), "cannot unmount");
    std::vector<std::byte> image(size);
    if (auto read = device->read(0, image); !read) return Failure(read.error(), "cannot read");
    return image;
}

} // namespace rump::corrupt
