// Life cycle of vnodes, and the name cache.
#include "tests/unit/block_mount.h"

#include "hostshim/thread.h"

#include <catch2/catch.hpp>

#include <thread>

using namespace rump;
using namespace rump::test;

namespace {
InodeNumber number(uint64_t n) { return InodeNumber(n); }
BlockMount::Node& node(const VnodeRef& ref) { return static_cast<BlockMount::Node&>(*ref); }
Name name(std::string_view text) { return Name::from(text).value(); }
} // namespace

TEST_CASE("one number, one vnode") {
    BlockWorld world(host::make_memory_device(1 << 20));
    VnodeRef a = world.mount->vget(number(5)).value();
    VnodeRef b = world.mount->vget(number(5)).value();
    CHECK(a == b);
    CHECK(world.mount->vnodes().active() == 1);
    a.reset();
    b.reset();
    CHECK(world.mount->vnodes().active() == 0);
    CHECK(world.mount->vnodes().cached() == 1);
    CHECK(world.mount->inactivated == 0);
    CHECK(world.mount->vget(number(2'000'000)).error() == Errno::stale);
    CHECK(world.mount->from_handle({number(5), 8}).error() == Errno::stale);
    CHECK(world.mount->from_handle({number(5), 7}).ok());
}

TEST_CASE("one thread at a time loads a number, and nobody loads what another one takes apart") {
    constexpr unsigned numbers = 4;
    BlockWorld world(host::make_memory_device(1 << 20));
    std::atomic<int> loading[numbers] = {};
    std::atomic<bool> crowded{false};
    world.mount->on_load = [&](InodeNumber n) {
        if (loading[n.value()].fetch_add(1) != 0) crowded = true;
        std::this_thread::yield();
        loading[n.value()].fetch_sub(1);
    };
    std::vector<host::Thread> threads;
    for (unsigned t = 0; t < 4; ++t)
        threads.push_back(host::Thread::start("vget", [&] {
                              for (unsigned i = 0; i < 20'000; ++i) {
                                  auto got = world.mount->vget(number(i % numbers));
                                  if (got) node(*got).gone = i % 7 == 0;
                              }
                          }).value());
    for (auto& thread : threads) thread.join();
    CHECK_FALSE(crowded);
    CHECK(world.mount->inactivated > 0);
    CHECK(world.mount->vnodes().active() == 0);
}

TEST_CASE("an unlinked file goes with its last reference, and only then") {
    BlockWorld world(host::make_memory_device(1 << 20));
    VnodeRef a = world.mount->vget(number(5)).value();
    VnodeRef b = a;
    node(a).gone = true;
    a.reset();
    CHECK(world.mount->inactivated == 0);
    b.reset();
    CHECK(world.mount->inactivated == 1);
    CHECK(world.mount->alive == 0);
}

TEST_CASE("unreferenced vnodes are kept up to the limit, dirty ones always") {
    MountOptions options;
    options.vnode_limit = 64;
    BlockWorld world(host::make_memory_device(1 << 20), options);
    node(world.mount->vget(number(1)).value()).is_dirty = true;
    VnodeRef held = world.mount->vget(number(2)).value();
    for (uint64_t n = 3; n < 5000; ++n) REQUIRE(world.mount->vget(number(n)).ok());
    CHECK(world.mount->vnodes().cached() < 64 + 32);
    CHECK(held->number() == number(2));
    const auto loads = world.mount->vnodes().loads.value();
    CHECK(world.mount->vget(number(1)).ok());
    CHECK(world.mount->vnodes().loads.value() == loads);
}

TEST_CASE("an unmount is refused while a vnode is in use") {
    BlockWorld world(host::make_memory_device(1 << 20));
    VnodeRef held = world.mount->vget(number(5)).value();
    CHECK(world.kernel.unmount(*world.mount, false).error() == Errno::busy);
    CHECK(world.kernel.unmount(*world.mount, true).ok());
    CHECK(world.mount->dead());
    CHECK(world.mount->sync().error() == Errno::io);
    held.reset();
}

TEST_CASE("references from many threads: every unlinked vnode is taken apart once") {
    constexpr uint64_t files = 64;
    MountOptions options;
    options.vnode_limit = 32;
    BlockWorld world(host::make_memory_device(1 << 20), options);
    std::atomic<uint64_t> unlinked{0};
    {
        std::vector<host::Thread> threads;
        for (unsigned t = 0; t < 4; ++t)
            threads.push_back(host::Thread::start("user", [&, t] {
                                  uint64_t x = t + 1;
                                  for (int i = 0; i < 5000; ++i) {
                                      x = x * 6364136223846793005ull + 1442695040888963407ull;
                                      auto ref = world.mount->vget(number(1 + (x >> 33) % files));
                                      if (!ref) continue; // on its way out
                                      VnodeRef copy = *ref;
                                      if ((x >> 20) % 16 == 0 && !node(copy).gone.exchange(true))
                                          unlinked.fetch_add(1);
                                  }
                              }).release_value());
    }
    CHECK(world.mount->vnodes().active() == 0);
    CHECK(static_cast<uint64_t>(world.mount->inactivated.load()) == unlinked.load());
}

TEST_CASE("the name cache answers what it was told, per directory and generation") {
    BlockWorld world(host::make_memory_device(1 << 20));
    NameCache& names = world.mount->names();
    VnodeRef dir = world.mount->vget(number(2)).value();
    VnodeRef other = world.mount->vget(number(3)).value();
    using Kind = NameCache::Answer::Kind;
    CHECK(names.find(*dir, name("a")).kind == Kind::unknown);
    names.enter(*dir, name("a"), number(77));
    names.enter_negative(*dir, name("b"));
    CHECK(names.find(*dir, name("a")).kind == Kind::positive);
    CHECK(names.find(*dir, name("a")).number == number(77));
    CHECK(names.find(*dir, name("b")).kind == Kind::negative);
    CHECK(names.find(*other, name("a")).kind == Kind::unknown);
    names.enter_negative(*dir, name("a"));
    CHECK(names.find(*dir, name("a")).kind == Kind::negative);
    names.remove(*dir, name("a"));
    CHECK(names.find(*dir, name("a")).kind == Kind::unknown);
    BlockMount::Node reborn(*world.mount, number(2), 8);
    CHECK(names.find(reborn, name("b")).kind == Kind::unknown);
    const std::string fits(NameCache::longest, 'x'), too_long(NameCache::longest + 1, 'x');
    names.enter(*dir, name(fits), number(1));
    names.enter(*dir, name(too_long), number(1));
    CHECK(names.find(*dir, name(fits)).kind == Kind::positive);
    CHECK(names.find(*dir, name(too_long)).kind == Kind::unknown);
}

TEST_CASE("the name cache forgets some when it is full, never the wrong answer") {
    MountOptions options;
    options.name_limit = 256;
    BlockWorld world(host::make_memory_device(1 << 20), options);
    VnodeRef dir = world.mount->vget(number(2)).value();
    for (uint64_t i = 0; i < 10000; ++i)
        world.mount->names().enter(*dir, name("file" + std::to_string(i)), number(i + 1));
    uint64_t found = 0;
    for (uint64_t i = 0; i < 10000; ++i) {
        auto answer = world.mount->names().find(*dir, name("file" + std::to_string(i)));
        if (answer.kind == NameCache::Answer::Kind::unknown) continue;
        CHECK(answer.number == number(i + 1));
        ++found;
    }
    CHECK(found > 100);
    CHECK(found <= 256);
}
