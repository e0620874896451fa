// The anchor that keeps a busy client beside the thread that serves it, and what it needs to know
// of CPUs.
#include "p2k/anchor.h"
#include "p2k/cpus.h"
#include "tests/unit/skipped.h"

#include <catch2/catch.hpp>
#include <sched.h>
#include <unistd.h>

using namespace rump::p2k;
using rump::test::skipped;

namespace {

constexpr uint64_t endless = 3'600'000'000'000;

/// What an anchor is told of the machine: this thread, its own, and these.
unsigned others_running = 0;
const Anchor* counted_anchor = nullptr;
std::optional<unsigned> count_running() {
    return 1 + (counted_anchor->held() ? 1u : 0u) + others_running;
}

/// Anchors are for machines of two CPUs: a larger one is made one for the length of a test.
class TwoCpus {
public:
    TwoCpus() : before_(allowed_cpus()) {
        if (before_.size() > 2) bind_to({before_[0], before_[1]});
    }
    ~TwoCpus() { bind_to(before_); }
    TwoCpus(const TwoCpus&) = delete;
    TwoCpus& operator=(const TwoCpus&) = delete;
    explicit operator bool() const { return before_.size() >= 2; }

private:
    const std::vector<unsigned> before_;
};

struct Counted {
    explicit Counted(const Anchor& anchor) {
        counted_anchor = &anchor;
        others_running = 0;
    }
};

/// Requests of a client until it counts as busy; 0: it never does.
unsigned requests_until_busy(Anchor& anchor, uint32_t client) {
    for (unsigned n = 1; n <= 1000; ++n)
        if (anchor.note(client)) return n;
    return 0;
}

} // namespace

TEST_CASE("a thread is found on the CPU to which it was bound") {
    const auto before = allowed_cpus();
    REQUIRE(!before.empty());
    CHECK(before.back() < possible_cpus());
    for (unsigned cpu : before) {
        REQUIRE(bind_to({cpu}));
        CHECK(::sched_getcpu() == static_cast<int>(cpu));
        CHECK(cpu_of(static_cast<uint32_t>(::gettid())) == cpu);
    }
    REQUIRE(bind_to(before));
    CHECK(allowed_cpus() == before);
    CHECK(!cpu_of(0x7fffffff));
}

TEST_CASE("an anchor is held for one client that keeps asking, until another one comes") {
    const TwoCpus cpus;
    if (!cpus) return skipped("needs two CPUs");
    Anchor anchor(endless, count_running);
    const Counted counted(anchor);
    REQUIRE(anchor.start().ok());
    CHECK(requests_until_busy(anchor, 7) > 16);
    CHECK(!anchor.note(8));
    CHECK(!anchor.held());
    CHECK(!anchor.note(7));
    for (int i = 0; i < 100; ++i) { // two at once are nobody to stay with
        CHECK(!anchor.note(7));
        CHECK(!anchor.note(8));
    }
    anchor.stop();
}

TEST_CASE("an anchor gives way while others want to run") {
    const TwoCpus cpus;
    if (!cpus) return skipped("needs two CPUs");
    Anchor anchor(endless, count_running);
    const Counted counted(anchor);
    REQUIRE(anchor.start().ok());
    const auto settle = [&](bool wanted) {
        while (anchor.note(7) != wanted) {
        }
        CHECK(anchor.held() == wanted);
    };
    settle(true);
    others_running = 1; // the client, which has not gone to sleep yet: now and then it is seen
    for (int n = 0; n < 100'000; ++n) REQUIRE(anchor.note(7));
    others_running = 2;
    settle(false);
    others_running = 0;
    settle(true);
    anchor.stop();
}

TEST_CASE("an anchor is let go when its client is quiet") {
    const TwoCpus cpus;
    if (!cpus) return skipped("needs two CPUs");
    Anchor anchor(1'000'000, count_running);
    const Counted counted(anchor);
    REQUIRE(anchor.start().ok());
    // Another process may keep this one from being quick enough.
    while (requests_until_busy(anchor, 7) == 0) {
    }
    while (anchor.held()) ::sched_yield();
    CHECK(!anchor.note(7));
}

TEST_CASE("without polling there is no anchor") {
    Anchor anchor(0, count_running);
    const Counted counted(anchor);
    REQUIRE(anchor.start().ok());
    CHECK(requests_until_busy(anchor, 7) == 0);
    CHECK(!anchor.held());
}

TEST_CASE("a thread follows a client to its CPU and is free again afterwards") {
    const auto before = allowed_cpus();
    Tether tether;
    CHECK(!tether.tied());
    tether.follow(static_cast<uint32_t>(::gettid()));
    CHECK(tether.tied());
    CHECK(allowed_cpus().size() == 1);
    tether.release();
    CHECK(!tether.tied());
    CHECK(allowed_cpus() == before);
    tether.follow(0x7fffffff); // a client that we cannot see
    CHECK(!tether.tied());
}
