// FAT12, FAT16 and FAT32 in every size of sector and cluster (RUMP_NEWFS), judged by fsck.fat
// (dosfstools).
#include "tests/conformance/newfs_image.h"
#include "tests/conformance/targets.h"
#include "tests/conformance/traits_clusters.h"

#include "kernel/fs/registry.h"

#include <map>

namespace rump::conformance {

namespace {

class MsdosTarget final : public Target {
public:
    MsdosTarget() : options_(chosen_newfs("fat=32,cluster=4096")) {
        traits_.max_file_size = UINT32_MAX;
        traits_.time_granularity_ns = 2'000'000'000;
        traits_.time_max--; // a whole number of its two seconds
    }
    const Traits& traits() const override { return traits_; }
    const FileSystemType& type() const override { return *find_filesystem("msdosfs"); }

    host::BlockDevice* image(ImageKind kind) override {
        std::unique_ptr<host::BlockDevice>& image = images_[kind];
        if (image) return image.get();
        const uint64_t bits = newfs_number(options_, "fat", 32);
        const uint64_t cluster = newfs_number(options_, "cluster", 4096);
        // Few or many enough clusters for the format: fewer than 4085, fewer than 65525, or more.
        uint64_t size = bits == 12   ? std::min(cluster * 4000, 64 * megabyte)
                        : bits == 16 ? std::max(cluster * 5000, 32 * megabyte)
                                     : std::max(cluster * 67000, 64 * megabyte);
        std::string options = options_;
        if (bits != 32) options += ",root_entries=4096";
        if (kind == ImageKind::tiny) {
            const uint64_t sector = newfs_number(options_, "sector", 512);
            options = "fat=12,root_entries=512,cluster=" +
                      std::to_string(std::max<uint64_t>(2048, sector)) +
                      ",sector=" + std::to_string(sector);
            size = megabyte + megabyte / 4;
        }
        image = newfs_image(type(), options, size);
        return image.get();
    }
    std::string mount_options(ImageKind) const override { return ""; }
    std::string daemon() const override { return "rump_msdos"; }
    std::string host_type() const override { return "vfat"; }
    std::vector<std::vector<std::string>> checkers() const override { return {{"fsck.fat", "-n"}}; }

private:
    const std::string options_;
    Traits traits_ = clusters_traits("msdosfs");
    std::map<ImageKind, std::unique_ptr<host::BlockDevice>> images_;
};

} // namespace

Target& msdosfs_target() {
    static MsdosTarget target;
    return target;
}

} // namespace rump::conformance
