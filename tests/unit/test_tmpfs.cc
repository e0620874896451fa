// The parts of tmpfs that know no vnodes: pages, entries, attributes, nodes, and the budget that
// all of them are charged to.
#include "kernel/fs/tmpfs/inode.h"

#include "hostshim/random.h"

#include <catch2/catch.hpp>

#include <cstring>
#include <map>
#include <set>

using namespace rump;
using namespace rump::tmpfs;

namespace {

Name name(std::string_view text) { return *Name::from(text); }

std::vector<std::byte> bytes(size_t n, int fill) {
    return std::vector<std::byte>(n, static_cast<std::byte>(fill));
}

/// A page index: mostly near others, sometimes as far out as a file can be.
uint64_t random_page(host::Random& random) {
    const uint64_t spread[] = {1, 3, 64, 70, 4096, 5000, 1u << 20, uint64_t{1} << 51};
    return random.below(spread[random.below(std::size(spread))]);
}

} // namespace

TEST_CASE("a page tree holds what a map of pages would hold", "[tmpfs]") {
    const uint64_t seed = GENERATE(1u, 2u, 3u, 4u, 5u, 6u);
    host::SeededRandom random(seed);
    Budget budget(Budget::unlimited, Budget::unlimited);
    std::map<uint64_t, unsigned char> model;
    {
        PageTree tree(budget);
        for (int step = 0; step < 3000; ++step) {
            const uint64_t page = random_page(random);
            if (random.below(4) != 0) {
                const auto fill = static_cast<unsigned char>(random.below(255) + 1);
                auto made = tree.make(page, false);
                REQUIRE(made.ok());
                if (!model.contains(page)) CHECK((*made)[100] == std::byte{0});
                std::memset(*made, fill, page_size);
                model[page] = fill;
            } else {
                const uint64_t end = random.below(8) == 0 ? UINT64_MAX : page + random.below(200);
                tree.erase(page, end);
                model.erase(model.lower_bound(page), model.lower_bound(end));
            }
            const uint64_t probe = random_page(random);
            const auto next = model.lower_bound(probe);
            const auto found = tree.next_page(probe);
            REQUIRE(found.has_value() == (next != model.end()));
            if (found) CHECK(*found == next->first);
            const std::byte* there = tree.find(probe);
            REQUIRE((there != nullptr) == model.contains(probe));
            if (there != nullptr) CHECK(static_cast<int>(there[4095]) == model[probe]);
        }
        CHECK(tree.count() == model.size());
        uint64_t at = 0;
        for (const auto& [page, fill] : model) {
            REQUIRE(tree.next_page(at) == page);
            CHECK(static_cast<int>(*tree.find(page)) == fill);
            at = page + 1;
        }
    }
    CHECK(budget.bytes() == 0);
}

TEST_CASE("a page that the budget refuses leaves the tree as it was", "[tmpfs]") {
    Budget budget(3 * page_size, 10);
    PageTree tree(budget);
    REQUIRE(tree.make(0, false).ok());
    REQUIRE(tree.make(1, false).ok());
    const uint64_t used = budget.bytes();
    CHECK(tree.make(uint64_t{1} << 50, false).error() == Errno::nospc); // the tables do not fit
    CHECK(budget.bytes() == used);
    CHECK(tree.count() == 2);
    CHECK(tree.next_hole(0) == 2);
    tree.clear();
    CHECK(budget.bytes() == 0);
    CHECK(tree.make(0, false).ok());
}

