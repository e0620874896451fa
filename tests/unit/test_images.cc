// What an image argument means: partitions by number, letter, name and UUID; types; copy-on-write.
#include "hostshim/memory_device.h"
#include "hostshim/random.h"
#include "images/identify.h"
#include "images/image.h"
#include "images/partitions.h"
#include "tests/unit/sample_images.h"
#include "tests/unit/skipped.h"
#include "tests/unit/temp_dir.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <fstream>
#include <unistd.h>

using namespace rump;
using namespace rump::host;
using Catch::Matchers::Contains;
using rump::test::make_file;
using rump::test::TempDir;

namespace {

using Bytes = std::vector<std::byte>;

bool run(const std::string& command) {
    return std::system((command + " >/dev/null 2>&1").c_str()) == 0;
}

void partition(const TempDir& dir, const std::string& path, const std::string& script) {
    std::ofstream(dir / "script") << script;
    REQUIRE(run("sfdisk -q --no-reread '" + path + "' < '" + (dir / "script") + "'"));
}

void poke(const std::string& path, uint64_t offset, const void* data, size_t size) {
    int fd = open(path.c_str(), O_WRONLY | O_CLOEXEC);
    REQUIRE(fd >= 0);
    REQUIRE(pwrite(fd, data, size, static_cast<off_t>(offset)) == static_cast<ssize_t>(size));
    close(fd);
}

Failure refusal(const std::string& argument, const images::ImageOptions& options) {
    auto device = images::open(argument, options);
    REQUIRE_FALSE(device.ok());
    return device.release_error();
}

constexpr const char* gpt_script = "label: gpt\n"
                                   "1 : start=2048, size=4096, name=\"root of it\", "
                                   "uuid=11111111-2222-3333-4444-555555555555\n"
                                   "3 : start=8192, size=2048, name=twin\n"
                                   "4 : start=12288, size=2048, name=twin\n";

} // namespace

TEST_CASE("partitions of disks of all schemes are where their systems put them") {
    const char* const samples[] = {"disk-apple",       "disk-bsd",  "disk-gpt",     "disk-mbr-bsd",
                                   "disk-mbr-logical", "ul-pt-bsd", "ul-pt-dos+bsd"};
    auto folder = test::sample_folder();
    if (!folder) {
        rump::test::skipped("no sample images");
        return;
    }
    for (std::string sample : samples) {
        SECTION(sample) {
            TempDir dir;
            REQUIRE(test::unpack_sample(sample, dir / "disk"));
            std::ifstream file(*folder / (sample + ".parts.json"));
            auto expected = nlohmann::json::parse(file);
            auto found = images::partitions(dir / "disk");
            REQUIRE(found.ok());
            REQUIRE(found->size() == expected.size());
            uint64_t disk_size = std::filesystem::file_size(dir / "disk");
            for (size_t i = 0; i < expected.size(); ++i) {
                const images::Partition& p = (*found)[i];
                CHECK(p.number == expected[i]["nr"]);
                CHECK(p.offset == expected[i]["offset"]);
                CHECK(p.size == expected[i]["size"]);
                CHECK(p.scheme == expected[i]["scheme"]);
                CHECK(p.type == expected[i]["type"]);
                CHECK(p.name == expected[i].value("name", ""));
                CHECK(p.uuid == expected[i].value("uuid", ""));
                CHECK((p.letter != 0) == p.scheme.ends_with("bsd"));
                if (p.offset + p.size > disk_size) continue;
                auto device =
                    images::open((dir / "disk") + "%PART:" + std::to_string(p.number) + "%", {});
                REQUIRE(device.ok() == !p.extended);
                if (p.extended) continue;
                CHECK((*device)->size() == p.size);
                // Partitions with a tree hold a file system that is known by its superblock.
                if (!expected[i].contains("manifest")) continue;
                auto identity = images::identify(**device);
                REQUIRE(identity.ok());
                CHECK_FALSE(images::filesystem_name(identity->type).empty());
            }
        }
    }
}

TEST_CASE("letters of a disklabel name its partitions") {
    TempDir dir;
    if (!test::sample_folder()) return rump::test::skipped("no sample images");
    REQUIRE(test::unpack_sample("disk-mbr-bsd", dir / "disk"));
    auto all = images::partitions(dir / "disk");
    REQUIRE(all.ok());
    for (const images::Partition& p : *all) {
        if (!p.letter) continue;
        std::string letter(1, p.letter);
        auto by_letter = images::open((dir / "disk") + "%PART:" + letter + "%", {});
        REQUIRE(by_letter.ok());
        CHECK((*by_letter)->direct(0, 1, false)->offset == p.offset);
        CHECK((*by_letter)->size() == p.size);
        CHECK(images::open((dir / "disk") + "%DISKLABEL:" + letter + "%", {}).ok());
        CHECK(images::open(dir / "disk", {.partition = letter}).ok());
    }
    auto none = refusal(dir / "disk", {.partition = "p"});
    CHECK(none.code == Errno::noent);
    CHECK_THAT(none.text, Contains("5 (") && Contains("6 ("));
}

