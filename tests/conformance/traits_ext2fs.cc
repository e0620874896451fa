// ext2: images by mke2fs (e2fsprogs), judged by e2fsck.
#include "tests/conformance/process.h"
#include "tests/conformance/targets.h"

#include "kernel/fs/registry.h"

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

    const std::vector<std::byte>& image(ImageKind kind) override {
        std::vector<std::byte>& image = images_[kind];
        if (!image.empty()) return image;
        TemporaryDirectory scratch;
        const std::string path = scratch.path() + "/image";
        const bool tiny = kind == ImageKind::tiny;
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
            path,
            tiny ? "1m" : "64m"};
        const Exit exit = run(command);
        if (exit.code != 0) throw std::runtime_error(joined(command) + ": " + exit.output);
        image = read_host_file(path);
        return image;
    }
    std::string mount_options(ImageKind) const override { return ""; }
    std::string daemon() const override { return "rump_ext2fs"; }
    std::string host_type() const override { return "ext2"; }
    std::vector<std::vector<std::string>> checkers() const override {
        return {{"e2fsck", "-f", "-n"}};
    }

private:
    Traits traits_;
    std::map<ImageKind, std::vector<std::byte>> images_;
};

} // namespace

Target& ext2fs_target() {
    static Ext2Target target;
    return target;
}

} // namespace rump::conformance
