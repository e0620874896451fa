// Running the cases: threads, the watch on time and memory, what is reported.
#include "tests/corrupt/driver.h"

#include "hostshim/memory_device.h"
#include "hostshim/overlay_device.h"
#include "hostshim/thread.h"
#include "tests/corrupt/case.h"
#include "tests/corrupt/memory_watch.h"

#include <fmt/core.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <mutex>
#include <thread>

namespace rump::corrupt {

namespace {

constexpr size_t complaints_kept = 20;
/// After this a case is taken for a hang, and the program ends: nothing else can stop it.
constexpr std::chrono::seconds hang_after{60};

double cpu_seconds() {
    timespec now{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9;
}

/// What one worker is at, for the watchdog.
struct Post {
    std::mutex mutex;
    std::string working_on; // empty: nothing
    std::chrono::steady_clock::time_point since;
};

class Driver {
public:
    Driver(const Subject& subject, const Options& options) : subject_(subject), options_(options) {}

    Outcome run() {
        auto baseline = take_baseline(subject_);
        if (!baseline) {
            outcome_.complaints.push_back(subject_.name + ": " + baseline.error().text);
            return std::move(outcome_);
        }
        baseline_ = baseline.release_value();
        image_ = host::make_memory_device(subject_.image);
        {
            std::vector<Post> posts(options_.threads);
            std::atomic<bool> done{false};
            std::thread watchdog([&] { watch(posts, done); });
            {
                std::vector<host::Thread> threads;
                for (unsigned t = 1; t < options_.threads; ++t)
                    threads.push_back(host::Thread::start("corrupt", [this, &posts, t] {
                                          worker(posts[t]);
                                      }).release_value());
                worker(posts[0]);
            }
            done = true;
            watchdog.join();
        }
        return std::move(outcome_);
    }

private:
    void watch(std::vector<Post>& posts, const std::atomic<bool>& done) {
        while (!done) {
            std::this_thread::sleep_for(std::chrono::milliseconds(50));
            for (Post& post : posts) {
                std::lock_guard guard(post.mutex);
                if (post.working_on.empty() ||
                    std::chrono::steady_clock::now() - post.since < hang_after)
                    continue;
                std::fprintf(stderr, "hangs: %s\n", post.working_on.c_str());
                std::abort();
            }
        }
    }

    void worker(Post& post) {
        uint64_t first = options_.only.value_or(0);
        uint64_t end = options_.only ? first + 1 : options_.cases;
        for (;;) {
            uint64_t number = first + next_.fetch_add(1);
            if (number >= end || enough_) return;
            one(number, post);
        }
    }

    void one(uint64_t number, Post& post) {
        Lie lie = choose_lie(subject_, options_.seed, number);
        std::string title =
            fmt::format("{}: seed {}, case {}: {}", subject_.name, options_.seed, number, lie.text);
        {
            std::lock_guard guard(post.mutex);
            post.working_on = title;
            post.since = std::chrono::steady_clock::now();
        }
        double begin = cpu_seconds();
        int64_t live = memory_use().live;
        CaseResult result;
        int64_t most = 0;
        {
            auto device = host::make_memory_overlay(*image_);
            (void)device->write(lie.offset, lie.bytes).ok();
            if (subject_.mend_checksums) subject_.mend_checksums(*device);
            reset_most();
            result = run_case(subject_, baseline_, lie, *device, options_.seed ^ number);
            if (subject_.also) {
                std::string complaint = subject_.also(*device);
                if (result.complaint.empty()) result.complaint = std::move(complaint);
            }
            most = memory_use().most - live;
        }
        result.complaint.shrink_to_fit();
        int64_t left = memory_use().live - live - static_cast<int64_t>(result.complaint.capacity());
        double seconds = cpu_seconds() - begin;
        if (result.complaint.empty() && seconds > options_.cpu_seconds)
            result.complaint = fmt::format("took {:.2f} s of CPU time", seconds);
        if (result.complaint.empty() && most > static_cast<int64_t>(options_.memory_limit))
            result.complaint = fmt::format("needed {} bytes of memory", most);
        if (result.complaint.empty() && left > leak_slack)
            result.complaint = fmt::format("kept {} bytes of memory", left);
        {
            std::lock_guard guard(post.mutex);
            post.working_on.clear();
        }
        std::lock_guard guard(mutex_);
        ++outcome_.cases;
        outcome_.refused += result.refused;
        outcome_.damaged += result.damaged;
        outcome_.compared += result.compared;
        outcome_.slowest = std::max(outcome_.slowest, seconds);
        outcome_.most_memory = std::max(outcome_.most_memory, static_cast<uint64_t>(most));
        if (result.complaint.empty()) return;
        outcome_.complaints.push_back(title + ": " + result.complaint);
        enough_ = outcome_.complaints.size() >= complaints_kept;
    }

    /// Buffers of the C++ library that a thread keeps.
    static constexpr int64_t leak_slack = 8192;

    const Subject& subject_;
    const Options& options_;
    Baseline baseline_;
    std::unique_ptr<host::BlockDevice> image_;
    std::atomic<uint64_t> next_{0};
    std::atomic<bool> enough_{false};
    std::mutex mutex_; // the outcome
    Outcome outcome_;
};

} // namespace

Outcome run(const Subject& subject, const Options& options) {
    return Driver(subject, options).run();
}

} // namespace rump::corrupt
