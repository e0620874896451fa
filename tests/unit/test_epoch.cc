// Buffers, transactions and commits: what a file system relies on when it changes metadata.
#include "tests/unit/block_mount.h"

#include "hostshim/thread.h"

#include <catch2/catch.hpp>

#include <cstring>

using namespace rump;
using namespace rump::test;

namespace {

/// Remembers writes ("w<block>") and flushes ("f") in the order of arrival; may be told to fail.
class ScriptDevice final : public host::BlockDevice {
public:
    explicit ScriptDevice(std::vector<std::string>& events)
        : events_(events), inner_(host::make_memory_device(16u << 20)) {}
    uint64_t size() const override { return inner_->size(); }
    bool read_only() const override { return false; }
    std::string name() const override { return "script"; }
    Result<void> read(uint64_t offset, std::span<std::byte> out) override {
        if (fail_reads) return Errno::io;
        return inner_->read(offset, out);
    }
    Result<void> write(uint64_t offset, std::span<const std::byte> data) override {
        if (full_after == 0) {
            if (auto once = std::exchange(on_full, nullptr)) once();
            return Errno::nospc;
        }
        if (full_after > 0) --full_after;
        if (fail_writes) return Errno::io;
        events_.push_back("w" + std::to_string(offset / 4096));
        return inner_->write(offset, data);
    }
    Result<void> flush() override {
        events_.push_back("f");
        return {};
    }
    bool fail_reads = false;
    bool fail_writes = false;
    int full_after = -1; // writes; ENOSPC from there on
    std::function<void()> on_full;

private:
    std::vector<std::string>& events_;
    std::unique_ptr<host::BlockDevice> inner_;
};

struct Fixture {
    Fixture() : world(make()) {}
    std::unique_ptr<ScriptDevice> make() {
        auto made = std::make_unique<ScriptDevice>(events);
        device = made.get();
        return made;
    }
    Buf block(uint64_t n) { return world.mount->buffers().read(n * 4096, 4096).value(); }
    void put(Transaction& tx, uint64_t n, uint8_t value, WritePhase phase) {
        Buf buf = block(n);
        tx.modify(buf, 0, 1, phase)[0] = std::byte{value};
    }
    std::vector<std::string> events;
    ScriptDevice* device = nullptr;
    BlockWorld world;
};

using Events = std::vector<std::string>;

} // namespace

TEST_CASE("a transaction that is not done leaves no trace in memory") {
    Fixture f;
    Buf buf = f.block(3);
    std::vector<int> order;
    {
        Transaction tx = f.world.mount->begin().value();
        tx.modify(buf, 0, 4, WritePhase::inode)[1] = std::byte{1};
        tx.on_abort([&] { order.push_back(1); });
        tx.modify(buf, 0, 4, WritePhase::inode)[1] = std::byte{2};
        tx.on_abort([&] { order.push_back(2); });
    }
    CHECK(buf.bytes()[1] == std::byte{0});
    CHECK(order == std::vector<int>{2, 1});
}

TEST_CASE("a commit writes maps, inodes and directories in this order, with flushes between") {
    Fixture f;
    {
        Transaction tx = f.world.mount->begin().value();
        f.put(tx, 9, 1, WritePhase::directory);
        f.put(tx, 20, 1, WritePhase::inode);
        f.put(tx, 30, 1, WritePhase::allocation);
        f.put(tx, 29, 1, WritePhase::allocation);
        tx.done();
    }
    REQUIRE(f.world.mount->sync().ok());
    CHECK(f.events == Events{"w29", "w30", "f", "w20", "f", "w9", "f"});
}

TEST_CASE("file data is flushed before what points to it") {
    Fixture f;
    {
        Transaction tx = f.world.mount->begin().value();
        f.put(tx, 20, 1, WritePhase::inode);
        f.world.mount->epoch().note_data_written();
        tx.done();
    }
    REQUIRE(f.world.mount->sync().ok());
    CHECK(f.events == Events{"f", "w20", "f"});
    f.events.clear();
    f.world.mount->epoch().note_data_written();
    REQUIRE(f.world.mount->sync().ok());
    CHECK(f.events == Events{"f"});
    f.events.clear();
    REQUIRE(f.world.mount->sync().ok());
    CHECK(f.events.empty());
}

