// FAT and exFAT images that other systems made, read and compared with what those systems say is in
// them.
#include "tests/unit/extract_tree.h"
#include "tests/unit/sample_images.h"
#include "tests/unit/skipped.h"
#include "tests/unit/temp_dir.h"

#include "hostshim/file_device.h"
#include "kernel/fs/registry.h"

#include <catch2/catch.hpp>

using namespace rump;
using namespace rump::test;

namespace {

Mount& mount_image(Kernel& kernel, const std::string& path, const char* type_name) {
    auto device = host::open_file_device(path, {});
    REQUIRE(device.ok());
    const FileSystemType& type = *find_filesystem(type_name);
    auto probed = type.probe(**device);
    REQUIRE(probed.ok());
    REQUIRE(probed->has_value());
    MountArgs args{device.release_value(), {}};
    args.options.read_only = true;
    args.options.atime = AtimePolicy::none;
    if (type.name() == "msdosfs")
        REQUIRE(args.options.fs.set(type.mount_options(), "codepage", "850").ok());
    auto mount = kernel.mount(type, std::move(args));
    INFO((mount.ok() ? "" : mount.error().text));
    REQUIRE(mount.ok());
    return **mount;
}

} // namespace

TEST_CASE("images of other systems hold what their manifests say", "[samples]") {
    auto folder = sample_folder();
    if (!folder) return skipped("no sample images");
    for (std::string name : {"fat12", "fat16", "fat32", "fat32-4k", "ul-fat32-xp-label1",
                             "ul-fat32-xp-none", "ul-fat32-xp-none-mlabel-label1", "exfat"}) {
        INFO(name);
        TempDir dir;
        REQUIRE(unpack_sample(name, dir / "image"));
        Kernel kernel;
        Mount& mount = mount_image(kernel, dir / "image", name == "exfat" ? "exfat" : "vfat");
        std::string tree = dir / "tree";
        REQUIRE(mkdir(tree.c_str(), 0700) == 0);
        extract_tree(**mount.root(), tree);
        std::string verify = "python3 '" + (*folder / "verify-tree.py").string() +
                             "' --quiet --fat '" + tree + "' '" +
                             (*folder / (name + ".manifest.json")).string() + "'";
        CHECK(std::system(verify.c_str()) == 0);
        CHECK_FALSE(mount.tainted());
        CHECK(kernel.unmount(mount, false).ok());
    }
}
