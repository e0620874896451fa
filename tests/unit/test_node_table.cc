// p2k's node table: lookups and forgets of one node, of numbers that are dense and sparse, and of
// many threads at once.
#include "kernel/fs/tmpfs/tmpfs.h"
#include "kernel/kern/kernel.h"
#include "kernel/vfs/vfs_ops.h"
#include "kernel/vfs/vnode_cache.h"
#include "p2k/node_table.h"

#include "hostshim/thread.h"

#include <catch2/catch.hpp>
#include <fmt/format.h>

#include <vector>

using namespace rump;
using p2k::NodeId;
using p2k::NodeTable;

namespace {

struct Fixture {
    Kernel kernel;
    Mount& mount;
    explicit Fixture() : mount(**kernel.mount(tmpfs::type(), MountArgs{})) {}
    ~Fixture() { CHECK(kernel.unmount(mount, false).ok()); }

    VnodeRef make(std::string_view name) {
        VnodeRef root = mount.root().release_value();
        return vfs::create(*root, name, vfs::Make{.mode = 0644}, Cred::superuser()).release_value();
    }
};

} // namespace

TEST_CASE("the root's number and 1 change places") {
    Fixture fs;
    NodeTable table(fs.mount, 1000);
    CHECK(table.id_of(fs.mount.root_number()) == p2k::root_node);
    CHECK(table.number_of(p2k::root_node) == fs.mount.root_number());
    for (uint64_t n : {1, 2, 3, 100, 1000000})
        CHECK(table.number_of(table.id_of(InodeNumber(n))) == InodeNumber(n));
}

TEST_CASE("a node is found from its first lookup to its last forget") {
    const uint64_t limit = GENERATE(uint64_t{0}, uint64_t{1} << 20); // all sparse, all dense
    Fixture fs;
    NodeTable table(fs.mount, limit);
    table.set_root(fs.mount.root().release_value());
    VnodeRef file = fs.make("a");
    Vnode* const vnode = file.get();

    const NodeId id = table.id_of(file->number());
    CHECK(table.find(id) == nullptr);
    for (int i = 0; i < 3; ++i) CHECK(*table.enter(VnodeRef::to(*file)) == id);
    file.reset();
    CHECK(table.nodes.value() == 1);
    CHECK(table.find(id) == vnode);
    table.forget(id, 2);
    CHECK(table.find(id) == vnode);
    table.forget(id, 1);
    CHECK(table.find(id) == nullptr);
    CHECK(table.nodes.value() == 0);
    CHECK(table.lookups.value() == table.forgets.value());
    table.forget(id, 7); // more than there were: nothing
    CHECK(table.lookups.value() == table.forgets.value());
    CHECK(table.find(p2k::root_node) != nullptr);
}

TEST_CASE("what the host has not forgotten goes with the table") {
    Fixture fs;
    {
        NodeTable table(fs.mount, 1 << 20);
        for (int i = 0; i < 100; ++i) REQUIRE(table.enter(fs.make(fmt::format("{}", i))).ok());
        table.forget(*table.enter(fs.make("x")), 1);
        table.release_all();
        CHECK(table.released.value() == 100);
        CHECK(table.lookups.value() == table.forgets.value() + table.released.value());
        CHECK(table.nodes.value() == 0);
    }
    CHECK(fs.mount.vnodes().active() == 0);
}

TEST_CASE(
    "an unlinked file stays while the host knows it, and its space goes with the last forget") {
    Fixture fs;
    NodeTable table(fs.mount, 1 << 20);
    const NodeId id = *table.enter(fs.make("a"));
    const uint64_t files = fs.mount.statvfs()->files_free;
    VnodeRef root = fs.mount.root().release_value();
    REQUIRE(vfs::unlink(*root, "a", Cred::superuser()).ok());
    CHECK(fs.mount.statvfs()->files_free == files);
    CHECK(vfs::getattr(*table.find(id))->nlink == 0);
    table.forget(id, 1);
    CHECK(fs.mount.statvfs()->files_free == files + 1);
}

TEST_CASE("threads that look up and forget the same nodes agree in the end") {
    const uint64_t limit = GENERATE(uint64_t{0}, uint64_t{1} << 20);
    Fixture fs;
    NodeTable table(fs.mount, limit);
    std::vector<VnodeRef> files;
    for (int i = 0; i < 4; ++i) files.push_back(fs.make(fmt::format("{}", i)));
    {
        std::vector<host::Thread> threads;
        for (int t = 0; t < 4; ++t)
            threads.push_back(host::Thread::start("t", [&] {
                                  for (int i = 0; i < 5000; ++i) {
                                      VnodeRef& file = files[static_cast<size_t>(i) % 4];
                                      const NodeId id = *table.enter(VnodeRef::to(*file));
                                      ASSERT(table.find(id) == file.get());
                                      table.forget(id, 1);
                                  }
                              }).release_value());
    }
    CHECK(table.lookups.value() == 20000);
    CHECK(table.forgets.value() == 20000);
    CHECK(table.nodes.value() == 0);
    files.clear();
    CHECK(fs.mount.vnodes().active() == 0);
}
