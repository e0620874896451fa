// Building crash states and judging them.
#include "tests/crash/explorer.h"

#include "hostshim/memory_device.h"
#include "hostshim/overlay_device.h"
#include "hostshim/recording_device.h"
#include "hostshim/thread.h"
#include "tests/crash/session.h"
#include "tests/support/tree_walk.h"
#include "tests/support/world.h"

#include <fmt/core.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <mutex>

namespace rump::crash {

namespace {

using host::BlockDevice;
using host::RecordedEvent;
using test::lend;
using Kind = RecordedEvent::Kind;

constexpr size_t complaints_kept = 20;

/// The log is kept.
struct World : test::World {
    World()
        : test::World(
              [this](host::LogLevel, std::string_view line) { said += std::string(line) + "; "; },
              host::LogLevel::warning) {}
    ~World() { kernel.reset(); } // may still say something
    std::string said;
};

/// One state to look at: all events before `base`, of [base, cut) what the seed says.
struct State {
    size_t base;
    size_t cut;
    uint64_t seed; // 0: all of them
    uint64_t number;
};

struct Recording {
    std::vector<RecordedEvent> events;
    std::vector<Note> notes;
    bool by_session = false; // files hold what content::make() makes
    uint64_t flushes = 0, writes = 0;

    void count() {
        for (const RecordedEvent& event : events) {
            flushes += event.kind == Kind::flush;
            writes += event.kind == Kind::write;
        }
    }
};

FailureOr<Recording> record(const Subject& subject, const Options& options) {
    host::RecordingDevice recorder(host::make_memory_overlay(subject.image));
    Recording recording;
    {
        World world;
        Mount* mount = TRY(world.kernel->mount(subject.type, {lend(recorder), subject.options}));
        Session session(*mount, recorder);
        mixed_workload(session, options.seed,
                       {options.steps, subject.hard_links, subject.symlinks, subject.long_names});
        if (!session.error().empty())
            return Failure(Errno::io, session.error() + " [" + world.said + "]");
        recording.notes = session.notes();
        if (auto done = world.kernel->unmount(*mount, false); !done)
            return Failure(done.error(), "unmount after the workload");
    }
    recording.events = recorder.events();
    recording.by_session = true;
    recording.count();
    return recording;
}

std::vector<State> choose_states(const Recording& recording, const Options& options) {
    std::vector<State> states;
    std::vector<size_t> bases{0}; // behind each flush
    for (size_t i = 0; i < recording.events.size(); ++i)
        if (recording.events[i].kind == Kind::flush) bases.push_back(i + 1);
    const size_t step = bases.size() / options.flushes + 1;
    for (size_t i = 0; i < bases.size(); i += step) states.push_back({bases[i], bases[i], 0, 0});
    host::SeededRandom random(options.seed ^ 0x637261736821);
    for (uint64_t i = 0; i < options.states; ++i) {
        size_t cut = random.below(recording.events.size() + 1);
        size_t base = *std::prev(std::upper_bound(bases.begin(), bases.end(), cut));
        states.push_back({base, cut, random.next() | 1, 0});
    }
    for (size_t i = 0; i < states.size(); ++i) states[i].number = i;
    // By base, so that a worker's device only ever grows by what was flushed.
    std::stable_sort(states.begin(), states.end(),
                     [](const State& a, const State& b) { return a.base < b.base; });
    return states;
}

/// The first sectors of a write, or its last ones.
RecordedEvent tear(const RecordedEvent& event, uint32_t sector, host::Random& random) {
    uint64_t sectors = event.length / sector;
    if (sectors < 2) return event;
    RecordedEvent torn = event;
    uint64_t keep = (1 + random.below(sectors - 1)) * sector;
    if (random.below(2)) {
        torn.data.resize(keep);
    } else {
        torn.offset += event.length - keep;
        torn.data.erase(torn.data.begin(),
                        torn.data.begin() + static_cast<ptrdiff_t>(event.length - keep));
    }
    torn.length = keep;
    return torn;
}

Result<void> apply_unflushed(const Recording& recording, const State& state, BlockDevice& device) {
    host::SeededRandom random(state.seed);
    // Nearly all arrived, about half, nearly none.
    const uint64_t kept_of_eight[] = {7, 4, 1, 8};
    uint64_t kept = kept_of_eight[random.below(4)];
    size_t torn = state.base + random.below(state.cut - state.base + 1);
    for (size_t i = state.base; i < state.cut; ++i) {
        const RecordedEvent& event = recording.events[i];
        if (event.kind != Kind::write && event.kind != Kind::discard) continue;
        if (state.seed != 0 && random.below(8) >= kept) continue;
        if (state.seed != 0 && i == torn && event.kind == Kind::write)
            TRY(host::replay(tear(event, device.sector_size(), random), device));
        else
            TRY(host::replay(event, device));
    }
    return {};
}

/// What must be there after a cut at `cut`.
std::map<std::string, std::vector<Contents>> promises(const Recording& recording, size_t cut) {
    std::map<std::string, std::vector<Contents>> result;
    for (size_t i = 0; i < cut; ++i) {
        const RecordedEvent& event = recording.events[i];
        if (event.kind != Kind::mark) continue;
        const Note& note = recording.notes[event.mark];
        result[note.path] = note.allowed;
    }
    return result;
}

Result<Contents> contents_of(Mount& mount, const std::string& path) {
    auto vnode = test::at_path(mount, path);
    if (!vnode && (vnode.error() == Errno::noent || vnode.error() == Errno::notdir))
        return Contents();
    if (!vnode) return vnode.error();
    if (!(*vnode)->is_reg()) return Contents();
    auto bytes = TRY(test::read_all(**vnode));
    return Contents(std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
}

std::string describe(const Contents& contents) {
    return contents ? fmt::format("{} bytes", contents->size()) : "missing";
}

Complaint check_promises(Mount& mount,
                         const std::map<std::string, std::vector<Contents>>& promised) {
    for (auto& [path, allowed] : promised) {
        if (allowed.empty()) continue;
        auto found = contents_of(mount, path);
        if (!found) return fmt::format("{} was synced: {}", path, errno_name(found.error()));
        if (std::find(allowed.begin(), allowed.end(), *found) == allowed.end())
            return fmt::format(
                "{} was synced with {}{}, is {} now{}", path, describe(allowed.front()),
                allowed.size() > 1 ? " (or replaced)" : "", describe(*found),
                *found && allowed.front() && (*found)->size() == allowed.front()->size()
                    ? " with other contents"
                    : "");
    }
    return {};
}

using Promised = std::map<std::string, std::vector<Contents>>;

/// Mounts the device, walks it, compares, unmounts. `whole`: nothing may be wrong anywhere, not
/// only with what was synced.
Complaint look(const Subject& subject, const Recording& recording, BlockDevice& device,
               const Promised& promised, bool read_only, bool whole) {
    World world;
    MountOptions options = subject.options;
    options.read_only = read_only;
    auto mounted = world.kernel->mount(subject.type, {lend(device), options});
    if (!mounted) return "mount: " + mounted.error().text;
    Mount& mount = **mounted;
    Complaint complaint;
    test::WalkLimits limits;
    if (!recording.by_session) limits.bytes_per_file = 16u << 20; // sparse ones have any size
    auto walked =
        test::walk(mount, limits, [&](const std::string& path, Vnode& vnode, const Attr&) {
            if (!recording.by_session || !vnode.is_reg() || !whole || !complaint.empty()) return;
            auto bytes = test::read_all(vnode);
            if (bytes && !content::plausible(*bytes))
                complaint = path + " shows bytes that were never written to it";
        });
    if (complaint.empty() && whole && !walked.errors.empty()) complaint = walked.errors.front();
    if (complaint.empty()) complaint = check_promises(mount, promised);
    if (complaint.empty() && whole && mount.tainted()) complaint = "damage was found";
    auto unmounted = world.kernel->unmount(mount, false);
    if (complaint.empty() && !unmounted)
        complaint = fmt::format("unmount: {}", errno_name(unmounted.error()));
    if (!complaint.empty() && !world.said.empty()) complaint += " [" + world.said + "]";
    return complaint;
}

/// Everything that is asked of one state.
Complaint judge(const Subject& subject, const Recording& recording, const State& state,
                BlockDevice& durable) {
    auto cut = host::make_memory_overlay(durable);
    if (!apply_unflushed(recording, state, *cut)) return "cannot build the state";
    Promised promised = promises(recording, state.cut);

    if (subject.look_at_cut && state.number % 8 == 0)
        if (auto c = subject.look_at_cut(*cut); !c.empty()) return "outside: " + c;
    auto mounted = host::make_memory_overlay(*cut);
    if (auto c = look(subject, recording, *mounted, promised, false, subject.ordered); !c.empty())
        return "as it is: " + c;
    if (subject.verify_after_mount)
        if (auto c = subject.verify_after_mount(*mounted); !c.empty())
            return "after our recovery: " + c;
    if (!subject.check) return {};
    // Users check before they mount, or after; both must do.
    auto checked = host::make_memory_overlay(state.number % 2 ? *mounted : *cut);
    if (auto c = subject.check(*checked); !c.empty()) return "check: " + c;
    if (auto c = look(subject, recording, *checked, promised, true, true); !c.empty())
        return "after the check: " + c;
    return {};
}

} // namespace

std::unique_ptr<BlockDevice> poisoned(uint64_t size) {
    return host::make_memory_device(std::vector<std::byte>(size, std::byte{0xdb}));
}

namespace {

Outcome explore_states(const Subject& subject, const Recording& recording, const Options& options) {
    Outcome outcome;
    outcome.flushes = recording.flushes;
    outcome.writes = recording.writes;
    std::vector<State> states = choose_states(recording, options);
    if (options.only)
        std::erase_if(states, [&](const State& s) { return s.number != *options.only; });
    outcome.states = states.size();

    std::mutex mutex; // the complaints
    std::atomic<bool> enough{false};
    auto worker = [&](size_t first) {
        auto durable = host::make_memory_overlay(subject.image);
        size_t applied = 0;
        for (size_t i = first; i < states.size() && !enough; i += options.threads) {
            for (; applied < states[i].base; ++applied)
                (void)host::replay(recording.events[applied], *durable).ok();
            Complaint complaint = judge(subject, recording, states[i], *durable);
            if (complaint.empty()) continue;
            std::lock_guard guard(mutex);
            outcome.complaints.push_back(fmt::format("{}: seed {}, state {} (events {} to {}): {}",
                                                     subject.name, options.seed, states[i].number,
                                                     states[i].base, states[i].cut, complaint));
            enough = outcome.complaints.size() >= complaints_kept;
        }
    };
    {
        std::vector<host::Thread> threads;
        for (unsigned t = 1; t < options.threads; ++t)
            threads.push_back(
                host::Thread::start("crash", [&worker, t] { worker(t); }).release_value());
        worker(0);
    }
    return outcome;
}

} // namespace

Outcome explore(const Subject& subject, const Options& options) {
    auto recorded = record(subject, options);
    if (recorded) return explore_states(subject, *recorded, options);
    Outcome outcome;
    outcome.complaints.push_back(recorded.error().text);
    return outcome;
}

Outcome explore_recorded(const Subject& subject, std::vector<RecordedEvent> events,
                         const Options& options) {
    Recording recording;
    recording.events = std::move(events);
    recording.count();
    return explore_states(subject, recording, options);
}

} // namespace rump::crash
