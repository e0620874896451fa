// newfs and check of exFAT: what newfs and the driver make is right for exfatprogs and for the
// check; every kind of damage is found, by name, and mended where that can be.
#include "tests/unit/fat_workload.h"
#include "tests/unit/outside_fsck.h"

#include "hostshim/faulty_device.h"
#include "hostshim/memory_device.h"
#include "kernel/fs/exfatfs/geometry.h"
#include "kernel/fs/registry.h"

#include <catch2/catch.hpp>

#include <functional>
#include <set>

using namespace rump;
using namespace rump::test;
namespace disk = exfatfs::disk;

namespace {

const FileSystemType& exfat() { return *find_filesystem("exfatfs"); }

std::set<std::string> codes(host::BlockDevice& device, bool repair = false) {
    Kernel kernel;
    CheckOptions options;
    options.repair = repair;
    auto report = exfat().check(device, options, kernel.log());
    INFO((report.ok() ? "" : report.error().text));
    REQUIRE(report.ok());
    std::set<std::string> found;
    for (const Finding& finding : report->findings) {
        UNSCOPED_INFO(finding.code << ": " << finding.place << ": " << finding.message);
        found.insert(finding.code);
    }
    return found;
}

using Options = std::vector<std::pair<std::string, std::string>>;

/// What the driver leaves after `steps` random operations.
std::unique_ptr<host::BlockDevice> filled(uint64_t size, const Options& options, unsigned steps) {
    Kernel kernel;
    auto device = host::make_memory_device(size);
    OptionSet set;
    for (const auto& [name, value] : options)
        REQUIRE(set.set(exfat().newfs_options(), name, value).ok());
    REQUIRE(exfat().newfs(kernel, *device, set).ok());
    auto mount = kernel.mount(exfat(), {std::make_unique<host::FaultyDevice>(*device), {}});
    REQUIRE(mount.ok());
    Workload work(**mount, size + steps, 100000);
    work.run(steps);
    work.compare();
    // Whatever the workload left: something to lie about.
    VnodeRef root = *(*mount)->root();
    REQUIRE(vfs::mkdir(*root, "a directory", {FileType::dir, 0755, 0, {}}, Cred::superuser()).ok());
    for (const char* name : {"a file", "another file"}) {
        auto file = vfs::create(*root, name, {FileType::reg, 0644, 0, {}}, Cred::superuser());
        REQUIRE(file.ok());
        std::vector<std::byte> data(20'000, std::byte{7});
        REQUIRE(vfs::write(**file, 0, data, Cred::superuser()).ok());
    }
    root.reset();
    REQUIRE(kernel.unmount(**mount, false).ok());
    return device;
}

/// Bytes of an image, by structure.
class Damage {
public:
    explicit Damage(host::BlockDevice& device)
        : device_(device), geometry_(*exfatfs::Geometry::read(device)) {}

    const exfatfs::Geometry& geometry() const { return geometry_; }
    template<class T>
    T get(uint64_t offset) {
        T value;
        REQUIRE(device_.read(offset, std::as_writable_bytes(std::span(&value, 1))).ok());
        return value;
    }
    template<class T>
    void put(uint64_t offset, const T& value) {
        REQUIRE(device_.write(offset, std::as_bytes(std::span(&value, 1))).ok());
    }
    uint64_t fat(uint32_t cluster) const { return geometry_.fat_offset + cluster * 4ull; }
    uint64_t root() const { return geometry_.offset_of(geometry_.root_cluster); }
    uint64_t entry(uint8_t type) {
        for (uint64_t at = root(); at < root() + geometry_.cluster_size; at += disk::entry_size)
            if (get<uint8_t>(at) == type) return at;
        FAIL("no such entry");
        return 0;
    }
    /// The set of a file in the root with at least `bytes`.
    uint64_t file(uint64_t bytes, bool directory = false, unsigned skip = 0) {
        for (uint64_t at = root(); at < root() + geometry_.cluster_size; at += disk::entry_size) {
            if (get<uint8_t>(at) != disk::type_file) continue;
            auto entry = get<disk::FileEntry>(at);
            if (static_cast<bool>(entry.attributes & disk::attr_directory) != directory) continue;
            if (get<disk::StreamEntry>(at + disk::entry_size).length >= bytes && skip-- == 0)
                return at;
        }
        FAIL("no such file");
        return 0;
    }
    /// The set of a file in the root whose name begins so and fits into one entry.
    uint64_t named(std::u16string_view name) {
        for (uint64_t at = root(); at < root() + geometry_.cluster_size; at += disk::entry_size) {
            if (get<uint8_t>(at) != disk::type_file) continue;
            auto piece = get<disk::NameEntry>(at + 2 * disk::entry_size);
            const auto same = [&](char16_t unit, const le16& there) { return unit == there; };
            if (std::equal(name.begin(), name.end(), piece.units, same)) return at;
        }
        FAIL("no such file");
        return 0;
    }
    /// Changes a set's stream extension and makes the checksum right again.
    void stream(uint64_t at, const std::function<void(disk::StreamEntry&)>& edit) {
        auto entry = get<disk::StreamEntry>(at + disk::entry_size);
        edit(entry);
        put(at + disk::entry_size, entry);
        auto file = get<disk::FileEntry>(at);
        unsigned sum = 0;
        for (uint64_t i = 0; i < (file.secondaries + 1u) * disk::entry_size; i++)
            if (i != 2 && i != 3)
                sum = ((sum >> 1 | (sum & 1) << 15) + get<uint8_t>(at + i)) & 0xffff;
        file.checksum = static_cast<uint16_t>(sum);
        put(at, file);
    }

private:
    host::BlockDevice& device_;
    const exfatfs::Geometry geometry_;
};

} // namespace

TEST_CASE("the check of exFAT finds nothing in what newfs and the driver made") {
    for (const Options& options : {Options{}, Options{{"cluster", "512"}},
                                   Options{{"cluster", "8192"}, {"sector", "4096"}}}) {
        for (unsigned steps : {0u, 300u}) {
            auto device = filled(16 << 20, options, steps);
            CHECK(codes(*device) == std::set<std::string>{});
            CHECK(outside_clean(*device, "fsck.exfat"));
        }
    }
}

TEST_CASE("the check of exFAT names every kind of damage, and mends it") {
    struct Lie {
        const char* code;
        std::function<void(Damage&)> tell;
        bool mendable = true;
    };
    using disk::StreamEntry;
    const Lie lies[] = {
        {"dirty",
         [](Damage& d) {
             auto boot = d.get<disk::BootSector>(0);
             boot.flags = disk::flag_dirty;
             d.put(0, boot);
         }},
        {"boot-checksum", [](Damage& d) { d.put<uint8_t>(120, 0x55); }},
        {"boot-checksum", [](Damage& d) { d.put<uint8_t>(12 * 512 + 120, 0x55); }},
        {"boot-sector",
         [](Damage& d) { // with the checksum that goes with it
             auto boot = d.get<disk::BootSector>(0);
             boot.root_cluster = 0;
             d.put(0, boot);
             std::array<le32, 512 / sizeof(le32)> sums;
             sums.fill(le32(exfatfs::boot_checksum(d.get<std::array<std::byte, 11 * 512>>(0))));
             d.put(11 * 512, sums);
         }},
        {"lost-clusters",
         [](Damage& d) {
             auto bitmap = d.get<disk::BitmapEntry>(d.entry(disk::type_bitmap));
             uint64_t at = d.geometry().offset_of(exfatfs::Cluster(bitmap.first_cluster));
             d.put<uint8_t>(at + d.geometry().cluster_count / 8 - 1, 0x10);
         }},
        {"cluster-not-marked",
         [](Damage& d) {
             auto bitmap = d.get<disk::BitmapEntry>(d.entry(disk::type_bitmap));
             d.put<uint8_t>(d.geometry().offset_of(exfatfs::Cluster(bitmap.first_cluster)), 0);
         }},
        {"bitmap-length",
         [](Damage& d) {
             uint64_t at = d.entry(disk::type_bitmap);
             auto bitmap = d.get<disk::BitmapEntry>(at);
             bitmap.length = bitmap.length + 1;
             d.put(at, bitmap);
         },
         false},
        {"upcase-checksum",
         [](Damage& d) {
             uint64_t at = d.entry(disk::type_upcase);
             auto upcase = d.get<disk::UpcaseEntry>(at);
             upcase.checksum = upcase.checksum ^ 1;
             d.put(at, upcase);
         },
         false},
        {"bad-entry-set", // a checksum that it cannot have by chance
         [](Damage& d) {
             uint64_t at = d.file(1) + 2;
             d.put(at, static_cast<uint8_t>(d.get<uint8_t>(at) ^ 0x55));
         }},
        {"bad-entry-set", [](Damage& d) { d.put<uint8_t>(d.file(1) + 1, 1); }},
        {"orphan-entry", [](Damage& d) { d.put<uint8_t>(d.file(1), 0x05); }},
        {"name-hash",
         [](Damage& d) {
             d.stream(d.file(1), [](StreamEntry& s) { s.name_hash = s.name_hash ^ 1; });
         }},
        {"valid-length",
         [](Damage& d) {
             d.stream(d.file(1), [](StreamEntry& s) { s.valid_length = s.length + 1; });
         }},
        {"file-clusters",
         [](Damage& d) { d.stream(d.file(1), [](StreamEntry& s) { s.length = 1ull << 40; }); }},
        {"file-clusters",
         [](Damage& d) { d.stream(d.file(1), [](StreamEntry& s) { s.first_cluster = 1; }); }},
        {"file-clusters",
         [](Damage& d) {
             // A chain that goes round in a circle.
             uint64_t at = d.file(20'000);
             uint32_t first = d.get<StreamEntry>(at + disk::entry_size).first_cluster;
             d.stream(at, [](StreamEntry& s) { s.flags = disk::flag_allocation; });
             le32 next;
             next = first;
             d.put(d.fat(first), next);
         }},
        {"file-clusters",
         [](Damage& d) {
             // Another file's cluster.
             uint32_t upcase = d.get<disk::UpcaseEntry>(d.entry(disk::type_upcase)).first_cluster;
             d.stream(d.file(1), [&](StreamEntry& s) { s.first_cluster = upcase; });
         }},
        {"two-names",
         [](Damage& d) {
             uint64_t one = d.file(20'000, false, 0), two = d.file(20'000, false, 1);
             auto entry = d.get<StreamEntry>(one + disk::entry_size);
             d.stream(two, [&](StreamEntry& s) { s.first_cluster = entry.first_cluster; });
         }},
        {"name-twice",
         [](Damage& d) {
             // "a file" of 20,000 bytes and "another file" have one name entry each.
             uint64_t one = d.named(u"a file"), two = d.named(u"another file");
             auto entry = d.get<StreamEntry>(one + disk::entry_size);
             d.put(two + 2 * disk::entry_size, d.get<disk::NameEntry>(one + 2 * disk::entry_size));
             d.stream(two, [&](StreamEntry& s) {
                 s.name_length = entry.name_length;
                 s.name_hash = entry.name_hash;
             });
         }},
        {"directory-length",
         [](Damage& d) {
             d.stream(d.file(0, true), [](StreamEntry& s) { s.valid_length = s.length - 1; });
         },
         false},
        {"unknown-entry", [](Damage& d) { d.put<uint8_t>(d.file(1), 0x86); }, false},
        {"empty-with-cluster",
         [](Damage& d) {
             d.stream(d.file(1), [](StreamEntry& s) { s.length = 0, s.valid_length = 0; });
         }},
    };
    for (const Lie& lie : lies) {
        INFO(lie.code);
        auto device = filled(16 << 20, {{"cluster", "16384"}}, 60);
        Damage damage(*device);
        lie.tell(damage);
        CHECK(codes(*device).count(lie.code) == 1);
        CHECK(codes(*device, true).count(lie.code) == 1);
        if (!lie.mendable) continue;
        CHECK(codes(*device) == std::set<std::string>{});
        CHECK(outside_clean(*device, "fsck.exfat"));
    }
}
