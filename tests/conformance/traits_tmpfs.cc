// tmpfs: no image; everything that POSIX and Linux know, except that nothing is left after the
// unmount.
#include "tests/conformance/targets.h"

#include "kernel/fs/tmpfs/tmpfs.h"

namespace rump::conformance {

namespace {

class TmpfsTarget final : public Target {
public:
    TmpfsTarget() {
        traits_.name = "tmpfs";
        traits_.persistent = false;
    }
    const Traits& traits() const override { return traits_; }
    const FileSystemType& type() const override { return tmpfs::type(); }
    host::BlockDevice* image(ImageKind) override { return nullptr; }
    std::string mount_options(ImageKind kind) const override {
        return kind == ImageKind::tiny ? "size=1m,nr_inodes=200" : "size=256m,nr_inodes=300k";
    }
    std::string daemon() const override { return "rump_tmpfs"; }
    std::string host_type() const override { return "tmpfs"; }
    std::vector<std::vector<std::string>> checkers() const override { return {}; }

private:
    Traits traits_;
};

} // namespace

Target& tmpfs_target() {
    static TmpfsTarget target;
    return target;
}

} // namespace rump::conformance
