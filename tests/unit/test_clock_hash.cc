// The table under the caches of blocks and vnodes.
#include "hostshim/clock_hash.h"

#include <catch2/catch.hpp>

#include <deque>
#include <set>

namespace {

struct Item {
    explicit Item(uint64_t key) : key(key) {}
    const uint64_t key;
    rump::host::ClockLinks<Item> links;
};
struct Member {
    static rump::host::ClockLinks<Item>& links(Item& item) { return item.links; }
    static uint64_t key(const Item& item) { return item.key; }
};
using Table = rump::host::ClockHash<Item, Member>;

} // namespace

TEST_CASE("what is in a clock hash is found by its key, what was removed is not") {
    std::deque<Item> items;
    Table table;
    CHECK(table.find(0) == nullptr);
    for (uint64_t key = 0; key < 1000; ++key) table.insert(items.emplace_back(key * 4096));
    CHECK(table.size() == 1000);
    for (Item& item : items) REQUIRE(table.find(item.key) == &item);
    for (size_t i = 0; i < items.size(); i += 2) table.remove(items[i]);
    CHECK(table.size() == 500);
    for (size_t i = 0; i < items.size(); ++i)
        REQUIRE(table.find(items[i].key) == (i % 2 ? &items[i] : nullptr));
}

TEST_CASE("of two items with one key the newer one is found, also when the table has grown") {
    std::deque<Item> items;
    Table table;
    Item old(7), young(7);
    table.insert(old);
    table.insert(young);
    for (uint64_t key = 100; key < 300; ++key) table.insert(items.emplace_back(key));
    CHECK(table.find(7) == &young);
    table.remove(young);
    CHECK(table.find(7) == &old);
}

TEST_CASE("the hand of a clock hash passes every item once a round, the newest last") {
    std::deque<Item> items;
    Table table;
    CHECK(table.tick() == nullptr);
    for (uint64_t key = 0; key < 20; ++key) table.insert(items.emplace_back(key));
    for (uint64_t key = 0; key < 5; ++key) CHECK(table.tick()->key == key);
    Item late(100);
    table.insert(late);
    std::vector<uint64_t> seen;
    for (size_t n = table.size(); n > 0; --n) seen.push_back(table.tick()->key);
    CHECK(seen.front() == 5);
    CHECK(seen.back() == 100);
    CHECK(std::set<uint64_t>(seen.begin(), seen.end()).size() == 21);

    table.remove(items[5]); // under the hand: it moves on
    CHECK(table.tick()->key == 6);
}

TEST_CASE("items may leave a clock hash while each of them is visited") {
    std::deque<Item> items;
    Table table;
    for (uint64_t key = 0; key < 10; ++key) table.insert(items.emplace_back(key));
    size_t visited = 0;
    table.each([&](Item& item) {
        ++visited;
        if (item.key % 3 == 0) table.remove(item);
    });
    CHECK(visited == 10);
    CHECK(table.size() == 6);
    table.each([&](Item& item) { table.remove(item); });
    CHECK(table.size() == 0);
    CHECK(table.tick() == nullptr);
}
