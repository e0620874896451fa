// Threads over pthreads: std::thread throws and cannot start with signals blocked.
#include "hostshim/thread.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>

namespace rump::host {

struct Thread::Impl {
    pthread_t id;
};

namespace {

struct Start {
    std::string name;
    std::function<void()> body;
};

thread_local constinit WaitObserver* observer_of_waits = nullptr;

void* run(void* argument) {
    std::unique_ptr<Start> start(static_cast<Start*>(argument));
    pthread_setname_np(pthread_self(), start->name.c_str());
    start->body();
    return nullptr;
}

} // namespace

Result<Thread> Thread::start(std::string name, std::function<void()> body) {
    if (name.size() > 15) name.resize(15);
    auto start = std::make_unique<Start>(Start{std::move(name), std::move(body)});
    Thread thread;
    thread.impl_ = std::make_unique<Impl>();

    // A thread inherits the mask of its maker.
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&thread.impl_->id, nullptr, run, start.get());
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    if (rc != 0) {
        thread.impl_.reset();
        return errno_from_host(rc);
    }
    (void)start.release();
    return thread;
}

Thread::Thread() = default;
Thread::Thread(Thread&&) noexcept = default;

Thread& Thread::operator=(Thread&& other) noexcept {
    if (this != &other) {
        join();
        impl_ = std::move(other.impl_);
    }
    return *this;
}

Thread::~Thread() { join(); }

void Thread::join() {
    if (!impl_) return;
    pthread_join(impl_->id, nullptr);
    impl_.reset();
}

void observe_waits(WaitObserver* observer) { observer_of_waits = observer; }
WaitObserver* wait_observer() { return observer_of_waits; }

unsigned cpu_count() {
    cpu_set_t set;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
    int count = CPU_COUNT(&set);
    return count > 0 ? static_cast<unsigned>(count) : 1;
}

} // namespace rump::host