TEST_CASE("a GPT partition is found by number, name and UUID") {
    TempDir dir;
    auto disk = make_file(dir, "disk", 16 << 20);
    partition(dir, disk, gpt_script);
    for (const char* which : {"1", "root of it", "11111111-2222-3333-4444-555555555555"}) {
        auto device = images::open(disk, {.partition = which});
        REQUIRE(device.ok());
        CHECK((*device)->size() == 4096 * 512);
        CHECK((*device)->direct(0, 1, false)->offset == 2048 * 512);
    }
    auto missing = refusal(disk, {.partition = "2"});
    CHECK(missing.code == Errno::noent);
    CHECK_THAT(missing.text, Contains("1 (root of it), 3 (twin), 4 (twin)"));
    auto twins = refusal(disk, {.partition = "twin"});
    CHECK(twins.code == Errno::inval);
    CHECK_THAT(twins.text, Contains("3 (twin)"));
    CHECK(refusal(disk + "%PART:1%", {.partition = "3"}).code == Errno::inval);
}

TEST_CASE("a disk may begin within a file") {
    TempDir dir;
    auto disk = make_file(dir, "disk", 16 << 20);
    partition(dir, disk, gpt_script);
    auto outer = make_file(dir, "outer", 17 << 20);
    REQUIRE(run("dd conv=notrunc bs=1M seek=1 if='" + disk + "' of='" + outer + "'"));
    auto device =
        images::open(outer, {.access = Access::read_write, .offset = 1 << 20, .partition = "3"});
    REQUIRE(device.ok());
    CHECK((*device)->direct(0, 1, true)->offset == (1 << 20) + 8192 * 512);
    // Another partition of the disk can be used at the same time, the same one not.
    CHECK(images::open(outer, {.access = Access::read_write, .offset = 1 << 20, .partition = "4"})
              .ok());
    auto held = refusal(outer, {.offset = 1 << 20, .partition = "3"});
    CHECK(held.code == Errno::busy);
}

TEST_CASE("a partition beyond the end of a cut image is refused") {
    TempDir dir;
    auto disk = make_file(dir, "disk", 16 << 20);
    partition(dir, disk,
              "label: dos\n1 : start=2048, size=4096, type=83\n"
              "2 : start=8192, size=16384, type=83\n");
    REQUIRE(truncate(disk.c_str(), 8 << 20) == 0);
    CHECK(images::open(disk, {.partition = "1"}).ok());
    auto cut = refusal(disk, {.partition = "2"});
    CHECK(cut.code == Errno::inval);
    CHECK_THAT(cut.text, Contains("cut off"));
}

TEST_CASE("a disk with sectors of 4096 bytes keeps its partitions in a file") {
    TempDir dir;
    auto disk = make_file(dir, "disk", 16 << 20);
    REQUIRE(run("printf 'g\\nn\\n1\\n256\\n767\\nw\\n' | fdisk -b 4096 '" + disk + "'"));
    auto device = images::open(disk, {.partition = "1"});
    REQUIRE(device.ok());
    CHECK((*device)->size() == 512 * 4096);
    CHECK((*device)->direct(0, 1, false)->offset == 256 * 4096);
}

TEST_CASE("no table, no partition; an image is called by its name") {
    TempDir dir;
    auto empty = make_file(dir, "image", 4 << 20);
    auto none = refusal(empty, {.partition = "1"});
    CHECK(none.code == Errno::noent);
    CHECK_THAT(none.text, Contains("no partition table"));
    CHECK(refusal(dir / "missing%PART:a%", {}).code == Errno::noent);
    CHECK(refusal(dir.path(), {}).code == Errno::isdir);

    auto literal = make_file(dir, "odd%PART:a%", 4096);
    CHECK(images::parse_argument(literal).partition.empty());
    CHECK(images::open(literal, {}).ok());
    CHECK(images::parse_argument("x.img%PART:12%").path == "x.img");
    CHECK(images::parse_argument("x.img%PART:12%").partition == "12");
    CHECK(images::parse_argument("x%PART:a%.img").partition.empty());
    CHECK(images::parse_argument("x.img%PART:%").partition.empty());
    CHECK(images::parse_argument("%PART:a%").partition.empty());
}

TEST_CASE("copy-on-write never changes the image") {
    TempDir dir;
    auto image = make_file(dir, "image", 64 << 10);
    {
        auto device = images::open(image, {.access = Access::read_write, .cow = true});
        REQUIRE(device.ok());
        CHECK_FALSE((*device)->read_only());
        REQUIRE((*device)->write(0, Bytes(100, std::byte{1})).ok());
        // The image itself is only read, so others may read it too.
        CHECK(images::open(image, {}).ok());
    }
    {
        auto device = images::open(image, {.cow_file = dir / "delta"});
        REQUIRE(device.ok());
        REQUIRE((*device)->write(0, Bytes(100, std::byte{2})).ok());
        REQUIRE((*device)->flush().ok());
    }
    Bytes seen(1);
    auto plain = images::open(image, {});
    REQUIRE(plain.ok());
    REQUIRE((*plain)->read(0, seen).ok());
    CHECK(seen[0] == std::byte{0});
    auto again = images::open(image, {.cow_file = dir / "delta"});
    REQUIRE(again.ok());
    REQUIRE((*again)->read(99, seen).ok());
    CHECK(seen[0] == std::byte{2});
}

