// The log of one kernel instance: levels, and a sink that the host chooses (standard error, syslog,
// a test's capture) over spdlog. Messages are one line, no full stop, and name their place.
#pragma once

#include <fmt/core.h>

#include <atomic>
#include <functional>
#include <memory>
#include <string_view>

namespace rump::host {

enum class LogLevel : uint8_t { debug, info, warning, error, off };

class Log {
public:
    /// Called for one message at a time, from any thread. Must not log.
    using Sink = std::function<void(LogLevel, std::string_view)>;

    explicit Log(Sink sink, LogLevel threshold = LogLevel::info);
    ~Log();
    Log(const Log&) = delete;
    Log& operator=(const Log&) = delete;

    bool enabled(LogLevel level) const {
        return level >= threshold_.load(std::memory_order_relaxed);
    }
    void set_threshold(LogLevel level) { threshold_.store(level, std::memory_order_relaxed); }

    template<class... A>
    void debug(fmt::format_string<A...> f, A&&... a) {
        log(LogLevel::debug, f, a...);
    }
    template<class... A>
    void info(fmt::format_string<A...> f, A&&... a) {
        log(LogLevel::info, f, a...);
    }
    template<class... A>
    void warning(fmt::format_string<A...> f, A&&... a) {
        log(LogLevel::warning, f, a...);
    }
    template<class... A>
    void error(fmt::format_string<A...> f, A&&... a) {
        log(LogLevel::error, f, a...);
    }

    void write(LogLevel level, std::string_view message);

private:
    template<class F, class... A>
    void log(LogLevel level, F& f, A&... a) {
        if (enabled(level)) vlog(level, f, fmt::make_format_args(a...));
    }
    void vlog(LogLevel level, fmt::string_view format, fmt::format_args args);

    struct Impl;
    std::atomic<LogLevel> threshold_;
    std::unique_ptr<Impl> impl_;
};

/// Sinks. `ident` stands before every line ("rump_ffs: disk.img").
Log::Sink stderr_sink(std::string_view ident);
Log::Sink syslog_sink(std::string_view ident);
Log::Sink null_sink();

} // namespace rump::host
