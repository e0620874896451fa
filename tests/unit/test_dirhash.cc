// Directory hashes against a model, and the memory limit over them.
#include "kernel/vfs/dirhash.h"

#include "hostshim/random.h"
#include "hostshim/thread.h"

#include <catch2/catch.hpp>

#include <map>
#include <set>
#include <string>

using namespace rump;

namespace {

std::set<uint32_t> all_of(const DirHash& hash, uint32_t value) {
    std::set<uint32_t> found;
    hash.find(value, [&](uint32_t offset) {
        CHECK(found.insert(offset).second);
        return false;
    });
    return found;
}

} // namespace

TEST_CASE("a directory hash finds what was added and not removed") {
    DirHashPool pool(64 << 20);
    DirHashPool::Handle handle;
    auto hash = pool.make(handle);
    REQUIRE(hash);
    host::SeededRandom random(GENERATE(1u, 2u, 3u));
    std::map<uint32_t, std::set<uint32_t>> model;
    std::map<uint32_t, uint32_t> hash_at; // offset -> hash
    for (int step = 0; step < 20000; ++step) {
        uint32_t value = static_cast<uint32_t>(random.below(500)) * 0x10001;
        uint32_t offset = static_cast<uint32_t>(random.below(4000)) * 8;
        auto there = hash_at.find(offset);
        if (there == hash_at.end()) {
            hash->add(value, offset);
            model[value].insert(offset);
            hash_at[offset] = value;
        } else if (random.below(3) == 0) {
            uint32_t to = static_cast<uint32_t>(random.below(4000)) * 8;
            if (hash_at.contains(to)) continue;
            hash->move(there->second, offset, to);
            model[there->second].erase(offset);
            model[there->second].insert(to);
            hash_at[to] = there->second;
            hash_at.erase(offset);
        } else {
            hash->remove(there->second, offset);
            model[there->second].erase(offset);
            hash_at.erase(there);
        }
        if (step % 100 == 0) REQUIRE(all_of(*hash, value) == model[value]);
    }
    REQUIRE(hash->entries() == hash_at.size());
    for (auto& [value, offsets] : model) REQUIRE(all_of(*hash, value) == offsets);
    CHECK(hash->find(0, [](uint32_t) { return true; }) == !model[0].empty());
    CHECK(all_of(*hash, 0x12345678).empty());
    hash->remove(0x12345678, 0); // what was never there
    CHECK(hash->entries() == hash_at.size());
}

TEST_CASE("the first block with room is found") {
    DirHashPool pool(1 << 20);
    DirHashPool::Handle handle;
    auto hash = pool.make(handle);
    CHECK_FALSE(hash->find_room(1));
    CHECK(hash->room(77) == 0);
    host::SeededRandom random(5);
    std::vector<uint32_t> model(300);
    for (int step = 0; step < 5000; ++step) {
        uint32_t block = static_cast<uint32_t>(random.below(model.size()));
        model[block] = static_cast<uint32_t>(random.below(4096));
        hash->set_room(block, model[block]);
        uint32_t need = static_cast<uint32_t>(random.below(4200)) + 1;
        std::optional<uint32_t> expected;
        for (uint32_t b = 0; b < model.size() && !expected; ++b)
            if (model[b] >= need) expected = b;
        REQUIRE(hash->find_room(need) == expected);
        REQUIRE(hash->room(block) == model[block]);
    }
    hash->set_room(250, 65536);
    hash->truncate(250);
    CHECK_FALSE(hash->find_room(65536));
    CHECK(hash->room(250) == 0);
}

TEST_CASE("the oldest hashes go when memory is short") {
    DirHashPool pool(64 << 10);
    std::vector<DirHashPool::Handle> handles(40);
    for (auto& handle : handles) {
        auto hash = pool.make(handle);
        for (uint32_t i = 0; i < 300; ++i) hash->add(i, i * 16);
    }
    CHECK(pool.bytes() <= 64 << 10);
    CHECK_FALSE(handles.front().get());
    CHECK(handles.back().get());
    CHECK(pool.revoked.value() > 0);

    SECTION("one that is too big takes itself back, and stays whole while in use") {
        auto hash = pool.make(handles[0]);
        for (uint32_t i = 0; i < 100000; ++i) hash->add(i, i * 16);
        CHECK_FALSE(handles[0].get());
        CHECK(all_of(*hash, 99999).size() == 1);
        hash = {};
        CHECK(pool.bytes() <= 64 << 10);
    }
    handles.clear();
    CHECK(pool.bytes() == 0);
}

TEST_CASE("hashes are taken back while others use theirs") {
    DirHashPool pool(32 << 10);
    DirHashPool::Handle handles[4];
    auto body = [&pool](DirHashPool::Handle& handle) {
        for (int round = 0; round < 200; ++round) {
            auto hash = handle.get();
            if (!hash) hash = pool.make(handle);
            uint32_t base = static_cast<uint32_t>(hash->entries());
            for (uint32_t i = base; i < base + 100; ++i) hash->add(i, i);
            if (!hash->find(base, [&](uint32_t offset) { return offset == base; })) return false;
        }
        return true;
    };
    std::atomic<int> right{0};
    {
        std::vector<host::Thread> threads;
        for (auto& handle : handles)
            threads.push_back(host::Thread::start("dirhash", [&] {
                                  right += body(handle) ? 1 : 0;
                              }).release_value());
    }
    CHECK(right == 4);
    for (auto& handle : handles) handle.drop();
    CHECK(pool.bytes() == 0);
}

TEST_CASE("names that differ a little hash differently") {
    std::set<uint32_t> seen;
    for (int i = 0; i < 10000; ++i) seen.insert(DirHash::hash("file" + std::to_string(i)));
    CHECK(seen.size() > 9990);
    CHECK(DirHash::hash("a") != DirHash::hash(std::string_view("a\0", 2)));
}
