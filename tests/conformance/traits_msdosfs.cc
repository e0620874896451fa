// FAT12, FAT16 and FAT32 in every size of sector and cluster (RUMP_NEWFS), judged by fsck.fat
// (dosfstools).
#include "tests/conformance/newfs_image.h"
#include "tests/conformance/targets.h"

#include "kernel/fs/registry.h"

#include <map>

namespace rump::conformance {

namespace {

constexpr uint64_t megabyte = 1 << 20;

class MsdosTarget final : public Target {
public:
    MsdosTarget() : options_(chosen_newfs("fat=32,cluster=4096")) {
        traits_.name = "msdosfs";
        traits_.hard_links = false;
        traits_.symlinks = false;
        traits_.special_files = false;
        traits_.owners = false;
        traits_.user_xattrs = false; // but for the one of the attributes
        traits_.privileged_xattrs = false;
        traits_.posix_acl = false;
        traits_.case_sensitive = false;
        traits_.any_bytes = false;
        traits_.holes = false;
        traits_.preallocation_behind_end = false;
        traits_.file_flags = false;
        traits_.counts_inodes = false;
        traits_.directory_links = false;
        traits_.ctime = false;
        traits_.lasting_handles = false; // a file is where its entry is
        traits_.exchange = false;
        traits_.max_file_size = UINT32_MAX;
        traits_.time_granularity_ns = 2'000'000'000;
        traits_.time_min = 315532800;  // 1980
        traits_.time_max = 4354819198; // 2107
    }
    const Traits& traits() const override { return traits_; }
    const FileSystemType& type() const override { return *find_filesystem("msdosfs"); }

    const std::vector<std::byte>& image(ImageKind kind) override {
        std::vector<std::byte>& image = images_[kind];
        if (!image.empty()) return image;
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
        return image;
    }
    std::string mount_options(ImageKind) const override { return ""; }
    std::string daemon() const override { return "rump_msdos"; }
    std::string host_type() const override { return "vfat"; }
    std::vector<std::vector<std::string>> checkers() const override { return {{"fsck.fat", "-n"}}; }

private:
    const std::string options_;
    Traits traits_;
    std::map<ImageKind, std::vector<std::byte>> images_;
};

} // namespace

Target& msdosfs_target() {
    static MsdosTarget target;
    return target;
}

} // namespace rump::conformance
