// What FAT and exFAT do alike: commits that fail half-way.
#include "hostshim/faulty_device.h"
#include "hostshim/memory_device.h"
#include "kernel/fs/registry.h"
#include "kernel/kern/kernel.h"
#include "kernel/vfs/vfs_ops.h"

#include <catch2/catch.hpp>

using namespace rump;

TEST_CASE("what a commit could not note is noted by the next one") {
    for (const char* name : {"msdosfs", "exfatfs"}) {
        INFO(name);
        const FileSystemType& type = *find_filesystem(name);
        const Cred cred = Cred::superuser();
        auto device = host::make_memory_device(8 << 20);
        host::FaultyDevice faulty(*device);
        auto mounted = [&](Kernel& kernel) -> Mount& {
            auto mount = kernel.mount(type, {std::make_unique<host::FaultyDevice>(
                                                 static_cast<host::BlockDevice&>(faulty)),
                                             {}});
            REQUIRE(mount.ok());
            return **mount;
        };
        {
            Kernel kernel;
            REQUIRE(type.newfs(kernel, *device, {}).ok());
            Mount& mount = mounted(kernel);
            REQUIRE(vfs::create(**mount.root(), "file", {}, cred).ok());
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
            // The volume's mark, which comes last, cannot be read.
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
