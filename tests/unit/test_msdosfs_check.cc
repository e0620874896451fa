// newfs and check of FAT: what newfs makes is right for dosfstools and for the check; every kind of
// damage is found, by name, and mended.
#include "tests/unit/fat_workload.h"
#include "tests/unit/outside_fsck.h"
#include "tests/unit/temp_dir.h"

#include "hostshim/byte_order.h"
#include "hostshim/file_device.h"
#include "hostshim/memory_device.h"
#include "kernel/fs/msdosfs/geometry.h"
#include "kernel/fs/registry.h"

#include <catch2/catch.hpp>

#include <cstring>
#include <fstream>
#include <functional>
#include <set>

using namespace rump;
using namespace rump::test;

namespace {

const FileSystemType& fat() { return *find_filesystem("msdosfs"); }

using Options = std::vector<std::pair<std::string, std::string>>;

OptionSet newfs_options(const Options& options) {
    OptionSet set;
    for (const auto& [name, value] : options)
        REQUIRE(set.set(fat().newfs_options(), name, value).ok());
    return set;
}

std::set<std::string> codes(host::BlockDevice& device, bool repair = false) {
    Kernel kernel;
    CheckOptions options;
    options.repair = repair;
    auto report = fat().check(device, options, kernel.log());
    INFO((report.ok() ? "" : report.error().text));
    REQUIRE(report.ok());
    std::set<std::string> found;
    for (const Finding& finding : report->findings) {
        UNSCOPED_INFO(finding.code << ": " << finding.place << ": " << finding.message);
        found.insert(finding.code);
    }
    return found;
}

/// A device that stays ours while a mount has it.
std::unique_ptr<host::BlockDevice> filled(Kernel& kernel, uint64_t size, const Options& options,
                                          unsigned steps) {
    auto device = host::make_memory_device(size);
    REQUIRE(fat().newfs(kernel, *device, newfs_options(options)).ok());
    TempDir dir;
    auto bytes = contents(*device);
    std::ofstream(dir / "image", std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()), static_cast<long>(bytes.size()));
    auto file = host::open_file_device(dir / "image", {.access = host::Access::read_write});
    REQUIRE(file.ok());
    auto mount = kernel.mount(fat(), {file.release_value(), {}});
    REQUIRE(mount.ok());
    Workload work(**mount, size + steps, 100000);
    work.run(steps);
    work.compare();
    REQUIRE(kernel.unmount(**mount, false).ok());
    auto again = host::open_file_device(dir / "image", {});
    REQUIRE(again.ok());
    return host::make_memory_device(contents(**again));
}

} // namespace

TEST_CASE("newfs of FAT makes what dosfstools and the check call clean") {
    struct Case {
        uint64_t size;
        Options options;
        msdosfs::FatType expected;
    };
    using msdosfs::FatType;
    constexpr uint64_t kib = 1024, mib = 1024 * kib;
    const Case cases[] = {
        {160 * kib, {}, FatType::fat12},
        {360 * kib, {{"label", "floppy"}}, FatType::fat12},
        {1440 * kib, {}, FatType::fat12},
        {2880 * kib, {}, FatType::fat12},
        {3 * mib, {}, FatType::fat12},
        {8 * mib, {{"fat", "12"}}, FatType::fat12},
        {8 * mib, {}, FatType::fat16},
        {20 * mib, {{"label", "My Disk"}, {"fats", "1"}}, FatType::fat16},
        {64 * mib, {{"sector", "4096"}, {"cluster", "4096"}, {"fat", "16"}}, FatType::fat16},
        {48 * mib, {{"fat", "32"}, {"cluster", "512"}}, FatType::fat32},
        {40 * mib, {{"fat", "32"}, {"sector", "2048"}, {"reserved", "9"}}, FatType::fat32},
    };
    for (const Case& one : cases) {
        INFO(one.size);
        Kernel kernel;
        auto device = host::make_memory_device(one.size);
        auto made = fat().newfs(kernel, *device, newfs_options(one.options));
        INFO((made.ok() ? "" : made.error().text));
        REQUIRE(made.ok());
        auto geometry = msdosfs::Geometry::read(*device);
        REQUIRE(geometry.ok());
        CHECK(geometry->type == one.expected);
        CHECK(codes(*device) == std::set<std::string>{});
        CHECK(outside_clean(*device, "fsck.fat"));
        auto probed = fat().probe(*device);
        REQUIRE(probed.ok());
        REQUIRE(probed->has_value());
        if (!one.options.empty() && one.options[0].first == "label")
            CHECK((*probed)->label == (one.options[0].second == "floppy" ? "FLOPPY" : "MY DISK"));
    }
}