TEST_CASE("a directory finds a hundred thousand names, and gives their room back", "[tmpfs]") {
    Budget budget(Budget::unlimited, Budget::unlimited);
    Directory dir(budget, 42, InodeNumber(2));
    for (uint64_t i = 0; i < 100'000; ++i)
        REQUIRE(
            dir.insert(name("file" + std::to_string(i)), InodeNumber(i + 3), FileType::reg).ok());
    CHECK(dir.find(name("file77777"))->number == InodeNumber(77'780));
    CHECK(dir.find(name("file100000")) == nullptr);
    CHECK(dir.find(name("file")) == nullptr);
    for (uint64_t i = 0; i < 100'000; ++i) dir.erase(dir.find(name("file" + std::to_string(i))));
    CHECK(dir.empty());
    CHECK(dir.at_or_after(0) == nullptr);
    CHECK(budget.bytes() == 0);
}

TEST_CASE("a reader sees each entry that stays exactly once while others come and go", "[tmpfs]") {
    host::SeededRandom random(GENERATE(7u, 8u, 9u));
    Budget budget(Budget::unlimited, Budget::unlimited);
    Directory dir(budget, 1, InodeNumber(2));
    for (int i = 0; i < 1000; ++i)
        REQUIRE(dir.insert(name("stays" + std::to_string(i)), InodeNumber(9), FileType::reg).ok());
    std::multiset<std::string> seen;
    int fresh = 0;
    std::vector<std::string> passing;
    uint64_t cookie = 0;
    for (const Entry* entry = dir.at_or_after(cookie); entry != nullptr && seen.size() < 100'000;
         entry = dir.at_or_after(cookie)) {
        if (entry->name().starts_with("stays")) seen.insert(std::string(entry->name()));
        cookie = entry->cookie + 1;
        if (fresh < 3000) {
            passing.push_back("passes" + std::to_string(fresh++));
            REQUIRE(dir.insert(name(passing.back()), InodeNumber(9), FileType::reg).ok());
        }
        while (!passing.empty() && random.below(2) == 0) {
            const size_t which = random.below(passing.size());
            dir.erase(dir.find(name(passing[which])));
            passing.erase(passing.begin() + static_cast<ptrdiff_t>(which));
        }
    }
    CHECK(seen.size() == 1000);
    CHECK(std::set<std::string>(seen.begin(), seen.end()).size() == 1000);
}

TEST_CASE("extended attributes are charged for what they hold", "[tmpfs]") {
    Budget budget(2000, 10);
    {
        XattrStore xattrs(budget);
        REQUIRE(xattrs.set("user.a", bytes(500, 1), XattrSet::any).ok());
        const uint64_t used = budget.bytes();
        CHECK(xattrs.set("user.a", bytes(3000, 2), XattrSet::any).error() == Errno::nospc);
        CHECK(xattrs.set("user.b", bytes(1900, 2), XattrSet::any).error() == Errno::nospc);
        CHECK(budget.bytes() == used);
        std::vector<std::byte> out(500);
        REQUIRE(*xattrs.get("user.a", out) == 500);
        CHECK(out == bytes(500, 1));
        CHECK(xattrs.get("user.a", std::span(out).first(499)).error() == Errno::range);
        REQUIRE(xattrs.set("user.a", bytes(10, 3), XattrSet::replace).ok());
        CHECK(budget.bytes() == used - 490);
        CHECK(xattrs.set("user.a", {}, XattrSet::create).error() == Errno::exist);
        CHECK(xattrs.set("user.c", {}, XattrSet::replace).error() == Errno::nodata);
        CHECK(xattrs.set("system.other", {}, XattrSet::any).error() == Errno::opnotsupp);
        CHECK(xattrs.set("user.", {}, XattrSet::any).error() == Errno::inval);
        REQUIRE(xattrs.set("user.b", {}, XattrSet::any).ok());
        REQUIRE(xattrs.remove("user.a").ok());
        CHECK(xattrs.remove("user.a").error() == Errno::nodata);
    }
    CHECK(budget.bytes() == 0);
}

TEST_CASE("the node table never gives a number twice and keeps nr_inodes", "[tmpfs]") {
    Budget budget(Budget::unlimited, 2000);
    NodeTable table(budget, 5);
    NodeRef root = *table.make({.type = FileType::dir}, InodeNumber(NodeTable::root_number));
    CHECK(root->number == InodeNumber(NodeTable::root_number));
    std::set<uint64_t> numbers;
    host::SeededRandom random(3);
    std::vector<NodeRef> live;
    for (int step = 0; step < 20'000; ++step) {
        if (live.empty() || random.below(5) < 3) {
            auto made = table.make({.type = FileType::reg}, InodeNumber(2 + random.below(3)));
            if (budget.nodes() == 2000 && !made.ok()) {
                CHECK(made.error() == Errno::nospc);
            } else {
                REQUIRE(made.ok());
                CHECK(numbers.insert((*made)->number.value()).second);
                live.push_back(*made);
                continue;
            }
        }
        const size_t which = random.below(live.size());
        const InodeNumber number = live[which]->number;
        REQUIRE(table.find(number).get() == live[which].get());
        table.free(*live[which]);
        table.free(*live[which]); // once is enough
        CHECK(!table.find(number));
        live.erase(live.begin() + static_cast<ptrdiff_t>(which));
    }
    for (const NodeRef& node : live) CHECK(table.find(node->number).get() == node.get());
    CHECK(budget.nodes() == live.size() + 1);
    for (const NodeRef& node : live) table.free(*node);
    table.free(*root);
    CHECK(budget.nodes() == 0);
    CHECK(budget.bytes() == 0);
}
