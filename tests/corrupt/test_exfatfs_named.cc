// Each known way in which an exFAT image lies: what is reported, by the mount or by check, and that
// the rest stays readable.
#include "tests/corrupt/named.h"

#include "hostshim/memory_device.h"
#include "kernel/fs/exfatfs/geometry.h"
#include "kernel/fs/exfatfs/names.h"
#include "kernel/fs/exfatfs/vnops.h"
#include "kernel/kern/kernel.h"
#include "kernel/vfs/vfs_ops.h"

#include <catch2/catch.hpp>

#include <cstring>
#include <functional>

using namespace rump;
using namespace rump::exfatfs;

namespace {

using Boot = disk::BootSector;
using File = disk::FileEntry;
using Stream = disk::StreamEntry;

const std::string long_path = "/A long name, of more than one piece";
constexpr uint64_t image_bytes = 16 << 20;

struct Image : corrupt::NamedImage {
    std::optional<Geometry> geometry;

    const Geometry& geo() const { return *geometry; }
    File& file(const std::string& path) { return at<File>(entries.at(path)); }
    Stream& stream(const std::string& path) {
        return at<Stream>(entries.at(path) + disk::entry_size);
    }
    disk::NameEntry& name(const std::string& path) {
        return at<disk::NameEntry>(entries.at(path) + 2 * disk::entry_size);
    }
    le32& fat(uint32_t cluster) { return at<le32>(geo().fat_offset + 4ull * cluster); }
    /// An entry of the root by its type.
    template<class T>
    T& of_root(uint8_t entry_type) {
        uint64_t offset = geo().offset_of(geo().root_cluster);
        while (at<uint8_t>(offset) != entry_type) offset += disk::entry_size;
        return at<T>(offset);
    }
    /// Behind the last entry of the root.
    uint64_t root_end() {
        uint64_t end = geo().offset_of(geo().root_cluster);
        while (at<uint8_t>(end) != disk::type_end) end += disk::entry_size;
        return end;
    }
    disk::BitmapEntry& bitmap() { return of_root<disk::BitmapEntry>(disk::type_bitmap); }
    disk::UpcaseEntry& upcase() { return of_root<disk::UpcaseEntry>(disk::type_upcase); }
    /// A set's checksum as it should be.
    void mend(const std::string& path) {
        SetChecksum sum;
        for (uint32_t i = 0; i <= file(path).secondaries; i++)
            sum.add(std::span(bytes).subspan(entries.at(path) + i * disk::entry_size,
                                             disk::entry_size));
        file(path).checksum = sum.value();
    }
    void mend_boot() {
        const uint64_t sector = geo().sector_size;
        const uint64_t region = disk::boot_region_sectors * sector;
        for (uint64_t offset : {uint64_t{0}, region}) {
            const uint64_t sums = offset + disk::checksum_sector * sector;
            le32 sum;
            sum = boot_checksum(std::span(bytes).subspan(offset, sums - offset));
            for (uint64_t at_byte = sums; at_byte < offset + region; at_byte += sizeof sum)
                at<le32>(at_byte) = sum;
        }
    }
    Boot& boot() { return at<Boot>(0); }
    Boot& backup() { return at<Boot>(uint64_t{disk::boot_region_sectors} * geo().sector_size); }
};

const Image& good_image() {
    static const Image good = [] {
        Image image;
        static_cast<corrupt::NamedImage&>(image) =
            corrupt::make_named_image(type(), image_bytes, "cluster=4096,label=x",
                                      [](Vnode& node) { return node_of(node).position(); });
        auto geometry = Geometry::read(*host::make_memory_device(image.bytes));
        REQUIRE(geometry.ok());
        image.geometry = *geometry;
        return image;
    }();
    return good;
}

using Lie = std::function<void(Image&)>;

void reports(const Lie& lie, const std::string& text,
             const std::vector<std::string>& intact = {"/other", "/file"}) {
    Image image = good_image();
    lie(image);
    corrupt::mount_says(type(), image.bytes, text, intact, "exFAT");
}
/// The mount has no reason to say anything.
void reads_on(const Lie& lie, const std::vector<std::string>& intact = {"/other", "/file"}) {
    reports(lie, "", intact);
}
void check_finds(const Lie& lie, const std::string& text) {
    Image image = good_image();
    lie(image);
    corrupt::check_says(type(), image.bytes, text, "exFAT");
}

/// In both boot sectors, whose checksums are right.
template<class Member, class Value>
Lie boot(Member member, Value value) {
    return [=](Image& i) {
        i.boot().*member = value;
        i.backup().*member = value;
        i.mend_boot();
    };
}
/// In both entries of a set, whose checksum is right.
Lie set(const std::string& path, const std::function<void(File&, Stream&)>& edit) {
    return [=](Image& i) {
        edit(i.file(path), i.stream(path));
        i.mend(path);
    };
}
Lie stream(const std::string& path, const std::function<void(Stream&)>& edit) {
    return set(path, [=](File&, Stream& s) { edit(s); });
}
template<class Member, class Value>
Lie bitmap(Member member, Value value) {
    return [=](Image& i) { i.bitmap().*member = value; };
}
template<class Member, class Value>
Lie upcase(Member member, Value value) {
    return [=](Image& i) { i.upcase().*member = value; };
}
/// Another name of the same length, its hash and checksum right.
Lie named(const std::string& path, const std::u16string& name) {
    return [=](Image& i) {
        for (size_t n = 0; n < name.size(); n++)
            i.name(path).units[n] = static_cast<uint16_t>(name[n]);
        i.stream(path).name_length = static_cast<uint8_t>(name.size());
        i.stream(path).name_hash = name_hash(name, vfs::UpcaseTable());
        i.mend(path);
    };
}
/// /big has a chain in the table, cluster by cluster.
void chain_big(Image& i) {
    Stream& s = i.stream("/big");
    const uint32_t clusters = i.geo().clusters_for(s.length);
    for (uint32_t n = 0; n < clusters; n++)
        i.fat(s.first_cluster + n) = n + 1 < clusters ? s.first_cluster + n + 1 : disk::fat_end;
    s.flags = disk::flag_allocation;
    i.mend("/big");
}
/// The same, and its n-th cluster leads to `value`.
Lie big_leads(uint32_t n, uint32_t value) {
    return [=](Image& i) {
        chain_big(i);
        i.fat(i.stream("/big").first_cluster + n) = value;
    };
}
Lie same_clusters(const std::string& path, const std::string& as) {
    return [=](Image& i) {
        i.stream(path).first_cluster = i.stream(as).first_cluster.get();
        i.mend(path);
    };
}

} // namespace

