// What is on a device, by libblkid.
#include "images/identify.h"

#include "images/blkid_probe.h"
#include "images/partitions.h"

#include <fmt/format.h>

#include <algorithm>
#include <sys/mman.h>
#include <unistd.h>
#include <vector>

namespace rump::images {
namespace {

/// Closes a descriptor of our own.
class Descriptor {
public:
    explicit Descriptor(int fd) : fd_(fd) {}
    ~Descriptor() {
        if (fd_ >= 0) ::close(fd_);
    }
    Descriptor(const Descriptor&) = delete;
    Descriptor& operator=(const Descriptor&) = delete;
    int get() const { return fd_; }

private:
    int fd_;
};

/// Where superblocks are: libblkid looks at the first and the last megabyte or so.
constexpr uint64_t head_size = 2 << 20;
constexpr uint64_t tail_size = 1 << 20;
/// No file system that libblkid knows is smaller.
constexpr uint64_t least_size = 4096;

Result<void> copy_part(host::BlockDevice& device, int fd, uint64_t offset, uint64_t length) {
    std::vector<std::byte> bytes(static_cast<size_t>(length));
    TRY(device.read(offset, bytes));
    if (::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset)) !=
        static_cast<ssize_t>(bytes.size()))
        return Errno::nomem;
    return {};
}

/// A sparse copy in memory of a device that has no descriptor, for libblkid wants one.
Result<void> copy_ends(host::BlockDevice& device, int fd) {
    if (fd < 0 || ::ftruncate(fd, static_cast<off_t>(device.size())) != 0) return Errno::nomem;
    uint64_t head = std::min(device.size(), head_size);
    TRY(copy_part(device, fd, 0, head));
    uint64_t tail = std::min(device.size() - head, tail_size);
    return tail ? copy_part(device, fd, device.size() - tail, tail) : Result<void>{};
}

std::string value_of(blkid_probe probe, const char* name) {
    const char* value = nullptr;
    return blkid_probe_lookup_value(probe, name, &value, nullptr) == 0 ? text_or_empty(value) : "";
}

Result<Identity> probe_range(const host::DirectRange& range, uint64_t size) {
    Probe probe = TRY(make_probe(range, size));
    blkid_probe_enable_superblocks(probe.get(), 1);
    blkid_probe_set_superblocks_flags(probe.get(), BLKID_SUBLKS_TYPE | BLKID_SUBLKS_LABEL |
                                                       BLKID_SUBLKS_UUID | BLKID_SUBLKS_USAGE);
    blkid_probe_enable_partitions(probe.get(), 1);
    // Negative also when several types claim it: then the first one is named below.
    int rc = blkid_do_safeprobe(probe.get());
    if (rc < 0) {
        blkid_reset_probe(probe.get());
        if (blkid_do_probe(probe.get()) != 0) return Identity{};
    }
    return Identity{.type = value_of(probe.get(), "TYPE"),
                    .usage = value_of(probe.get(), "USAGE"),
                    .label = value_of(probe.get(), "LABEL"),
                    .uuid = value_of(probe.get(), "UUID"),
                    .partition_table = value_of(probe.get(), "PTTYPE")};
}

Result<Identity> probe_device(host::BlockDevice& device) {
    if (auto range = device.direct(0, device.size(), false))
        return probe_range(*range, device.size());
    Descriptor copy(::memfd_create("identify", MFD_CLOEXEC));
    TRY(copy_ends(device, copy.get()));
    return probe_range({.fd = copy.get(), .offset = 0}, device.size());
}

} // namespace

Result<Identity> identify(host::BlockDevice& device) {
    Identity found = TRY(probe_device(device));
    // Boot sectors of file systems end as a DOS partition table does.
    if (found.partition_table == "dos")
        if (auto all = partitions(device); all.ok() && all->empty()) found.partition_table.clear();
    return found;
}

std::string_view filesystem_name(std::string_view blkid_type) {
    struct Pair {
        std::string_view blkid, ours;
    };
    static constexpr Pair pairs[] = {
        {"ext2", "ext2fs"},   {"ext3", "ext2fs"},       {"ext4", "ext2fs"}, {"ext4dev", "ext2fs"},
        {"ufs", "ffs"},       {"vfat", "msdos"},        {"exfat", "exfat"}, {"iso9660", "cd9660"},
        {"udf", "udf"},       {"ntfs", "ntfs"},         {"hfsplus", "hfs"}, {"hfs", "hfs"},
        {"minix", "minixfs"}, {"squashfs", "squashfs"},
    };
    for (const Pair& pair : pairs)
        if (pair.blkid == blkid_type) return pair.ours;
    return {};
}

namespace {

struct Signature {
    uint64_t offset, length; // bytes; length 0: none
};

/// The first mark to go.
Result<Signature> next_signature(const host::DirectRange& range, uint64_t size,
                                 FunctionRef<bool(std::string_view)> keep) {
    Probe probe = TRY(make_probe(range, size));
    blkid_probe_enable_superblocks(probe.get(), 1);
    blkid_probe_set_superblocks_flags(probe.get(), BLKID_SUBLKS_TYPE | BLKID_SUBLKS_MAGIC);
    while (blkid_do_probe(probe.get()) == 0) {
        const char* magic = nullptr;
        size_t magic_size = 0;
        if (keep(filesystem_name(value_of(probe.get(), "TYPE"))) ||
            blkid_probe_lookup_value(probe.get(), "SBMAGIC", &magic, &magic_size) != 0)
            continue;
        return Signature{std::stoull(value_of(probe.get(), "SBMAGIC_OFFSET")), magic_size};
    }
    return Signature{};
}

} // namespace

Result<void> wipe_signatures(host::BlockDevice& device, FunctionRef<bool(std::string_view)> keep) {
    constexpr int signatures_max = 64; // some types have several copies
    const auto range = device.direct(0, device.size(), true);
    if (!range) return {};
    for (int n = 0; n < signatures_max; ++n) {
        const Signature found = TRY(next_signature(*range, device.size(), keep));
        if (found.length == 0) break;
        const std::vector<std::byte> nothing(static_cast<size_t>(found.length));
        TRY(device.write(found.offset, nothing));
    }
    return {};
}

bool is_unknown(host::BlockDevice& device) {
    const auto found = identify(device);
    return found.ok() && found->type.empty() && found->partition_table.empty();
}

std::string what_it_is(host::BlockDevice& device) {
    auto found = identify(device);
    if (!found.ok()) return "it cannot be read";
    if (found->type == "jbd") return "this is the journal of an ext3 or ext4 image, without files";
    if (!found->type.empty()) {
        // "an ext4", "an ntfs", "a vfat": by how the name is spoken.
        bool vowel = found->type.find_first_of("aeioxn") == 0;
        return fmt::format("this is {} {} {}", vowel ? "an" : "a", found->type,
                           found->usage == "filesystem" || found->usage.empty() ? "image"
                                                                                : "volume");
    }
    if (!found->partition_table.empty()) {
        auto all = partitions(device);
        std::string list = all.ok() && !all->empty() ? " (" + list_of(*all) + ")" : "";
        return fmt::format("this is a disk with a {} partition table, choose one with part={}",
                           found->partition_table, list);
    }
    if (device.size() < least_size)
        return fmt::format("no known file system; too short for one, it has {} bytes",
                           device.size());
    return "no known file system";
}

} // namespace rump::images
