// exFAT in every size of sector and cluster (RUMP_NEWFS), judged by fsck.exfat (exfatprogs).
#include "tests/conformance/newfs_image.h"
#include "tests/conformance/targets.h"
#include "tests/conformance/traits_clusters.h"

#include "kernel/fs/registry.h"

#include <map>

namespace rump::conformance {

namespace {

class ExfatTarget final : public Target {
public:
    ExfatTarget() : options_(chosen_newfs("cluster=4096")) {
        traits_.time_granularity_ns = 10'000'000; // of access times, two seconds
    }
    const Traits& traits() const override { return traits_; }
    const FileSystemType& type() const override { return *find_filesystem("exfatfs"); }

    host::BlockDevice* image(ImageKind kind) override {
        std::unique_ptr<host::BlockDevice>& image = images_[kind];
        if (image) return image.get();
        const uint64_t cluster = newfs_number(options_, "cluster", 4096);
        const uint64_t sector = newfs_number(options_, "sector", 512);
        if (kind == ImageKind::tiny)
            image = newfs_image(type(),
                                "cluster=" + std::to_string(std::max<uint64_t>(1024, sector)) +
                                    ",sector=" + std::to_string(sector),
                                megabyte + megabyte / 4);
        else
            image = newfs_image(type(), options_, std::max(64 * megabyte, 300 * cluster));
        return image.get();
    }
    std::string mount_options(ImageKind) const override { return ""; }
    std::string daemon() const override { return "rump_exfat"; }
    std::string host_type() const override { return "exfat"; }
    std::vector<std::vector<std::string>> checkers() const override {
        return {{"fsck.exfat", "-n"}};
    }

private:
    const std::string options_;
    Traits traits_ = clusters_traits("exfatfs");
    std::map<ImageKind, std::unique_ptr<host::BlockDevice>> images_;
};

} // namespace

Target& exfatfs_target() {
    static ExfatTarget target;
    return target;
}

} // namespace rump::conformance
