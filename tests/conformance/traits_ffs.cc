// FFS: images by our newfs, judged by our check, in all layouts. The conformance suite runs on the
// one that RUMP_NEWFS names ("2/be/16k/2k/log"), the differential test on any.
#include "tests/conformance/process.h"
#include "tests/conformance/targets.h"

#include "hostshim/memory_device.h"
#include "kernel/fs/ffs/ffs.h"
#include "kernel/kern/kernel.h"
#include "tests/support/ffs_volume.h"

#include <cstdlib>
#include <map>
#include <memory>

namespace rump::conformance {

namespace {

class FfsTarget final : public Target {
public:
    explicit FfsTarget(const test::FfsLayout& layout)
        : layout_(layout), block_(std::stoul(layout.block) * 1024) {
        const bool ufs2 = layout.format == "2";
        traits_.name = "ffs";
        traits_.link_max = 32767;
        traits_.subdirectory_max = 32765;
        traits_.user_xattrs = traits_.privileged_xattrs = traits_.posix_acl = traits_.btime = ufs2;
        // Two blocks, with the attribute's name and length.
        traits_.xattr_value_max = std::min<size_t>(traits_.xattr_value_max, 2 * block_ - 64);
        traits_.preallocation_behind_end = false;
        traits_.noatime_flag = false;
        traits_.hole_at_end = false;
        if (!ufs2) {
            traits_.time_min = INT32_MIN;
            traits_.time_max = INT32_MAX;
        }
        traits_.max_file_size = largest_file();
    }
    const Traits& traits() const override { return traits_; }
    const FileSystemType& type() const override { return ffs::type(); }

    host::BlockDevice* image(ImageKind kind) override {
        std::unique_ptr<host::BlockDevice>& image = images_[kind];
        if (image) return image.get();
        const bool tiny = kind == ImageKind::tiny;
        uint64_t bytes = tiny ? std::max<uint64_t>(1u << 20, 100 * block_) : 64u << 20;
        if (layout_.log) bytes += 1u << 20;
        image = host::make_memory_device(bytes);
        test::make_ffs(*image, layout_, {{"m", "0"}, {"n", tiny ? "128" : "12000"}});
        return image.get();
    }
    std::string mount_options(ImageKind) const override { return ""; }
    std::string daemon() const override { return "rump_ffs"; }
    std::string host_type() const override { return "ufs"; }
    std::vector<std::vector<std::string>> checkers() const override { return {}; }

private:
    uint64_t largest_file() {
        Kernel kernel;
        Mount* mount = test::mount_ffs(kernel, *image(ImageKind::standard), true);
        const uint64_t size = mount->traits().max_file_size;
        (void)kernel.unmount(*mount, false).ok();
        return size;
    }

    const test::FfsLayout layout_;
    const uint64_t block_;
    Traits traits_;
    std::map<ImageKind, std::unique_ptr<host::BlockDevice>> images_;
};

} // namespace

Target& ffs_target(std::string_view layout) {
    static std::map<std::string, std::unique_ptr<Target>, std::less<>> targets;
    auto it = targets.find(layout);
    if (it == targets.end())
        it = targets.emplace(layout, std::make_unique<FfsTarget>(test::FfsLayout::parse(layout)))
                 .first;
    return *it->second;
}

Target& ffs_target() {
    const char* layout = std::getenv("RUMP_NEWFS");
    return ffs_target(layout != nullptr ? layout : test::FfsLayout().name());
}

} // namespace rump::conformance
