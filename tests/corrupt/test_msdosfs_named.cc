// Each known way in which a FAT image lies, on FAT12, FAT16 and FAT32: what is reported, by the
// mount or by check, and that the rest stays readable.
#include "tests/corrupt/named.h"

#include "hostshim/memory_device.h"
#include "kernel/fs/msdosfs/geometry.h"
#include "kernel/fs/msdosfs/names.h"
#include "kernel/fs/msdosfs/vnops.h"

#include <catch2/catch.hpp>

#include <cstring>
#include <functional>

using namespace rump;
using namespace rump::msdosfs;

namespace {

using Boot = disk::BootSector;
using Short = disk::DirEntry;
using Piece = disk::LongEntry;

const std::string long_path = "/A long name, of more than one piece";

struct Format {
    const char* newfs;
    uint64_t size;
};
constexpr Format fat12{"fat=12,cluster=2048", 6 << 20};
constexpr Format fat16{"fat=16,cluster=1024", 12 << 20};
constexpr Format fat32{"fat=32,cluster=4096", 20 << 20};
constexpr Format formats[] = {fat12, fat16, fat32};

struct Image : corrupt::NamedImage {
    std::optional<Geometry> geometry;

    const Geometry& geo() const { return *geometry; }
    Boot& boot() { return at<Boot>(0); }
    disk::BootTail32& tail32() { return at<disk::BootTail32>(sizeof(Boot)); }
    disk::FsInfo& fsinfo() { return at<disk::FsInfo>(geo().fsinfo_offset.value()); }
    Short& entry(const std::string& path) { return at<Short>(entries.at(path)); }
    /// The n-th piece of its long name, 1 being the one before the entry.
    Piece& piece(const std::string& path, uint32_t n) {
        return at<Piece>(entries.at(path) - n * disk::dirent_size);
    }
    uint32_t first(const std::string& path) {
        Short& e = entry(path);
        return uint32_t{e.first_cluster_high} << 16 | e.first_cluster_low;
    }
    void first(const std::string& path, uint32_t cluster) {
        entry(path).first_cluster_low = static_cast<uint16_t>(cluster);
        entry(path).first_cluster_high = static_cast<uint16_t>(cluster >> 16);
    }
    /// Entry of the table; the upper bits of `value` count as far as the format has them.
    void fat(uint32_t cluster, uint32_t value, bool all = true) {
        for (uint32_t copy = 0; copy < (all ? geo().fat_count : 1); copy++) {
            const uint64_t table = geo().fat_offset + copy * geo().fat_size;
            if (geo().is_fat32()) {
                at<le32>(table + 4ull * cluster) = value & 0x0fffffff;
            } else if (geo().type == FatType::fat16) {
                at<le16>(table + 2ull * cluster) = static_cast<uint16_t>(value);
            } else {
                le16& pair = at<le16>(table + cluster + cluster / 2);
                const uint32_t odd = cluster % 2;
                pair = static_cast<uint16_t>((pair & (odd ? 0x000f : 0xf000)) |
                                             (value & 0xfff) << (odd ? 4 : 0));
            }
        }
    }
    uint32_t fat(uint32_t cluster) {
        if (geo().is_fat32()) return at<le32>(geo().fat_offset + 4ull * cluster);
        if (geo().type == FatType::fat16) return at<le16>(geo().fat_offset + 2ull * cluster);
        return at<le16>(geo().fat_offset + cluster + cluster / 2) >> (cluster % 2 ? 4 : 0) & 0xfff;
    }
    /// The n-th cluster of a file, the first being 0.
    uint32_t cluster(const std::string& path, unsigned n) {
        uint32_t at = first(path);
        while (n-- > 0) at = fat(at);
        return at;
    }
    uint64_t root() const {
        return geo().is_fat32() ? geo().offset_of(geo().root_cluster) : geo().root_offset;
    }
    /// Behind the last entry of the root.
    uint64_t root_end() {
        uint64_t end = root();
        while (at<uint8_t>(end) != 0) end += disk::dirent_size;
        return end;
    }
};

constexpr uint32_t end_mark = 0x0fffffff;

const Image& good_image(const Format& f) {
    static std::map<std::string, Image> made;
    if (auto known = made.find(f.newfs); known != made.end()) return known->second;
    Image image;
    static_cast<corrupt::NamedImage&>(image) = corrupt::make_named_image(
        type(), f.size, f.newfs, [](Vnode& node) { return node_of(node).position(); });
    auto geometry = Geometry::read(*host::make_memory_device(image.bytes));
    REQUIRE(geometry.ok());
    image.geometry = *geometry;
    return made.emplace(f.newfs, std::move(image)).first->second;
}

using Lie = std::function<void(Image&)>;

void reports_in(const Format& f, const Lie& lie, const std::string& text,
                const std::vector<std::string>& intact) {
    Image image = good_image(f);
    lie(image);
    corrupt::mount_says(type(), image.bytes, text, intact, f.newfs);
}

void reports(const Lie& lie, const std::string& text,
             const std::vector<std::string>& intact = {"/other", "/file"}) {
    for (const Format& f : formats) reports_in(f, lie, text, intact);
}
/// The mount has no reason to say anything.
void reads_on(const Lie& lie, const std::vector<std::string>& intact = {"/other", "/file"}) {
    reports(lie, "", intact);
}

void check_finds_in(const Format& f, const Lie& lie, const std::string& text) {
    Image image = good_image(f);
    lie(image);
    corrupt::check_says(type(), image.bytes, text, f.newfs);
}
void check_finds(const Lie& lie, const std::string& text) {
    for (const Format& f : formats) check_finds_in(f, lie, text);
}

template<class Member, class Value>
Lie boot(Member member, Value value) {
    return [=](Image& i) { i.boot().*member = value; };
}
template<class Member, class Value>
Lie tail32(Member member, Value value) {
    return [=](Image& i) { i.tail32().*member = value; };
}
/// The n-th cluster of /big leads to `value`.
Lie big_leads(unsigned n, uint32_t value) {
    return [=](Image& i) { i.fat(i.cluster("/big", n), value); };
}
/// A piece of the long name is changed.
Lie piece(uint32_t n, const std::function<void(Piece&)>& edit) {
    return [=](Image& i) { edit(i.piece(long_path, n)); };
}
/// The long name begins with these code units, and its checksum is right.
Lie named(std::u16string units) {
    return [=](Image& i) {
        for (size_t n = 0; n < units.size() && n < 5; n++)
            i.piece(long_path, 1).name1[n] = static_cast<uint16_t>(units[n]);
    };
}
Lie begins_at(const std::string& path, uint32_t cluster) {
    return [=](Image& i) { i.first(path, cluster); };
}
/// A directory begins where another one does.
Lie same_clusters(const std::string& path, const std::string& as) {
    return [=](Image& i) { i.first(path, i.first(as)); };
}

/// Pieces of a long name of `units` code units, and their entry, at the end of the root.
void append_long(Image& i, unsigned pieces, char16_t unit) {
    Short entry{};
    std::memcpy(entry.name, "LONGEST TXT", sizeof entry.name);
    ShortName name;
    std::copy_n(entry.name, name.size(), name.begin());
    const std::u16string units(size_t{pieces} * disk::long_units_per_entry, unit);
    uint64_t at = i.root_end();
    for (uint32_t order = pieces; order > 0; order--, at += disk::dirent_size)
        encode_long_entry(units, order, short_name_checksum(name), i.at<Piece>(at));
    i.at<Short>(at) = entry;
}

} // namespace