TEST_CASE("the exFAT image that the lies are told about is good") {
    const corrupt::Seen seen = corrupt::look(type(), good_image().bytes, false);
    CHECK(seen.refusal + seen.log + seen.errors == "");
    CHECK(seen.readable.at("/huge") == 300'000);
    auto device = host::make_memory_device(good_image().bytes);
    CHECK(corrupt::findings(type(), *device, false) == "");
    // So is a file with a chain.
    reads_on(chain_big, {"/big", "/other"});
}

TEST_CASE("an exFAT boot sector that cannot be refuses the mount") {
    for (uint8_t shift : {uint8_t{0}, uint8_t{8}, uint8_t{13}, uint8_t{255}})
        reports(boot(&Boot::sector_shift, shift), "boot sector: bytes per sector is 2 to the");
    for (uint8_t shift : {uint8_t{17}, uint8_t{255}})
        reports(boot(&Boot::cluster_shift, shift), "boot sector: sectors per cluster is 2 to the");
    reports(boot(&Boot::cluster_shift, uint8_t{16}), "boot sector: ");
    for (uint8_t fats : {uint8_t{0}, uint8_t{3}, uint8_t{255}})
        reports(boot(&Boot::fat_count, fats), "boot sector: number of FATs is");
    for (uint64_t length : {uint64_t{1} << 32, UINT64_MAX})
        reports(boot(&Boot::volume_length, length), "are more than the device's");
    reports(boot(&Boot::volume_length, uint64_t{0}), "boot sector: ");
    reports(boot(&Boot::fat_offset, 0u), "FAT offset is 0");
    reports(boot(&Boot::fat_offset, UINT32_MAX), "cluster heap offset is");
    reports(boot(&Boot::fat_length, 0u), "FAT length is 0");
    reports(boot(&Boot::fat_length, UINT32_MAX), "cluster heap offset is");
    reports(boot(&Boot::heap_offset, 0u), "cluster heap offset is 0");
    reports(boot(&Boot::heap_offset, UINT32_MAX), "behind the volume's");
    reports(boot(&Boot::cluster_count, 0u), "cluster count is 0");
    reports(boot(&Boot::cluster_count, UINT32_MAX), "cluster count is");
    reports(boot(&Boot::cluster_count, 0x10000000u), "behind the volume's");
    for (uint32_t cluster : {0u, 1u, UINT32_MAX})
        reports(boot(&Boot::root_cluster, cluster), "root cluster is");
    reports(boot(&Boot::revision, uint16_t{0x0205}), "exFAT revision 2.5 is not known");
    reports(boot(&Boot::signature, uint16_t{0}), "the signature is missing");
    reports(boot(&Boot::flags, disk::flag_second_fat), "the active FAT is the second of one");
    reports(
        [](Image& i) {
            i.boot().zero[7] = i.backup().zero[7] = 1;
            i.mend_boot();
        },
        "bytes that must be zero are not");
    reports([](Image& i) { i.bytes.resize(8 << 20); }, "are more than the device's");
    reports(
        [](Image& i) {
            i.boot().serial = 1;
            i.backup().serial = 2;
        },
        "the checksum is wrong, and so is the backup's");
}

TEST_CASE("a good backup stands in for a spoilt exFAT boot region") {
    const std::pair<const char*, Lie> lies[] = {
        {"boot-checksum: boot region", [](Image& i) { i.boot().serial = 1; }},
        {"boot-checksum: boot region", [](Image& i) { i.boot().root_cluster = 0; }},
        {"boot-checksum: boot region", [](Image& i) { i.at<uint8_t>(11 * 512 + 4) ^= 1; }},
        {"boot-checksum: backup boot region", [](Image& i) { i.backup().serial = 1; }},
        {"backup-boot-region: backup boot region",
         [](Image& i) {
             i.backup().serial = 1;
             i.mend_boot();
         }},
    };
    for (const auto& [text, lie] : lies) {
        const bool main = std::string_view(text).ends_with(": boot region");
        reports(lie, main ? "; the backup of the boot sector is used" : "");
        check_finds(lie, text);
    }
    reports([](Image& i) { i.boot().root_cluster = 0; }, "root cluster is 0");
}

TEST_CASE("an allocation bitmap that cannot be refuses the mount") {
    reports([](Image& i) { i.bitmap().type = 0x01; }, "no allocation bitmap");
    check_finds([](Image& i) { i.bitmap().type = 0x01; }, "no-bitmap: /");
    reports(bitmap(&disk::BitmapEntry::length, uint64_t{0}), "allocation bitmap: 0 bytes");
    reports(bitmap(&disk::BitmapEntry::length, uint64_t{1}), "allocation bitmap: 1 bytes");
    check_finds(bitmap(&disk::BitmapEntry::length, UINT64_MAX), "bitmap-length: allocation");
    for (uint32_t first : {0u, 1u, 0x0fffffffu, UINT32_MAX}) {
        reports(bitmap(&disk::BitmapEntry::first_cluster, first), "allocation bitmap: its chain");
        check_finds(bitmap(&disk::BitmapEntry::first_cluster, first), "bitmap-chain: allocation");
    }
    reports(bitmap(&disk::BitmapEntry::flags, uint8_t{1}), "no allocation bitmap");
    check_finds(
        [](Image& i) { i.at<uint8_t>(i.geo().offset_of(Cluster(i.bitmap().first_cluster))) = 0; },
        "cluster-not-marked: cluster 2");
    check_finds(
        [](Image& i) {
            const uint64_t bits = i.geo().offset_of(Cluster(i.bitmap().first_cluster));
            i.at<uint8_t>(bits + (i.geo().cluster_count - 8) / 8) = 0xff;
        },
        "lost-clusters: cluster");
    // Of a file.
    check_finds(
        [](Image& i) {
            i.stream("/file").first_cluster = i.bitmap().first_cluster.get();
            i.mend("/file");
        },
        "file-clusters: /file");
}

TEST_CASE("an up-case table that cannot be is reported, and the standard one is used") {
    using Upcase = disk::UpcaseEntry;
    reports([](Image& i) { i.upcase().type = 0x02; }, "no up-case table");
    check_finds([](Image& i) { i.upcase().type = 0x02; }, "no-upcase: /");
    for (uint64_t length : {uint64_t{0}, uint64_t{5}, uint64_t{131074}, UINT64_MAX}) {
        reports(upcase(&Upcase::length, length), "are not 2 to 131072");
        check_finds(upcase(&Upcase::length, length), "upcase-length: up-case table");
    }
    for (uint32_t first : {0u, 1u, UINT32_MAX}) {
        reports(upcase(&Upcase::first_cluster, first), "up-case table: its chain");
        check_finds(upcase(&Upcase::first_cluster, first), "upcase-chain: up-case table");
    }
    reports(upcase(&Upcase::length, uint64_t{131072}), "up-case table: ");
    reports(upcase(&Upcase::checksum, 1u), "up-case table: checksum is");
    check_finds(upcase(&Upcase::checksum, 1u), "upcase-checksum: up-case table");
    // A table that runs past 65536 code units.
    const Lie runs_past = [](Image& i) {
        const uint64_t table = i.geo().offset_of(Cluster(i.upcase().first_cluster));
        for (uint64_t n = 0; n < 4; n += 2) {
            i.at<le16>(table + 2 * n) = uint16_t{0xffff};
            i.at<le16>(table + 2 * n + 2) = uint16_t{0x9000};
        }
        uint32_t sum = 0;
        for (uint64_t n = 0; n < i.upcase().length; n++)
            sum = (sum << 31 | sum >> 1) + i.at<uint8_t>(table + n);
        i.upcase().checksum = sum;
    };
    reports(runs_past, "up-case table: runs past");
    check_finds(runs_past, "upcase-table: up-case table");
    // Everything is read and found in any case; nothing is written.
    Image image = good_image();
    image.upcase().checksum = 1u;
    const corrupt::Seen seen = corrupt::look(type(), image.bytes, false);
    CHECK(seen.refusal == "");
    CHECK(seen.readable == corrupt::look(type(), good_image().bytes, false).readable);
    CHECK(seen.log.find("the standard table is used") != std::string::npos);
    host::Log log(host::null_sink());
    Kernel kernel({nullptr, nullptr, &log, false});
    auto mounted = kernel.mount(type(), {host::make_memory_device(image.bytes), {}});
    REQUIRE(mounted.ok());
    CHECK((*mounted)->read_only());
    CHECK(vfs::lookup(**(*mounted)->root(), "OTHER", Cred::superuser()).ok());
    CHECK(kernel.unmount(**mounted, false).ok());
}

TEST_CASE("entries of exFAT that need not be understood stay, and so do their clusters") {
    // A vendor's primary entry with one secondary, each with a cluster of its own.
    const Lie vendor = [](Image& i) {
        uint64_t at = i.root_end();
        auto& primary = i.at<disk::PrimaryEntry>(at);
        auto& secondary = i.at<Stream>(at + disk::entry_size);
        primary.type = 0xa9;
        primary.secondaries = 1;
        primary.flags = disk::flag_allocation | disk::flag_no_chain;
        primary.length = secondary.length = 100;
        primary.first_cluster = i.geo().cluster_count + 1;
        secondary.type = 0xe9;
        secondary.flags = disk::flag_allocation | disk::flag_no_chain;
        secondary.first_cluster = i.geo().cluster_count;
        const uint64_t bits = i.geo().offset_of(Cluster(i.bitmap().first_cluster));
        for (uint32_t n : {i.geo().cluster_count - 1, i.geo().cluster_count - 2})
            i.at<uint8_t>(bits + n / 8) |= static_cast<uint8_t>(1u << n % 8);
    };
    reads_on(vendor, {"/other", "/file", "/dir/inner"});
    Image image = good_image();
    vendor(image);
    auto device = host::make_memory_device(image.bytes);
    CHECK(corrupt::findings(type(), *device, true) == "");
    std::vector<std::byte> after(image.bytes.size());
    REQUIRE(device->read(0, after).ok());
    CHECK(after == image.bytes);
}

TEST_CASE("entries of exFAT that must be understood and are not are reported") {
    reports([](Image& i) { i.file("/file").type = 0x86; }, "must be understood", {});
    check_finds([](Image& i) { i.file("/file").type = 0x86; }, "unknown-entry: /, entry");
    reports([](Image& i) { i.file("/dir/inner").type = 0x86; }, "must be understood", {"/other"});
    check_finds([](Image& i) { i.file("/dir/inner").type = disk::type_label; },
                "misplaced-entry: /dir/, entry");
    check_finds([](Image& i) { i.of_root<disk::LabelEntry>(disk::type_label).length = 12; },
                "label-length: /, entry");
    check_finds([](Image& i) { i.file("/file").type = 0x05; }, "orphan-entry: /, entry");
    reads_on([](Image& i) { i.file("/file").type = 0x05; }, {"/other", "/big"});
}

TEST_CASE("sets of exFAT that are not whole are reported and left out") {
    const std::vector<std::string> intact{"/other", "/big", "/dir/inner"};
    const std::pair<const char*, Lie> lies[] = {
        {"a set of less than three entries", [](Image& i) { i.file("/file").secondaries = 0; }},
        {"a set of less than three entries", [](Image& i) { i.file("/file").secondaries = 1; }},
        {"a set with too few secondary entries", [](Image& i) { i.file("/file").secondaries = 3; }},
        {"a set with too few", [](Image& i) { i.file("/file").secondaries = 255; }},
        {"a set without a stream extension",
         [](Image& i) { i.stream("/file").type = disk::type_name; }},
        {"a set with too few name entries",
         [](Image& i) { i.name("/file").type = disk::type_stream; }},
        {"a name of no length", stream("/file", [](Stream& s) { s.name_length = 0; })},
        {"a set with too few name entries",
         stream("/file", [](Stream& s) { s.name_length = 255; })},
        {"the checksum of a set is wrong", [](Image& i) { i.file("/file").checksum = 1; }},
        {"the checksum of a set is wrong", [](Image& i) { i.name("/file").units[9] = 1; }},
    };
    for (const auto& [text, lie] : lies) {
        reports(lie, text, intact);
        check_finds(lie, "bad-entry-set: /, entry");
    }
    const Lie hash = stream("/file", [](Stream& s) { s.name_hash = s.name_hash + 1; });
    reports(hash, "the hash of a name is wrong", intact);
    check_finds(hash, "name-hash: /file");
    const Lie valid = stream("/file", [](Stream& s) { s.valid_length = s.length + 1; });
    reports(valid, "a valid length above the length", intact);
    check_finds(valid, "valid-length: /file");
}

TEST_CASE("names that no exFAT name can be are reported") {
    const std::vector<std::string> intact{"/other", "/big"};
    reports(named("/file", u"a/b"), "a name that no file can have", intact);
    check_finds(named("/file", u"a/b"), "bad-name: /a/b");
    reports(named("/file", u"."), "a name that no file can have", intact);
    reports(named("/file", u".."), "a name that no file can have", intact);
    reports(named("/file", std::u16string(u"a\0b", 3)), "a name that no file can have", intact);
    check_finds(named("/file", u"a*b"), "bad-name: /a*b");
    check_finds(named("/file", u"BIG"), "name-twice: /BIG");
    reads_on(named("/file", u"\xd800"), {"/other", "/\xed\xa0\x80"});
}

TEST_CASE("clusters of exFAT files that cannot be are reported") {
    const std::vector<std::string> intact{"/other", "/file", "/huge"};
    for (uint32_t first : {1u, 0x0fffffffu, UINT32_MAX}) {
        const Lie lie = stream("/big", [=](Stream& s) { s.first_cluster = first; });
        reports(lie, "the first cluster is no cluster", intact);
        check_finds(lie, "file-clusters: /big");
    }
    reports(stream("/big", [](Stream& s) { s.first_cluster = 0; }), "shorter than the file's size",
            intact);
    check_finds(stream("/big", [](Stream& s) { s.length = 0, s.valid_length = 0; }),
                "empty-with-cluster: /big");
    for (uint64_t length : {uint64_t{1} << 40, UINT64_MAX, uint64_t{1} << 63}) {
        const Lie lie = stream("/big", [=](Stream& s) { s.length = length; });
        reports(lie, "outside the cluster heap", intact);
        check_finds(lie, "file-clusters: /big");
    }
    // Without a chain, from the last cluster on.
    reports(
        [](Image& i) {
            i.stream("/big").first_cluster = i.geo().cluster_count + 1;
            i.mend("/big");
        },
        "outside the cluster heap", intact);
    // A chain is said to be there, and is not.
    reports(stream("/big", [](Stream& s) { s.flags = disk::flag_allocation; }), "cluster 1 of the",
            intact);
    reports(big_leads(2, 0), "cluster 3 of the chain", intact);
    reports(big_leads(2, disk::fat_bad), "leads to a bad cluster", intact);
    reports(big_leads(2, 0xfffffff8), "leads to a number that is no cluster", intact);
    reports(big_leads(2, disk::fat_end), "the chain is shorter than the file's size", intact);
    reports(
        [](Image& i) {
            chain_big(i);
            const uint32_t first = i.stream("/big").first_cluster;
            i.fat(first + 2) = first;
        },
        "goes round in a circle", intact);
    // A run that goes through another file's.
    check_finds(
        [](Image& i) {
            i.stream("/file").length = 40'000;
            i.stream("/file").valid_length = 40'000;
            i.mend("/file");
        },
        "are shared with another file");
    check_finds(
        [](Image& i) {
            chain_big(i);
            i.stream("/big").length = i.stream("/big").valid_length = 5000;
            i.mend("/big");
        },
        "chain-too-long: /big");
}

TEST_CASE("exFAT directories that cannot be are reported, and end") {
    const std::vector<std::string> intact{"/other", "/file", "/huge"};
    reports(stream("/dir", [](Stream& s) { s.first_cluster = 0; }), "directory inode", intact);
    reports(stream("/dir", [](Stream& s) { s.first_cluster = UINT32_MAX; }),
            "the first cluster is no cluster", intact);
    check_finds(stream("/dir", [](Stream& s) { s.length = 100, s.valid_length = 100; }),
                "directory-length: /dir");
    check_finds(stream("/dir", [](Stream& s) { s.valid_length = 1; }), "directory-length: /dir");
    check_finds(stream("/dir", [](Stream& s) { s.length = s.valid_length = uint64_t{1} << 40; }),
                "directory-length: /dir");
    // Twice, an ancestor, itself, the root.
    reports(same_clusters("/many", "/dir"), "the cluster belongs to another directory", intact);
    check_finds(same_clusters("/many", "/dir"), "are shared with another file");
    reports(same_clusters("/dir/sub", "/dir"), "the cluster belongs to another directory", intact);
    reports(
        [](Image& i) {
            i.stream("/dir").first_cluster = i.geo().root_cluster.value();
            i.mend("/dir");
        },
        "the cluster belongs to another directory", intact);
    // What was written to a file, as entries.
    reports(set("/file", [](File& f, Stream&) { f.attributes = disk::attr_directory; }), "",
            {"/other"});
    // The root's chain.
    reports([](Image& i) { i.fat(i.geo().root_cluster.value()) = 0u; },
            "root directory: its chain leads to 0");
    check_finds([](Image& i) { i.fat(i.geo().root_cluster.value()) = 0u; }, "directory-chain: /");
}

TEST_CASE("impossible dates of exFAT are shown as some date") {
    for (uint16_t date : {uint16_t{0}, uint16_t{0x01ff}, uint16_t{0xffff}, uint16_t{0x0021}})
        reads_on(set("/file",
                     [=](File& f, Stream&) {
                         f.created_date = f.written_date = f.accessed_date = date;
                         f.created_time = f.written_time = f.accessed_time = 0xffff;
                         f.created_centiseconds = f.written_centiseconds = 255;
                         f.created_zone = f.written_zone = f.accessed_zone = 0xc0;
                     }),
                 {"/other", "/file"});
}

TEST_CASE("an exFAT volume's marks of use and of device errors are reported, cleared by check") {
    const Lie dirty = boot(&Boot::flags, disk::flag_dirty);
    const Lie failed = boot(&Boot::flags, disk::flag_media_failure);
    reports(dirty, "was not unmounted cleanly");
    check_finds(dirty, "dirty: boot sector");
    reports(failed, "met errors of the device");
    check_finds(failed, "device-errors: boot sector");
}