TEST_CASE("order() holds within the directory phase, and refuses a circle") {
    Fixture f;
    Buf a = f.block(5), b = f.block(4), c = f.block(3);
    {
        Transaction tx = f.world.mount->begin().value();
        REQUIRE(tx.order(a, b).ok());
        REQUIRE(tx.order(b, c).ok());
        REQUIRE(tx.order(a, a).ok());
        CHECK(tx.order(c, a).error() == Errno::again);
        for (Buf* buf : {&a, &b, &c}) tx.modify(*buf, 0, 1, WritePhase::directory);
        tx.done();
    }
    REQUIRE(f.world.mount->sync().ok());
    CHECK(f.events == Events{"w5", "f", "w4", "f", "w3", "f"});
    // After the commit the opposite order is free.
    Transaction tx = f.world.mount->begin().value();
    CHECK(tx.order(c, a).ok());
    tx.done();
}

TEST_CASE("what a commit frees is usable after it, and sync writes that too") {
    Fixture f;
    auto rounds = std::make_shared<int>(0); // the unmount commits, too
    f.world.mount->on_committed = [&f, rounds](Transaction& tx) {
        if ((*rounds)++ == 0) f.put(tx, 30, 0, WritePhase::allocation);
    };
    {
        Transaction tx = f.world.mount->begin().value();
        f.put(tx, 20, 1, WritePhase::inode);
        tx.done();
    }
    REQUIRE(f.world.mount->sync().ok());
    CHECK(f.events == Events{"w20", "f", "w30", "f"});
}

TEST_CASE("a failed write is reported, and stops writing") {
    Fixture f;
    f.device->fail_writes = true;
    {
        Transaction tx = f.world.mount->begin().value();
        f.put(tx, 20, 7, WritePhase::inode);
        tx.done();
    }
    CHECK(f.world.mount->sync().error() == Errno::io);
    CHECK(f.world.mount->tainted());
    CHECK_FALSE(f.world.mount->begin().ok());
    CHECK(f.block(20).bytes()[0] == std::byte{7}); // still what was promised
    CHECK(f.world.kernel.unmount(*f.world.mount, false).error() == Errno::io);
}

TEST_CASE(
    "while the host is full nothing is lost, and the next commit writes it in the same order") {
    for (int room : {0, 1, 2, 3}) {
        INFO("room for " << room << " writes");
        Fixture f;
        Buf a = f.block(5), b = f.block(4);
        {
            Transaction tx = f.world.mount->begin().value();
            REQUIRE(tx.order(a, b).ok());
            for (Buf* buf : {&a, &b})
                tx.modify(*buf, 0, 1, WritePhase::directory)[0] = std::byte{1};
            f.put(tx, 20, 1, WritePhase::inode);
            f.put(tx, 30, 1, WritePhase::allocation);
            tx.done();
        }
        f.world.mount->epoch().note_data_written();
        f.device->full_after = room;
        for (int i = 0; i < 3; ++i) CHECK(f.world.mount->sync().error() == Errno::nospc);
        CHECK_FALSE(f.world.mount->tainted());
        {
            Transaction tx = f.world.mount->begin().value();
            f.put(tx, 30, 2, WritePhase::allocation);
            f.put(tx, 20, 2, WritePhase::allocation); // a lower phase than before
            CHECK(tx.order(b, a).error() == Errno::again);
            tx.done();
        }
        f.device->full_after = -1;
        f.events.clear();
        REQUIRE(f.world.mount->sync().ok());
        CHECK(f.events == Events{"w30", "f", "w20", "f", "w5", "f", "w4", "f"});
        CHECK(f.block(20).bytes()[0] == std::byte{2});
    }
}

TEST_CASE("after a commit that found the host full, a newer order of two blocks counts") {
    Fixture f;
    Buf a = f.block(5), b = f.block(4);
    const auto change = [&](Buf& first, Buf& then) {
        Transaction tx = f.world.mount->begin().value();
        REQUIRE(tx.order(first, then).ok());
        for (Buf* buf : {&a, &b}) tx.modify(*buf, 0, 1, WritePhase::directory);
        tx.done();
    };
    change(a, b);
    f.device->full_after = 0;
    f.device->on_full = [&] { change(b, a); }; // in the next epoch, while this one is written
    CHECK(f.world.mount->sync().error() == Errno::nospc);
    f.device->full_after = -1;
    REQUIRE(f.world.mount->sync().ok());
    CHECK(f.events == Events{"w4", "f", "w5", "f"});
}

