// What FAT and exFAT do alike: commits that fail half-way.
#include "hostshim/faulty_device.h"
#include "hostshim/memory_device.h"
#include "hostshim/recording_device.h"
#include "kernel/fs/registry.h"
#include "kernel/kern/kernel.h"
#include "kernel/vfs/vfs_ops.h"

#include <catch2/catch.hpp>

using namespace rump;

namespace {
template<class T>
std::span<std::byte> bytes_of(T& object) {
    return std::as_writable_bytes(std::span(&object, 1));
}
} // namespace

TEST_CASE("what a commit could not note is noted by the next one") {
    for (const char* name : {"msdosfs", "exfatfs"}) {
        INFO(name);
        const FileSystemType& type = *find_filesystem(name);
        const Cred cred = Cred::superuser();
        auto device = host::make_memory_device(8 << 20);
        host::FaultyDevice faulty(*device);
        auto mounted = [&](Kernel& kernel) -> Mount& {
            MountArgs args{
                std::make_unique<host::FaultyDevice>(static_cast<host::BlockDevice&>(faulty)), {}};
            args.options.cache_bytes = 512;
            auto mount = kernel.mount(type, std::move(args));
            REQUIRE(mount.ok());
            return **mount;
        };
        {
            Kernel kernel;
            OptionSet options;
            if (type.name() == "msdosfs")
                REQUIRE(options.set(type.newfs_options(), "root_entries", "8192").ok());
            REQUIRE(type.newfs(kernel, *device, options).ok());
            Mount& mount = mounted(kernel);
            REQUIRE(vfs::create(**mount.root(), "file", {}, cred).ok());
            for (int i = 0; i < 800; i++)
                REQUIRE(vfs::create(**mount.root(),
                                    "a name to fill sectors with " + std::to_string(i), {}, cred)
                            .ok());
            REQUIRE(kernel.unmount(mount, false).ok());
        }
        AttrChange change;
        change.mtime = Timespec{1'000'000'000, 0};
        {
            Kernel kernel;
            Mount& mount = mounted(kernel);
            auto file = vfs::lookup(**mount.root(), "file", cred);
            REQUIRE(file.ok());
            REQUIRE(vfs::setattr(**file, change, cred).ok());
            // The sector that its entry is in has left the cache, and cannot be read.
            REQUIRE(vfs::readdir(**mount.root(), 0, [](const DirEntry&) { return true; }).ok());
            faulty.arm({host::FaultPlan::Operation::read, 1, true});
            CHECK_FALSE(mount.sync().ok());
            CHECK(faulty.strikes() > 0);
            faulty.arm({});
            CHECK(mount.sync().ok());
            file->reset();
            REQUIRE(kernel.unmount(mount, false).ok());
        }
        Kernel kernel;
        Mount& mount = mounted(kernel);
        auto file = vfs::lookup(**mount.root(), "file", cred);
        REQUIRE(file.ok());
        auto attr = vfs::getattr(**file);
        REQUIRE(attr.ok());
        CHECK(attr->mtime == *change.mtime);
        file->reset();
        REQUIRE(kernel.unmount(mount, false).ok());
    }
}

TEST_CASE("a volume is marked as in use while it is mounted for writing, and only then") {
    // Any other byte stays: mounting changes nothing else.
    for (std::string name : {"msdosfs", "exfatfs"}) {
        INFO(name);
        const FileSystemType& type = *find_filesystem(name);
        std::vector<std::byte> before(40 << 20), now(before.size());
        auto device = host::make_memory_device(before.size());
        Kernel kernel;
        OptionSet options;
        if (name == "msdosfs") REQUIRE(options.set(type.newfs_options(), "fat", "32").ok());
        REQUIRE(type.newfs(kernel, *device, options).ok());
        REQUIRE(device->read(0, before).ok());
        for (bool read_only : {true, false}) {
            MountArgs args{std::make_unique<host::FaultyDevice>(*device), {}};
            args.options.read_only = read_only;
            auto mount = kernel.mount(type, std::move(args));
            REQUIRE(mount.ok());
            REQUIRE(device->read(0, now).ok());
            CHECK((now == before) == read_only);
            CheckOptions check;
            host::Log log(host::null_sink());
            auto report = type.check(*device, check, log);
            REQUIRE(report.ok());
            REQUIRE(report->findings.size() == (read_only ? 0 : 1));
            if (!read_only) CHECK(report->findings[0].code == "dirty");
            REQUIRE(kernel.unmount(**mount, false).ok());
            REQUIRE(device->read(0, now).ok());
            CHECK(now == before);
        }
    }
}

TEST_CASE("FSInfo's count of free clusters keeps no file from growing, and is not passed on") {
    const FileSystemType& type = *find_filesystem("msdosfs");
    auto device = host::make_memory_device(40 << 20);
    Kernel kernel;
    OptionSet options;
    REQUIRE(options.set(type.newfs_options(), "fat", "32").ok());
    REQUIRE(type.newfs(kernel, *device, options).ok());
    constexpr uint64_t fsinfo = 512, free_clusters = 488;
    uint32_t truth = 0;
    for (uint32_t lie : {0u, 1u, 0xfffffffeu}) {
        INFO(lie);
        if (lie == 0) REQUIRE(device->read(fsinfo + free_clusters, bytes_of(truth)).ok());
        REQUIRE(device->write(fsinfo + free_clusters, bytes_of(lie)).ok());
        auto mount = kernel.mount(type, {std::make_unique<host::FaultyDevice>(*device), {}});
        REQUIRE(mount.ok());
        const Cred cred = Cred::superuser();
        auto file = vfs::create(**(*mount)->root(), "file", {}, cred);
        REQUIRE(file.ok());
        AttrChange grow;
        grow.size = 1 << 20;
        CHECK(vfs::setattr(**file, grow, cred).ok());
        CHECK((*mount)->statvfs()->blocks_free > 1000);
        REQUIRE(vfs::unlink(**(*mount)->root(), "file", cred).ok());
        file->reset();
        REQUIRE(kernel.unmount(**mount, false).ok());
        uint32_t after = 0;
        REQUIRE(device->read(fsinfo + free_clusters, bytes_of(after)).ok());
        CHECK(after == truth);
    }
}

TEST_CASE("a small write writes no large cluster, and what it left unwritten is never shown") {
    for (const char* name : {"msdosfs", "exfatfs"}) {
        INFO(name);
        const FileSystemType& type = *find_filesystem(name);
        const Cred cred = Cred::superuser();
        // What stood in the clusters before.
        auto device = host::make_memory_device(std::vector<std::byte>(32 << 20, std::byte{0xdb}));
        host::RecordingDevice recorder(
            std::make_unique<host::FaultyDevice>(static_cast<host::BlockDevice&>(*device)));
        Kernel kernel;
        OptionSet options;
        if (type.name() == "msdosfs") REQUIRE(options.set(type.newfs_options(), "fat", "12").ok());
        REQUIRE(options.set(type.newfs_options(), "cluster", "32768").ok());
        REQUIRE(type.newfs(kernel, *device, options).ok());
        auto mounted = kernel.mount(
            type,
            {std::make_unique<host::FaultyDevice>(static_cast<host::BlockDevice&>(recorder)), {}});
        REQUIRE(mounted.ok());
        Mount& mount = **mounted;
        auto file = vfs::create(**mount.root(), "file", {}, cred);
        REQUIRE(file.ok());
        std::string expected;
        auto write = [&](uint64_t at, size_t length, uint64_t most) {
            INFO(at << ", " << length);
            std::string text(length, static_cast<char>('a' + expected.size() % 26));
            size_t before = recorder.events().size();
            REQUIRE(vfs::write(**file, at, std::as_bytes(std::span(text)), cred).ok());
            uint64_t written = 0;
            for (size_t i = before; i < recorder.events().size(); i++)
                written += recorder.events()[i].length;
            CHECK(written <= most);
            expected.resize(std::max(expected.size(), at + length));
            expected.replace(at, length, text);
            std::string found(expected.size() + 10, 'x');
            auto got = vfs::read(**file, 0, std::as_writable_bytes(std::span(found)));
            REQUIRE(got.ok());
            found.resize(*got);
            CHECK((found == expected));
        };
        write(0, 100, 4096);
        write(100, 100, 4096);
        write(4000, 200, 3 * 4096); // over the border of a page
        write(9000, 10, 4 * 4096);  // behind a gap
        write(30000, 5000, 12 * 4096);
        write(65000, 3000, 16 * 4096); // into another cluster
        write(5, 10, 10);
        write(150000, 10, 28 * 4096);
        AttrChange change;
        change.size = 160000;
        REQUIRE(vfs::setattr(**file, change, cred).ok());
        expected.resize(160000);
        write(7, 1, 1);
        file->reset();
        REQUIRE(kernel.unmount(mount, false).ok());
    }
}
