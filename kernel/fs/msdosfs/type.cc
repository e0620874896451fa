// The file system type: options, probing, and what mounting reads.
#include "kernel/fs/msdosfs/check.h"
#include "kernel/fs/msdosfs/newfs.h"
#include "kernel/fs/msdosfs/vfsops.h"
#include "kernel/kern/kernel.h"
#include "kernel/vfs/utf16.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>

namespace rump::msdosfs {

namespace {

FailureOr<ShortNameStyle> parse_style(const std::string& text) {
    constexpr std::array<std::pair<std::string_view, ShortNameStyle>, 4> styles{{
        {"lower", ShortNameStyle::lower},
        {"win95", ShortNameStyle::win95},
        {"winnt", ShortNameStyle::winnt},
        {"mixed", ShortNameStyle::mixed},
    }};
    for (const auto& [name, style] : styles)
        if (name == text) return style;
    return Failure(Errno::inval, "shortname=" + text + ": not lower, win95, winnt or mixed");
}

FailureOr<NameRules> parse_names(const OptionSet& set) {
    NameRules names;
    std::string page = set.text("codepage", CodePage::standard);
    auto code_page = CodePage::find(page);
    if (!code_page)
        return Failure(Errno::inval, "codepage=" + page + ": not one of " + CodePage::names());
    names.code_page = *code_page;
    if (set.has("shortname")) names.style = TRY(parse_style(set.text("shortname")));
    return names;
}

struct Hints {
    std::optional<uint32_t> free;
    std::optional<uint32_t> next;
};

/// FSInfo's numbers, where they can be true.
Hints read_fsinfo(host::BlockDevice& device, const Geometry& geometry) {
    Hints hints;
    disk::FsInfo info;
    if (!geometry.fsinfo_offset ||
        !device.read(*geometry.fsinfo_offset, std::as_writable_bytes(std::span(&info, 1))) ||
        info.lead_signature != disk::fsinfo_lead || info.signature != disk::fsinfo_signature ||
        info.trail_signature != disk::fsinfo_trail)
        return hints;
    if (info.free_clusters <= geometry.cluster_count) hints.free = info.free_clusters;
    if (geometry.is_cluster(info.next_free)) hints.next = info.next_free;
    return hints;
}

FailureOr<int> utc_offset(const OptionSet& set) {
    return clusters::parse_time_offset(set, -24 * 60, 24 * 60, 1);
}

class MsdosType final : public FileSystemType {
public:
    std::string_view name() const override { return "msdosfs"; }
    std::span<const std::string_view> aliases() const override {
        static constexpr std::array<std::string_view, 3> names{"msdos", "fat", "vfat"};
        return names;
    }
    std::string_view description() const override {
        return "FAT12, FAT16 and FAT32 with long names";
    }

