// FAT and exFAT with several threads at once: lookups and listings go on while commits bring the
// entries of the same directory up to date.
#include "hostshim/memory_device.h"
#include "hostshim/thread.h"
#include "kernel/fs/registry.h"
#include "kernel/kern/kernel.h"
#include "kernel/vfs/vfs_ops.h"

#include <catch2/catch.hpp>
#include <fmt/format.h>

#include <atomic>

using namespace rump;

namespace {

constexpr int files = 40;

void read_while_entries_change(const char* name) {
    const FileSystemType& type = *find_filesystem(name);
    Kernel kernel;
    auto device = host::make_memory_device(8 << 20);
    REQUIRE(type.newfs(kernel, *device, {}).ok());
    auto mounted = kernel.mount(type, {std::move(device), {}});
    REQUIRE(mounted.ok());
    Mount& mount = **mounted;
    const Cred cred = Cred::superuser();
    std::vector<VnodeRef> made;
    {
        VnodeRef root = *mount.root();
        for (int i = 0; i < files; i++) {
            auto file =
                vfs::create(*root, fmt::format("file {}", i), {FileType::reg, 0644, 0, {}}, cred);
            REQUIRE(file.ok());
            made.push_back(file.release_value());
        }
        REQUIRE(mount.sync().ok());
        std::atomic<bool> done{false};
        std::atomic<unsigned> wrong{0};
        auto reader = [&] {
            for (unsigned round = 0; !done; round++) {
                int seen = 0;
                if (!vfs::readdir(*root, 0, [&](const DirEntry&) { return ++seen > 0; })) wrong++;
                if (seen != files + 2) wrong++;
                // Not there, so that the whole directory is looked at.
                if (vfs::lookup(*root, fmt::format("none {}", round), cred)) wrong++;
            }
        };
        std::vector<host::Thread> threads;
        for (int t = 0; t < 2; t++)
            threads.push_back(host::Thread::start("reader", reader).release_value());
        for (unsigned round = 0; round < 60; round++) {
            AttrChange change;
            change.mtime = Timespec{1'000'000'000 + 60 * round, 0};
            change.mode = round % 2 ? 0444 : 0644;
            for (const VnodeRef& file : made)
                if (!vfs::setattr(*file, change, cred)) wrong++;
            if (!mount.sync()) wrong++;
        }
        done = true;
        threads.clear(); // joins
        CHECK(wrong == 0);
        made.clear();
    }
    REQUIRE(kernel.unmount(mount, false).ok());
}

} // namespace

TEST_CASE("FAT directories are read while a commit writes their entries") {
    read_while_entries_change("msdosfs");
}

TEST_CASE("exFAT directories are read while a commit writes their entries") {
    read_while_entries_change("exfatfs");
}