TEST_CASE("newfs of FAT refuses what cannot be") {
    Kernel kernel;
    auto refused = [&](uint64_t size, const Options& options) {
        auto device = host::make_memory_device(size);
        auto made = fat().newfs(kernel, *device, newfs_options(options));
        return !made.ok() && made.error().code == Errno::inval && !made.error().text.empty();
    };
    CHECK(refused(1 << 20, {{"fat", "13"}}));
    CHECK(refused(1 << 20, {{"fat", "16"}}));
    CHECK(refused(1 << 20, {{"cluster", "768"}}));
    CHECK(refused(1 << 20, {{"sector", "256"}}));
    CHECK(refused(1 << 20, {{"label", "much too long a label"}}));
    CHECK(refused(1 << 20, {{"label", "a*b"}}));
    CHECK(refused(1 << 20, {{"fats", "0"}}));
    CHECK(refused(2048, {}));
    CHECK(refused(64 << 20, {{"fat", "12"}, {"cluster", "512"}}));
}

TEST_CASE("the check finds nothing in what the driver wrote") {
    for (const Options& options :
         {Options{{"fat", "12"}}, Options{{"fat", "16"}, {"cluster", "1024"}},
          Options{{"fat", "32"}, {"cluster", "512"}}, Options{{"fat", "16"}, {"fats", "3"}}}) {
        Kernel kernel;
        auto device = filled(kernel, 10 << 20, options, 300);
        CHECK(codes(*device) == std::set<std::string>{});
    }
}

namespace {

/// Bytes of an image, by structure.
class Damage {
public:
    explicit Damage(host::BlockDevice& device)
        : device_(device), geometry_(*msdosfs::Geometry::read(device)) {}

    const msdosfs::Geometry& geometry() const { return geometry_; }
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
    void set_fat(uint32_t cluster, uint16_t value, bool all = true) {
        for (uint32_t copy = 0; copy < (all ? geometry_.fat_count : 1); copy++)
            put<le16>(geometry_.fat_offset + copy * geometry_.fat_size + cluster * 2ull, value);
    }
    uint16_t fat(uint32_t cluster) { return get<le16>(geometry_.fat_offset + cluster * 2ull); }
    /// The n-th entry of the root that is a file (or directory) with a chain of at least
    /// `clusters`.
    uint64_t entry(bool directory, uint32_t clusters) {
        for (uint32_t slot = 0; slot < geometry_.root_entries; slot++) {
            uint64_t offset = geometry_.root_offset + slot * 32ull;
            auto e = get<msdosfs::disk::DirEntry>(offset);
            if (e.name[0] == 0) break;
            if (e.name[0] == 0xe5 || e.attributes == 0x0f) continue;
            if (static_cast<bool>(e.attributes & 0x10) != directory) continue;
            uint32_t length = 0;
            for (uint32_t c = e.first_cluster_low; c >= 2 && c < 0xfff0; c = fat(c)) length++;
            if (length >= clusters) return offset;
        }
        FAIL("no such entry");
        return 0;
    }
    /// A second file, an empty one, of the name of the first file in the root with or without a
    /// long name.
    void make_twin(bool long_name) {
        uint64_t end = geometry_.root_offset;
        while (get<uint8_t>(end) != 0) end += 32;
        uint64_t first = geometry_.root_offset;
        for (uint64_t at = first; at < end; at += 32) {
            auto e = get<msdosfs::disk::DirEntry>(at);
            if (e.attributes == 0x0f && e.name[0] != 0xe5) continue;
            bool chosen = e.name[0] != 0xe5 && !(e.attributes & 0x18) && (first < at) == long_name;
            if (chosen) {
                for (; first < at; first += 32, end += 32)
                    put(end, get<msdosfs::disk::DirEntry>(first));
                e.first_cluster_low = 0;
                e.size = 0;
                return put(end, e);
            }
            first = at + 32;
        }
        FAIL("no such name");
    }

private:
    host::BlockDevice& device_;
    const msdosfs::Geometry geometry_;
};

} // namespace