    std::span<const OptionSpec> mount_options() const override {
        using Kind = OptionSpec::Kind;
        static constexpr auto specs = clusters::with_options<5>({{
            {"codepage", Kind::text, "N", "code page of short names: 437, 850, 866, utf8 … (437)"},
            {"shortname", Kind::text, "STYLE", "lower, win95, winnt or mixed (winnt)"},
            {"showexec", Kind::flag, "", "of files, only .exe, .com and .bat are executable"},
            {"utc", Kind::flag, "", "time stamps are UTC (the default)"},
            {"time_offset", Kind::text, "MINUTES", "time stamps are so far east of UTC"},
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
        // The table repeats the media byte: more than a boot sector of something else has.
        std::array<std::byte, 2> head;
        TRY(device.read(geometry->fat_offset + geometry->active_fat * geometry->fat_size, head));
        if (head[0] != std::byte{geometry->media} || head[1] != std::byte{0xff}) return found;
        found = ProbeResult{"msdosfs", read_label(device, *geometry, NameRules{}.code_page), ""};
        if (geometry->serial)
            found->uuid =
                fmt::format("{:04X}-{:04X}", *geometry->serial >> 16, *geometry->serial & 0xffff);
        return found;
    }

    Result<bool> recoverable(host::BlockDevice& device) const override {
        std::array<std::byte, 512> sector;
        if (device.size() < sector.size()) return false;
        TRY(device.read(0, sector));
        auto names_fat = [&](size_t tail) {
            const auto& boot = *reinterpret_cast<const disk::BootTail*>(&sector[tail]);
            return std::memcmp(boot.type_name, "FAT", 3) == 0;
        };
        return names_fat(sizeof(disk::BootSector)) ||
               names_fat(sizeof(disk::BootSector) + offsetof(disk::BootTail32, tail));
    }

    FailureOr<void> check_mount_options(const OptionSet& options) const override {
        TRY(parse_names(options));
        TRY(utc_offset(options));
        return clusters::check_charset(options);
    }

    FailureOr<std::unique_ptr<Mount>> mount(Kernel& kernel, MountArgs args) const override {
        const OptionSet& set = args.options.fs;
        NameRules names = TRY(parse_names(set));
        clusters::Options options = clusters::parse_options(args.options);
        if (!set.has("utc")) options.utc_offset_minutes = TRY(utc_offset(set));
        Geometry geometry = TRY(Geometry::read(*args.device));
        auto marks = geometry.marks(*args.device);
        if (!marks) return Failure(marks.error(), "file allocation table: cannot be read");
        clusters::report_found(kernel, name(), *args.device, geometry.damage, marks->dirty,
                               marks->errors);
        Hints hints = read_fsinfo(*args.device, geometry);
        if (marks->dirty) hints.free.reset(); // counts from before a crash
        return std::unique_ptr<Mount>(std::make_unique<MsdosMount>(
            kernel, *this, std::move(args), std::move(geometry), std::move(names), options,
            hints.free, hints.next, *marks));
    }

    bool can_check() const override { return true; }
    FailureOr<CheckReport> check(host::BlockDevice& device, const CheckOptions& options,
                                 host::Log&) const override {
        return msdosfs::check(device, options);
    }
    bool can_newfs() const override { return true; }
    std::span<const OptionSpec> newfs_options() const override { return msdosfs::newfs_options(); }
    FailureOr<void> newfs(Kernel& kernel, host::BlockDevice& device,
                          const OptionSet& options) const override {
        return msdosfs::newfs(kernel, device, options);
    }
};

} // namespace

const FileSystemType& type() {
    static const MsdosType the_type;
    return the_type;
}

namespace {

/// The label of the root directory, if it has one in its first part.
std::optional<ShortName> label_in_root(host::BlockDevice& device, const Geometry& geometry) {
    uint64_t offset =
        geometry.is_fat32() ? geometry.offset_of(geometry.root_cluster) : geometry.root_offset;
    uint64_t bytes = geometry.is_fat32() ? geometry.cluster_size
                                         : uint64_t{geometry.root_entries} * disk::dirent_size;
    std::vector<disk::DirEntry> entries(std::min<uint64_t>(bytes, 65536) / disk::dirent_size);
    if (!device.read(offset, std::as_writable_bytes(std::span(entries)))) return std::nullopt;
    for (const disk::DirEntry& entry : entries) {
        if (entry.name[0] == disk::name_end) break;
        if (entry.name[0] == disk::name_deleted ||
            (entry.attributes & disk::attr_long_mask) == disk::attr_long_name ||
            !(entry.attributes & disk::attr_label) || entry.attributes & disk::attr_directory)
            continue;
        ShortName label;
        std::copy_n(entry.name, label.size(), label.begin());
        return label;
    }
    return std::nullopt;
}

} // namespace

std::string read_label(host::BlockDevice& device, const Geometry& geometry,
                       const CodePage& code_page) {
    std::string bytes = geometry.boot_label;
    if (auto label = label_in_root(device, geometry)) bytes.assign(label->begin(), label->end());
    bytes.resize(bytes.find_last_not_of(' ') + 1);
    if (!bytes.empty() && bytes[0] == disk::name_is_e5) bytes[0] = static_cast<char>(0xe5);
    std::array<char16_t, std::tuple_size_v<ShortName>> units;
    return vfs::utf16_to_utf8({units.data(), code_page.decode(bytes, units)});
}

} // namespace rump::msdosfs
