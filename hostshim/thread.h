// Threads. Host threads are kernel threads.
#pragma once

#include "hostshim/result.h"

#include <functional>
#include <memory>
#include <string>

namespace rump::host {

/// A running thread; its destructor joins. Signals stay with the program's main thread: a thread
/// starts with all of them blocked.
class Thread {
public:
    /// `name` shows in ps and gdb, 15 bytes of it. EAGAIN when the host has no thread left.
    static Result<Thread> start(std::string name, std::function<void()> body);
    Thread();
    Thread(Thread&&) noexcept;
    Thread& operator=(Thread&&) noexcept;
    ~Thread();
    void join();
    bool running() const { return impl_ != nullptr; }

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

/// Is told when a read of its thread is about to wait for the host's disk.
class WaitObserver {
public:
    virtual void about_to_wait() = 0;

protected:
    ~WaitObserver() = default;
};

/// Of the calling thread's reads; null: none. It must outlive its use.
void observe_waits(WaitObserver* observer);
WaitObserver* wait_observer();

/// CPUs that this process may run on, at least 1.
unsigned cpu_count();

} // namespace rump::host