TEST_CASE("the check names every kind of damage, and mends it") {
    using msdosfs::disk::DirEntry;
    struct Lie {
        const char* code;
        std::function<void(Damage&)> tell;
        bool mendable = true;
    };
    auto file = [](Damage& d, uint32_t clusters, auto edit) {
        uint64_t at = d.entry(false, clusters);
        auto entry = d.get<DirEntry>(at);
        edit(entry);
        d.put(at, entry);
    };
    auto first = [](Damage& d, uint32_t clusters) {
        return uint32_t{d.get<DirEntry>(d.entry(false, clusters)).first_cluster_low};
    };
    const Lie lies[] = {
        {"dirty", [](Damage& d) { d.set_fat(1, 0x7fff); }},
        {"fat-media", [](Damage& d) { d.set_fat(0, 0xff00); }},
        {"fat-copies-differ",
         [](Damage& d) { d.set_fat(d.geometry().cluster_count + 1, 5, false); }},
        {"lost-clusters", [](Damage& d) { d.set_fat(d.geometry().cluster_count + 1, 0xffff); }},
        {"chain-too-long", [&](Damage& d) { file(d, 2, [](DirEntry& e) { e.size = 1; }); }},
        {"chain-too-short",
         [&](Damage& d) { file(d, 1, [](DirEntry& e) { e.size = 0x7fffffff; }); }},
        {"file-chain", [&](Damage& d) { d.set_fat(first(d, 2), 0); }},
        {"file-chain", [&](Damage& d) { d.set_fat(first(d, 2), 0xfff7); }},
        {"file-chain", [&](Damage& d) { d.set_fat(first(d, 2), 1); }},
        {"file-chain",
         [&](Damage& d) { d.set_fat(first(d, 3), static_cast<uint16_t>(first(d, 3))); }},
        {"file-chain",
         [&](Damage& d) { file(d, 1, [](DirEntry& e) { e.first_cluster_low = 0xffe0; }); }},
        {"file-chain",
         [&](Damage& d) {
             file(d, 1, [](DirEntry& e) { e.size = 0, e.first_cluster_low = 0xffe0; });
         }},
        {"directory-size",
         [](Damage& d) {
             uint64_t at = d.entry(true, 1);
             auto e = d.get<DirEntry>(at);
             e.size = 512;
             d.put(at, e);
         }},
        {"label-with-clusters",
         [&](Damage& d) { file(d, 1, [](DirEntry& e) { e.attributes = 8; }); }},
        {"directory-cluster",
         [](Damage& d) {
             uint64_t at = d.entry(true, 1);
             auto e = d.get<DirEntry>(at);
             e.first_cluster_low = 0;
             d.put(at, e);
         }},
        {"wrong-dot-entry",
         [](Damage& d) {
             auto e = d.get<DirEntry>(d.entry(true, 1));
             uint64_t at = d.geometry().offset_of(msdosfs::Cluster(e.first_cluster_low));
             auto dot = d.get<DirEntry>(at);
             dot.first_cluster_low = 0x1234;
             d.put(at, dot);
         }},
        {"orphan-long-name",
         [](Damage& d) {
             for (uint32_t slot = 1; slot < d.geometry().root_entries; slot++) {
                 uint64_t at = d.geometry().root_offset + slot * 32ull;
                 auto before = d.get<DirEntry>(at - 32), e = d.get<DirEntry>(at);
                 if (before.attributes != 0x0f || before.name[0] == 0xe5 || e.attributes == 0x0f)
                     continue;
                 e.name[0] = e.name[0] == 'Q' ? 'Z' : 'Q';
                 d.put(at, e);
                 return;
             }
             FAIL("no long name");
         }},
        {"two-names",
         [](Damage& d) {
             auto entry = d.get<DirEntry>(d.entry(false, 1));
             std::memcpy(entry.name, "TWO     ", 8);
             uint64_t at = d.geometry().root_offset;
             while (d.get<uint8_t>(at) != 0) at += sizeof entry;
             d.put(at, entry);
         }},
        {"name-twice", [](Damage& d) { d.make_twin(false); }},
        {"name-twice", [](Damage& d) { d.make_twin(true); }},
        {"bad-short-name", [&](Damage& d) { file(d, 1, [](DirEntry& e) { e.name[1] = '*'; }); },
         false},
    };
    Kernel kernel;
    auto good =
        filled(kernel, 10 << 20, {{"fat", "16"}, {"cluster", "1024"}, {"label", "good"}}, 400);
    auto bytes = contents(*good);
    for (const Lie& lie : lies) {
        INFO(lie.code);
        auto device = host::make_memory_device(bytes);
        Damage damage(*device);
        lie.tell(damage);
        auto found = codes(*device);
        CHECK(found.count(lie.code) == 1);
        (void)codes(*device, true);
        if (!lie.mendable) continue;
        CHECK(codes(*device) == std::set<std::string>{});
        CHECK(outside_clean(*device, "fsck.fat"));
    }
}