TEST_CASE("file systems are recognised, on files and on devices without a descriptor") {
    TempDir dir;
    auto image = make_file(dir, "image", 8 << 20);
    REQUIRE(run("mke2fs -q -F -t ext4 -L mylabel '" + image + "'"));
    auto check = [](BlockDevice& device) {
        auto identity = images::identify(device);
        REQUIRE(identity.ok());
        CHECK(identity->type == "ext4");
        CHECK(identity->label == "mylabel");
        CHECK(identity->uuid.size() == 36);
        CHECK(images::filesystem_name(identity->type) == "ext2fs");
        CHECK_THAT(images::what_it_is(device), Contains("an ext4 image"));
    };
    auto file = images::open(image, {});
    REQUIRE(file.ok());
    check(**file);
    auto overlay = images::open(image, {.cow = true});
    REQUIRE(overlay.ok());
    check(**overlay);

    auto blank = make_memory_device(1 << 20);
    CHECK_THAT(images::what_it_is(*blank), Contains("no known file system"));
}

TEST_CASE("a whole disk says that it has partitions") {
    TempDir dir;
    auto disk = make_file(dir, "disk", 16 << 20);
    partition(dir, disk, gpt_script);
    auto device = images::open(disk, {});
    REQUIRE(device.ok());
    CHECK_THAT(images::what_it_is(**device), Contains("gpt") && Contains("part=") && Contains("3"));
}

TEST_CASE("tables that lie neither crash nor hang nor reach outside the disk") {
    TempDir dir;
    auto disk = make_file(dir, "disk", 4 << 20);
    const char* const scripts[] = {
        "label: gpt\n1 : start=2048, size=1024, name=a\n2 : start=4096, size=1024, name=b\n",
        "label: dos\n1 : start=64, size=1024, type=83\n2 : start=2048, size=4096, type=5\n"
        "5 : start=2112, size=512, type=83\n6 : start=3072, size=512, type=83\n"};
    SeededRandom random(5);
    for (const char* script : scripts) {
        REQUIRE(truncate(disk.c_str(), 0) == 0);
        REQUIRE(truncate(disk.c_str(), 4 << 20) == 0);
        partition(dir, disk, script);
        auto pristine = open_file_device(disk, {});
        REQUIRE(pristine.ok());
        for (int i = 0; i < 1500; ++i) {
            // In the table's sectors: MBR, GPT header and entries, the extended partition's chain.
            const uint64_t sectors[] = {0, 1, 2, 2048, 3008, 3072, 8191};
            uint64_t offset = sectors[random.below(7)] * 512 + random.below(512);
            unsigned char before, wrong = static_cast<unsigned char>(random.below(256));
            REQUIRE((*pristine)->read(offset, std::as_writable_bytes(std::span(&before, 1))).ok());
            poke(disk, offset, &wrong, 1);
            auto all = images::partitions(disk);
            REQUIRE(all.ok());
            CHECK(all->size() < 500);
            for (const images::Partition& p : *all) {
                auto chosen = images::select(*all, std::to_string(p.number), 4 << 20);
                if (chosen.ok()) CHECK(chosen->offset + chosen->size <= 4 << 20);
            }
            poke(disk, offset, &before, 1);
        }
    }
}

TEST_CASE("an extended partition is no partition to choose, those inside are") {
    TempDir dir;
    auto disk = make_file(dir, "disk", 4 << 20);
    partition(dir, disk,
              "label: dos\n1 : start=64, size=1024, type=83\n2 : start=2048, size=4096, type=5\n"
              "5 : start=2112, size=512, type=83\n");
    CHECK_THAT(refusal(disk, {.partition = "2"}).text,
               Contains("partition 2 holds partitions") && Contains("there are 1, 5"));
    CHECK(images::open(disk, {.partition = "5"}).ok());
}

TEST_CASE("an extended partition that contains itself ends") {
    TempDir dir;
    auto disk = make_file(dir, "disk", 4 << 20);
    partition(dir, disk,
              "label: dos\n2 : start=2048, size=4096, type=5\n"
              "5 : start=2112, size=512, type=83\n");
    // The second entry of the logical table links on: to itself, the extended partition's start.
    const unsigned char loop[16] = {0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0};
    poke(disk, 2048 * 512 + 446 + 16, loop, sizeof loop);
    auto all = images::partitions(disk);
    REQUIRE(all.ok());
    CHECK(all->size() < 500);
}
