// The file system type: options, probing, and what mounting reads.
#include "kernel/fs/exfatfs/check.h"
#include "kernel/fs/exfatfs/newfs.h"
#include "kernel/fs/exfatfs/vfsops.h"

#include "kernel/kern/kernel.h"
#include "kernel/vfs/utf16.h"

#include <fmt/format.h>

#include <array>
#include <cstring>

namespace rump::exfatfs {

namespace {

FailureOr<int> utc_offset(const OptionSet& set) {
    return clusters::parse_time_offset(set, -16 * 60, 15 * 60, 15);
}

class ExfatType final : public FileSystemType {
public:
    std::string_view name() const override { return "exfatfs"; }
    std::span<const std::string_view> aliases() const override {
        static constexpr std::array<std::string_view, 1> names{"exfat"};
        return names;
    }
    std::string_view description() const override { return "exFAT"; }

    std::span<const OptionSpec> mount_options() const override {
        using Kind = OptionSpec::Kind;
        static constexpr auto specs = clusters::with_options<1>({{
            {"time_offset", Kind::text, "MINUTES",
             "new time stamps, and old ones that do not say, are so far east of UTC (0)"},
        }});
        return specs;
    }

    Result<std::optional<ProbeResult>> probe(host::BlockDevice& device) const override {
        std::optional<ProbeResult> found;
        auto geometry = Geometry::read(device);
        if (!geometry) {
            if (geometry.error().code == Errno::io) return Errno::io;
            return found;
        }
        found = ProbeResult{"exfatfs", "", ""};
        found->uuid =
            fmt::format("{:04X}-{:04X}", geometry->serial >> 16, geometry->serial & 0xffff);
        if (auto system = read_system_files(device, *geometry))
            found->label = vfs::utf16_to_utf8(system->label);
        return found;
    }

    Result<bool> recoverable(host::BlockDevice& device) const override {
        disk::BootSector boot;
        if (device.size() < sizeof boot) return false;
        TRY(device.read(0, std::as_writable_bytes(std::span(&boot, 1))));
        return std::memcmp(boot.name, "EXFAT   ", sizeof boot.name) == 0;
    }

    FailureOr<void> check_mount_options(const OptionSet& options) const override {
        TRY(utc_offset(options));
        return clusters::check_charset(options);
    }

    FailureOr<std::unique_ptr<Mount>> mount(Kernel& kernel, MountArgs args) const override {
        clusters::Options options = clusters::parse_options(args.options);
        options.utc_offset_minutes = TRY(utc_offset(args.options.fs));
        Geometry geometry = TRY(Geometry::read(*args.device));
        SystemFiles system = TRY(read_system_files(*args.device, geometry));
        clusters::report_found(kernel, name(), *args.device, geometry.damage, geometry.was_dirty,
                               geometry.media_failure);
        return std::unique_ptr<Mount>(std::make_unique<ExfatMount>(
            kernel, *this, std::move(args), geometry, options, std::move(system)));
    }

    bool can_check() const override { return true; }
    FailureOr<CheckReport> check(host::BlockDevice& device, const CheckOptions& options,
                                 host::Log&) const override {
        return exfatfs::check(device, options);
    }
    bool can_newfs() const override { return true; }
    std::span<const OptionSpec> newfs_options() const override { return exfatfs::newfs_options(); }
    FailureOr<void> newfs(Kernel& kernel, host::BlockDevice& device,
                          const OptionSet& options) const override {
        return exfatfs::newfs(kernel, device, options);
    }
};

} // namespace

const FileSystemType& type() {
    static const ExfatType the_type;
    return the_type;
}

} // namespace rump::exfatfs