TEST_CASE("a failed read is an error of those who wanted the block, not of the next") {
    Fixture f;
    f.device->fail_reads = true;
    CHECK(f.world.mount->buffers().read(8192, 4096).error() == Errno::io);
    f.device->fail_reads = false;
    CHECK(f.world.mount->buffers().read(8192, 4096).ok());
    CHECK(f.world.mount->buffers().read(16u << 20, 512).error() == Errno::uclean);
    CHECK(f.world.mount->buffers().read(UINT64_MAX - 511, 512).error() == Errno::uclean);
}

TEST_CASE("a block grows with its contents when nobody holds it, and is refused when held") {
    Fixture f;
    BufferCache& cache = f.world.mount->buffers();
    {
        Buf small = cache.read(40960, 1024).value();
        Transaction tx = f.world.mount->begin().value();
        tx.modify(small, 0, 1, WritePhase::directory)[0] = std::byte{42};
        tx.done();
        CHECK(cache.read(40960, 4096).error() == Errno::uclean);
    }
    Buf big = cache.read(40960, 4096).value();
    CHECK(big.size() == 4096);
    CHECK(big.bytes()[0] == std::byte{42});
    CHECK(cache.read(40960, 1024)->size() == 4096);
    REQUIRE(f.world.mount->sync().ok());
    CHECK(f.events == Events{"w10", "f"});
}

TEST_CASE("a forgotten block is not written") {
    Fixture f;
    {
        Transaction tx = f.world.mount->begin().value();
        f.put(tx, 20, 1, WritePhase::directory);
        f.put(tx, 21, 1, WritePhase::directory);
        tx.done();
    }
    f.world.mount->buffers().forget(20 * 4096, 4096);
    REQUIRE(f.world.mount->sync().ok());
    CHECK(f.events == Events{"w21", "f"});
}

TEST_CASE("the buffer cache keeps to its limit") {
    std::vector<std::string> events;
    MountOptions options;
    options.cache_bytes = 64 * 4096;
    BlockWorld world(host::make_memory_device(64u << 20), options);
    for (uint64_t n = 0; n < 4096; ++n) REQUIRE(world.mount->buffers().read(n * 4096, 4096).ok());
    CHECK(world.mount->buffers().cached_bytes() <= 80 * 4096);
    for (uint64_t n = 0; n < 1024; ++n) { // dirty ones are committed in time
        Transaction tx = world.mount->begin().value();
        Buf buf = world.mount->buffers().read(n * 4096, 4096).value();
        tx.modify(buf, 0, 1, WritePhase::inode)[0] = std::byte{1};
        tx.done();
    }
    CHECK(world.mount->buffers().dirty_bytes() <= 33 * 4096);
    CHECK(world.mount->buffers().cached_bytes() <= 120 * 4096);
}

TEST_CASE("transactions of many threads and commits: each commit sees whole transactions") {
    // Every transaction adds one to a number in two blocks; on the device they must be equal after
    // each commit.
    constexpr unsigned threads = 4;
    auto device = host::make_memory_device(16u << 20);
    host::BlockDevice& raw = *device;
    BlockWorld world(std::move(device));
    std::vector<host::Thread> running;
    for (unsigned t = 0; t < threads; ++t)
        running.push_back(
            host::Thread::start("writer", [&world, t] {
                for (int i = 0; i < 500; ++i) {
                    Transaction tx = world.mount->begin().value();
                    for (uint64_t n : {0u, 1u}) {
                        Buf buf = world.mount->buffers().read((t * 2 + n) * 4096, 4096).value();
                        auto& number = *reinterpret_cast<uint32_t*>(
                            tx.modify(buf, 0, 4, WritePhase::inode).data());
                        ++number;
                    }
                    if (i % 7 != 0) tx.done();
                }
            }).release_value());
    for (int round = 0; round < 50; ++round) {
        REQUIRE(world.mount->epoch().commit().ok());
        for (unsigned t = 0; t < threads; ++t) {
            uint32_t both[2];
            for (int n : {0, 1})
                REQUIRE(raw.read((t * 2 + n) * 4096, std::as_writable_bytes(std::span(&both[n], 1)))
                            .ok());
            CHECK(both[0] == both[1]);
        }
    }
    running.clear();
    REQUIRE(world.mount->sync().ok());
    uint32_t last = 0;
    REQUIRE(raw.read(0, std::as_writable_bytes(std::span(&last, 1))).ok());
    CHECK(last == 500 - 72);
}
