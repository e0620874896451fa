// ext2: images by mke2fs (e2fsprogs), judged by e2fsck.
#include "tests/conformance/process.h"
#include "tests/conformance/targets.h"

#include "hostshim/memory_device.h"
#include "kernel/fs/registry.h"
#include "tests/support/memory_file.h"

#include <map>
#include <stdexcept>

namespace rump::conformance {

namespace {

class Ext2Target final : public Target {
public:
    Ext2Target() {
        traits_.name = "ext2fs";
        // 12 direct blocks and three levels of indirect ones of 1 KiB.
        traits_.max_file_size = (12 + 256 + 256 * 256 + 256ull * 256 * 256) * 1024;
        traits_.link_max = 32000;
        traits_.subdirectory_max = 32000;
        traits_.symlink_max = 1023;
        traits_.xattr_value_max = 900; // inode body and one block
        traits_.time_min = -2147483648ll;
        traits_.time_max = 15032385535ll;
        traits_.preallocation_behind_end = false;
    }
    const Traits& traits() const override { return traits_; }
    const FileSystemType& type() const override { return *find_filesystem("ext2fs"); }

    host::BlockDevice* image(ImageKind kind) override {
        std::unique_ptr<host::BlockDevice>& image = images_[kind];
        if (image) return image.get();
        const bool tiny = kind == ImageKind::tiny;
        const uint64_t size = tiny ? 1u << 20 : 64u << 20;
        test::MemoryFile file(size);
        const std::vector<std::string> command{
            "mke2fs",
            "-q",
            "-F",
            "-t",
            "ext2",
            "-b",
            "1024",
            "-I",
            "256",
            "-m",
            "0",
            "-O",
            "ext_attr,dir_index,filetype,sparse_super,large_file",
            "-N",
            tiny ? "128" : "12000",
            file.path()};
        if (const Exit exit = run(command); exit.code != 0)
            throw std::runtime_error(joined(command) + ": " + exit.output);
        image = host::make_memory_device(size);
        if (!file.give_to(*image)) throw std::runtime_error("cannot read " + file.path());
        return image.get();
    }
    std::string mount_options(ImageKind) const override { return ""; }
    std::string daemon() const override { return "rump_ext2fs"; }
    std::string host_type() const override { return "ext2"; }
    std::vector<std::vector<std::string>> checkers() const override {
        return {{"e2fsck", "-f", "-n"}};
    }

private:
    Traits traits_;
    std::map<ImageKind, std::unique_ptr<host::BlockDevice>> images_;
};

} // namespace

Target& ext2fs_target() {
    static Ext2Target target;
    return target;
}

} // namespace rump::conformance