TEST_CASE("the FAT images that the lies are told about are good") {
    for (const Format& f : formats) {
        const corrupt::Seen seen = corrupt::look(type(), good_image(f).bytes, false);
        CHECK(seen.refusal + seen.log + seen.errors == "");
        CHECK(seen.readable.at("/huge") == 300'000);
        CHECK(seen.readable.count(long_path) == 1);
        auto device = host::make_memory_device(good_image(f).bytes);
        CHECK(corrupt::findings(type(), *device, false) == "");
    }
}

TEST_CASE("sizes of a FAT boot sector that cannot be are not believed") {
    for (unsigned size : {0u, 1u, 256u, 513u, 768u, 65535u})
        reports(boot(&Boot::bytes_per_sector, static_cast<uint16_t>(size)),
                "boot sector: bytes per sector is");
    for (unsigned per_cluster : {0u, 3u, 255u})
        reports(boot(&Boot::sectors_per_cluster, static_cast<uint8_t>(per_cluster)),
                "boot sector: sectors per cluster is");
    reports(boot(&Boot::reserved_sectors, uint16_t{0}), "boot sector: reserved sectors is 0");
    reports(boot(&Boot::reserved_sectors, uint16_t{65535}), "boot sector: ");
    reports(boot(&Boot::fat_count, uint8_t{0}), "boot sector: number of FATs is 0");
    reports(boot(&Boot::fat_count, uint8_t{200}), "boot sector: number of FATs is 200");
    reports(boot(&Boot::media, uint8_t{0x12}), "boot sector: media byte is 0x12");
    reports(
        [](Image& i) {
            i.boot().sectors_16 = 0;
            i.boot().sectors_32 = 0;
        },
        "boot sector: number of sectors is 0");
    reports(
        [](Image& i) {
            i.boot().sectors_16 = 0;
            i.boot().sectors_32 = UINT32_MAX;
        },
        "are more than the device's");
    // A product that does not fit into 32 bits.
    reports(
        [](Image& i) {
            i.boot().bytes_per_sector = 32768;
            i.boot().sectors_16 = 0;
            i.boot().sectors_32 = 0x20001;
        },
        "boot sector: ");
    reports([](Image& i) { i.bytes.resize(2 << 20); }, "are more than the device's");
    reports([](Image& i) { i.boot().sectors_16 = 2, i.boot().sectors_32 = 0; },
            "leave no room behind");
}

TEST_CASE("a FAT that does not fit its volume is not believed") {
    reports_in(fat12, boot(&Boot::fat_sectors_16, uint16_t{1}), "sectors per FAT is 1", {});
    reports_in(fat16, boot(&Boot::fat_sectors_16, uint16_t{1}), "sectors per FAT is 1", {});
    reports_in(fat32, tail32(&disk::BootTail32::fat_sectors, 1u), "sectors per FAT is 1", {});
    reports_in(fat32, tail32(&disk::BootTail32::fat_sectors, 0u), "sectors per FAT is 0", {});
    reports_in(fat32, tail32(&disk::BootTail32::fat_sectors, UINT32_MAX), "leave no room", {});
    reports_in(fat16, boot(&Boot::fat_sectors_16, uint16_t{0}), "root directory entries is", {});
    reports_in(fat16, boot(&Boot::root_entries, uint16_t{0}), "root directory entries is 0", {});
    reports_in(fat32, boot(&Boot::root_entries, uint16_t{512}), "root directory entries is 512",
               {});
    for (uint32_t cluster : {0u, 1u, 0x0fffffffu, UINT32_MAX})
        reports_in(fat32, tail32(&disk::BootTail32::root_cluster, cluster), "root cluster is", {});
    reports_in(fat32, tail32(&disk::BootTail32::version, uint16_t{0x0102}), "FAT32 version 1.2",
               {});
    reports_in(fat32, tail32(&disk::BootTail32::flags, uint16_t{0x85}), "active FAT is 5", {});
}

TEST_CASE("what FAT's boot sector and FSInfo only claim is not believed") {
    // The number of clusters says which FAT it is, not the name.
    reads_on([](Image& i) {
        auto& tail = i.at<disk::BootTail>(*i.geo().tail_offset);
        std::memcpy(tail.type_name, i.geo().is_fat32() ? "FAT16   " : "FAT32   ", 8);
    });
    for (uint32_t count : {0u, 1u, 0x7fffffffu, 0xfffffffeu}) {
        const Lie lie = [=](Image& i) { i.fsinfo().free_clusters = count; };
        reports_in(fat32, lie, "", {"/other"});
        check_finds_in(fat32, lie, "fsinfo-free: FSInfo");
    }
    for (uint32_t next : {1u, 0x0ffffff0u}) {
        const Lie lie = [=](Image& i) { i.fsinfo().next_free = next; };
        reports_in(fat32, lie, "", {"/other"});
        check_finds_in(fat32, lie, "fsinfo-next: FSInfo");
    }
    check_finds_in(
        fat32, [](Image& i) { i.fsinfo().signature = 0; }, "fsinfo-signature: FSInfo");
    for (uint16_t sector : {uint16_t{0}, uint16_t{31}, uint16_t{0xffff}})
        reports_in(fat32, tail32(&disk::BootTail32::fsinfo_sector, sector), "", {"/other"});
    check_finds_in(fat32, tail32(&disk::BootTail32::backup_sector, uint16_t{9}),
                   "backup-boot-sector: byte");
}

TEST_CASE("FAT chains that lead nowhere are reported by file and cluster") {
    const std::vector<std::string> intact{"/other", "/file", "/huge", "/dir/inner"};
    reports([](Image& i) { i.fat(i.cluster("/big", 1), i.first("/big")); },
            "cluster 2 of the chain: goes round in a circle", intact);
    reports([](Image& i) { i.fat(i.cluster("/big", 2), i.cluster("/big", 2)); },
            "goes round in a circle", intact);
    reports(big_leads(1, 0), "cluster 2 of the chain: leads to a free cluster", intact);
    reports(big_leads(1, 0x0ffffff7), "cluster 2 of the chain: leads to a bad cluster", intact);
    reports(big_leads(1, 0x0ffffff1), "leads to a number that is no cluster", intact);
    reports(big_leads(1, 1), "leads to a number that is no cluster", intact);
    reports([](Image& i) { i.fat(i.cluster("/big", 1), i.geo().cluster_count + 2); },
            "leads to a number that is no cluster", intact);
    reports(big_leads(1, end_mark), "the chain is shorter than the file's size", intact);
    // No end mark.
    reports(
        [](Image& i) {
            i.entry("/big").size = 0x7fffffff;
            uint32_t last = i.first("/big");
            while (i.geo().is_cluster(i.fat(last))) last = i.fat(last);
            i.fat(last, 0);
        },
        "leads to a free cluster", intact);
    for (uint32_t first : {1u, 0xfff0u}) {
        reports(begins_at("/big", first), "the first cluster is no cluster", intact);
        check_finds(begins_at("/big", first), "file-chain: /big");
    }
    reports(begins_at("/big", 0), "the chain is shorter than the file's size", intact);
}

TEST_CASE("FAT chains that only a check can judge are found by it") {
    check_finds([](Image& i) { i.fat(i.cluster("/big", 1), i.cluster("/huge", 3)); },
                "shares a cluster with another chain");
    check_finds([](Image& i) { i.first("/file", i.cluster("/big", 1)); },
                "shares a cluster with another chain");
    // A directory's cluster as a file's.
    check_finds([](Image& i) { i.first("/file", i.first("/many")); }, "directory-cluster: /many");
    check_finds([](Image& i) { i.entry("/big").size = 1; }, "chain-too-long: /big");
    check_finds([](Image& i) { i.entry("/big").size = 0; }, "chain-too-long: /big");
    check_finds([](Image& i) { i.entry("/big").size = UINT32_MAX; }, "chain-too-short: /big");
    check_finds([](Image& i) { i.fat(i.geo().cluster_count + 1, end_mark); },
                "lost-clusters: cluster");
    check_finds([](Image& i) { i.fat(0, 0x0fffff00); }, "fat-media: FAT, entry 0");
}

TEST_CASE("the last entry of a FAT is one like others") {
    const Lie lie = [](Image& i) {
        const uint32_t last = i.geo().cluster_count + 1;
        i.fat(i.first("/other"), 0);
        i.first("/other", last);
        i.entry("/other").size = i.geo().cluster_size;
        i.fat(last, end_mark);
    };
    for (const Format& f : formats) {
        Image image = good_image(f);
        lie(image);
        const corrupt::Seen seen = corrupt::look(type(), image.bytes, false);
        CHECK(seen.log + seen.errors == "");
        CHECK(seen.readable.at("/other") == image.geo().cluster_size);
    }
}

TEST_CASE("copies of a FAT that differ are reported") {
    const Lie lie = [](Image& i) { i.fat(i.geo().cluster_count + 1, end_mark, false); };
    check_finds(lie, "fat-copies-differ: FAT 1");
    // A volume that was unmounted cleanly gives no reason to compare them.
    for (const Format& f : {fat16, fat32}) {
        Image image = good_image(f);
        lie(image);
        image.fat(1, 0x07ff7fff);
        const corrupt::Seen seen = corrupt::look(type(), image.bytes, true);
        CHECK(seen.log.find("was not unmounted cleanly") != std::string::npos);
        CHECK(seen.log.find("1 sectors of the FAT's copies differed") != std::string::npos);
    }
}

TEST_CASE("the backup of a FAT32 boot sector stands in for one that is damaged, and is put back") {
    const std::vector<std::string> intact{"/other", "/file", "/huge", "/dir/inner"};
    const std::pair<const char*, Lie> lies[] = {
        {"bytes per sector is 0", boot(&Boot::bytes_per_sector, uint16_t{0})},
        {"sectors per cluster is 3", boot(&Boot::sectors_per_cluster, uint8_t{3})},
        {"root cluster is 0", tail32(&disk::BootTail32::root_cluster, 0u)},
        {"no FAT boot sector", [](Image& i) { std::fill_n(i.bytes.begin(), 512, std::byte{0}); }},
        {"no FAT boot sector",
         [](Image& i) { std::fill_n(i.bytes.begin(), 1024, std::byte{0x55}); }},
    };
    for (const auto& [text, lie] : lies) {
        reports_in(fat32, lie, text, intact);
        reports_in(fat32, lie, "the backup of the boot sector is used", intact);
        check_finds_in(fat32, lie, "boot-sector: sector 0: ");
        Image image = good_image(fat32);
        lie(image);
        auto device = host::make_memory_device(image.bytes);
        const std::string found = corrupt::findings(type(), *device, true);
        INFO(text << "\n" << found);
        CHECK(found.find("boot-sector: sector 0: ") != std::string::npos);
        CHECK(found.find(text) != std::string::npos);
        std::array<std::byte, 512> mended;
        REQUIRE(device->read(0, mended).ok());
        CHECK(std::equal(mended.begin(), mended.end(), good_image(fat32).bytes.begin()));
    }
    // What is left of a FAT32 below another file system is not taken for one.
    const Lie other = [](Image& i) {
        std::fill_n(i.bytes.begin(), 1024, std::byte{0});
        for (uint32_t copy = 0; copy < 2; copy++)
            i.at<le32>(i.geo().fat_offset + copy * i.geo().fat_size) = 0u;
    };
    reports_in(fat32, other, "no FAT boot sector", {});
}

TEST_CASE("marks of an unclean unmount and of device errors are reported, and cleared by check") {
    for (const Format& f : {fat16, fat32}) {
        const Lie dirty = [](Image& i) { i.fat(1, 0x07ff7fff); };
        const Lie errors = [](Image& i) { i.fat(1, 0x0bffbfff); };
        reports_in(f, dirty, "was not unmounted cleanly", {"/other"});
        check_finds_in(f, dirty, "dirty: boot sector and FAT");
        reports_in(f, errors, "met errors of the device", {"/other"});
        check_finds_in(f, errors, "device-errors: boot sector and FAT");
    }
    for (const Format& f : formats) {
        const auto state = [](uint8_t bits) {
            return [=](Image& i) { i.at<disk::BootTail>(*i.geo().tail_offset).state = bits; };
        };
        reports_in(f, state(disk::state_dirty), "was not unmounted cleanly", {"/other"});
        check_finds_in(f, state(disk::state_dirty), "dirty: boot sector and FAT");
        reports_in(f, state(disk::state_errors), "met errors of the device", {"/other"});
        check_finds_in(f, state(disk::state_errors), "device-errors: boot sector and FAT");
    }
}

TEST_CASE("FAT directories that cannot be are reported, and end") {
    const std::vector<std::string> intact{"/other", "/file", "/huge"};
    reports(begins_at("/dir", 0), "a directory without a first cluster", intact);
    check_finds(begins_at("/dir", 0), "directory-cluster: /dir");
    reports(begins_at("/dir", 0xfff1), "the first cluster is no cluster", intact);
    reports([](Image& i) { i.fat(i.first("/many"), i.first("/many")); }, "goes round in a circle",
            intact);
    check_finds([](Image& i) { i.fat(i.first("/many"), i.first("/many")); },
                "directory-chain: /many/");
    reports([](Image& i) { i.fat(i.first("/many"), 0); }, "leads to a free cluster", intact);
    // Twice, an ancestor, itself.
    reports(same_clusters("/many", "/dir"), "the cluster belongs to another directory", intact);
    check_finds(same_clusters("/many", "/dir"), "directory-cluster: /");
    reports(same_clusters("/dir/sub", "/dir"), "the cluster belongs to another directory", intact);
    check_finds(same_clusters("/dir/sub", "/dir"), "directory-cluster: /dir/sub");
    reports_in(
        fat32, [](Image& i) { i.first("/dir", i.geo().root_cluster.value()); },
        "the cluster belongs to another directory", intact);
    check_finds([](Image& i) { i.entry("/dir").size = 512; }, "directory-size: /dir");
    check_finds(
        [](Image& i) { i.at<Short>(i.geo().offset_of(Cluster(i.first("/dir")))).name[0] = 'X'; },
        "no-dot-entry: /dir/.");
    check_finds(
        [](Image& i) {
            auto& dotdot = i.at<Short>(i.geo().offset_of(Cluster(i.first("/dir/sub"))) + 32);
            dotdot.first_cluster_low = static_cast<uint16_t>(i.first("/many"));
        },
        "wrong-dot-entry: /dir/sub/..");
    // What was written to a file, as entries.
    reports([](Image& i) { i.entry("/file").attributes |= disk::attr_directory; },
            "the first cluster is no cluster", {"/other"});
}

TEST_CASE("long names in pieces that do not belong together are left out, and found by check") {
    const std::vector<std::string> intact{"/other", "/file", "/ALONGN~1"};
    const std::function<void(Piece&)> edits[] = {
        [](Piece& p) { p.order = 3; },                                       // twice
        [](Piece& p) { p.order = 1; },                                       // out of order
        [](Piece& p) { p.order = 63; },                                      // too many
        [](Piece& p) { p.order = disk::name_deleted; },                      // a gap
        [](Piece& p) { p.checksum = static_cast<uint8_t>(p.checksum + 1); }, // another's
        [](Piece& p) { p.attributes = disk::attr_archive; },
    };
    for (size_t n = 0; n + 1 < std::size(edits); n++) {
        reads_on(piece(2, edits[n]), intact);
        check_finds(piece(2, edits[n]), "orphan-long-name: /, entry");
    }
    check_finds(piece(2, edits[5]), "orphan-long-name: /, entry");
    // Without its beginning, without its entry.
    const Lie endless = piece(3, [](Piece& p) { p.order = 3; });
    reads_on(endless, intact);
    check_finds(endless, "orphan-long-name: /, entry");
    const Lie orphans = [](Image& i) { i.entry(long_path).name[0] = disk::name_deleted; };
    reads_on(orphans, {"/other", "/file"});
    check_finds(orphans, "orphan-long-name: /, entry");
}

TEST_CASE("long names that no name can be are not shown") {
    const std::vector<std::string> intact{"/other", "/file", "/ALONGN~1"};
    reads_on(named(u"a/b"), intact);
    check_finds(named(u"a/b"), "bad-long-name: /, entry");
    check_finds(named(u"a*b"), "bad-long-name: /, entry");
    reads_on(named(std::u16string(u"\0", 1)), intact);
    reads_on(named(std::u16string(u".\0", 2)), intact);
    reads_on(named(std::u16string(u"..\0", 3)), intact);
    // Half of a pair has no UTF-8; it is shown all the same, and found by what is shown.
    reads_on(named(u"\xd800"), {"/other", "/\xed\xa0\x80" + long_path.substr(2)});
    std::string cjk;
    for (int i = 0; i < 19 * 13; i++) cjk += "\u4e00";
    // 260 code units, and 273. 247 of three bytes each are a name as any.
    reads_on([](Image& i) { append_long(i, 20, u'x'); }, {"/other", "/LONGEST.TXT"});
    check_finds([](Image& i) { append_long(i, 21, u'x'); }, "orphan-long-name: /, entry");
    reads_on([](Image& i) { append_long(i, 21, u'x'); }, {"/other", "/LONGEST.TXT"});
    reads_on([](Image& i) { append_long(i, 19, u'\x4e00'); }, {"/other", "/" + cjk});
}

TEST_CASE("short names that no name can be are reported") {
    reports([](Image& i) { i.entry("/dir").name[1] = '/'; }, "a name that no file can have");
    check_finds([](Image& i) { i.entry("/dir").name[1] = '/'; }, "bad-short-name: /, entry");
    check_finds([](Image& i) { i.entry("/dir").name[0] = ' '; }, "bad-short-name: /, entry");
    check_finds([](Image& i) { i.entry("/dir").name[2] = 1; }, "bad-short-name: /, entry");
    check_finds([](Image& i) { std::copy_n(i.entry("/dir").name, 11, i.entry("/file").name); },
                "name-twice: /DIR");
    check_finds([](Image& i) { i.entry("/dir/inner").attributes = disk::attr_label; },
                "label-as-file: /dir/, entry");
    reads_on([](Image& i) { i.entry("/dir/inner").attributes = disk::attr_label; },
             {"/other", "/dir/inner2"});
}

TEST_CASE("impossible dates of FAT are shown as some date") {
    for (uint16_t date : {uint16_t{0}, uint16_t{0x01ff}, uint16_t{0xffff}, uint16_t{0x0021}})
        reads_on(
            [=](Image& i) {
                Short& e = i.entry("/file");
                e.created_date = e.written_date = e.accessed_date = date;
                e.created_time = e.written_time = 0xffff;
                e.created_centiseconds = 255;
            },
            {"/other", "/file"});
}
