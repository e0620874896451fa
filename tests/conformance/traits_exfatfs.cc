// exFAT in every size of sector and cluster (RUMP_NEWFS), judged by fsck.exfat (exfatprogs).
#include "tests/conformance/newfs_image.h"
#include "tests/conformance/targets.h"

#include "kernel/fs/registry.h"

#include <map>

namespace rump::conformance {

namespace {

constexpr uint64_t megabyte = 1 << 20;

class ExfatTarget final : public Target {
public:
    ExfatTarget() : options_(chosen_newfs("cluster=4096")) {
        traits_.name = "exfatfs";
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
        traits_.time_granularity_ns = 10'000'000; // of access times, two seconds
        traits_.time_min = 315532800;             // 1980
        traits_.time_max = 4354819199;            // 2107
    }
    const Traits& traits() const override { return traits_; }
    const FileSystemType& type() const override { return *find_filesystem("exfatfs"); }

    const std::vector<std::byte>& image(ImageKind kind) override {
        std::vector<std::byte>& image = images_[kind];
        if (!image.empty()) return image;
        const uint64_t cluster = newfs_number(options_, "cluster", 4096);
        const uint64_t sector = newfs_number(options_, "sector", 512);
        if (kind == ImageKind::tiny)
            image = newfs_image(type(),
                                "cluster=" + std::to_string(std::max<uint64_t>(1024, sector)) +
                                    ",sector=" + std::to_string(sector),
                                megabyte + megabyte / 4);
        else
            image = newfs_image(type(), options_, std::max(64 * megabyte, 300 * cluster));
        return image;
    }
    std::string mount_options(ImageKind) const override { return ""; }
    std::string daemon() const override { return "rump_exfat"; }
    std::string host_type() const override { return "exfat"; }
    std::vector<std::vector<std::string>> checkers() const override {
        return {{"fsck.exfat", "-n"}};
    }

private:
    const std::string options_;
    Traits traits_;
    std::map<ImageKind, std::vector<std::byte>> images_;
};

} // namespace

Target& exfatfs_target() {
    static ExfatTarget target;
    return target;
}

} // namespace rump::conformance
