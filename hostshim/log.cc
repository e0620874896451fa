// The log of a kernel instance, and its sinks by spdlog.
#include "hostshim/log.h"

#include "hostshim/lock.h"
#include "hostshim/printable.h"

#include <fmt/format.h>
#include <spdlog/logger.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/sinks/syslog_sink.h>

#include <exception>
#include <iterator>
#include <string>
#include <syslog.h>

namespace rump::host {

struct Log::Impl {
    Mutex mutex{Rank::log};
    Sink sink GUARDED_BY(mutex);
};

Log::Log(Sink sink, LogLevel threshold) : threshold_(threshold), impl_(std::make_unique<Impl>()) {
    MutexGuard guard(impl_->mutex);
    impl_->sink = std::move(sink);
}

Log::~Log() = default;

void Log::write(LogLevel level, std::string_view message) {
    if (!enabled(level)) return;
    const std::string text = printable(message);
    MutexGuard guard(impl_->mutex);
    impl_->sink(level, text);
}

void Log::vlog(LogLevel level, fmt::string_view format, fmt::format_args args) {
    try {
        fmt::memory_buffer text;
        fmt::vformat_to(std::back_inserter(text), format, args);
        write(level, {text.data(), text.size()});
    } catch (const std::exception&) {
        // Out of memory. A message that is lost must not break the operation that it is about.
    }
}

namespace {

spdlog::level::level_enum to_spdlog(LogLevel level) {
    switch (level) {
    case LogLevel::debug:
        return spdlog::level::debug;
    case LogLevel::info:
        return spdlog::level::info;
    case LogLevel::warning:
        return spdlog::level::warn;
    case LogLevel::error:
        return spdlog::level::err;
    case LogLevel::off:
        break;
    }
    return spdlog::level::off;
}

Log::Sink spdlog_sink(std::string_view ident, spdlog::sink_ptr sink, const char* pattern) {
    auto logger = std::make_shared<spdlog::logger>(std::string(ident), std::move(sink));
    logger->set_level(spdlog::level::trace);
    logger->set_pattern(pattern);
    logger->flush_on(spdlog::level::trace);
    return [logger](LogLevel level, std::string_view message) {
        logger->log(to_spdlog(level), spdlog::string_view_t(message.data(), message.size()));
    };
}

} // namespace

Log::Sink stderr_sink(std::string_view ident) {
    return spdlog_sink(ident, std::make_shared<spdlog::sinks::stderr_sink_mt>(), "%n: %v");
}

Log::Sink syslog_sink(std::string_view ident) {
    // The program before the first colon is syslog's ident; the image stays in the message.
    std::string program(ident.substr(0, ident.find(':')));
    std::string rest(ident.size() > program.size() ? ident.substr(program.size() + 1) : "");
    while (rest.starts_with(' ')) rest.erase(0, 1);
    auto sink = std::make_shared<spdlog::sinks::syslog_sink_mt>(program, LOG_PID, LOG_DAEMON, true);
    return spdlog_sink(rest, std::move(sink), rest.empty() ? "%v" : "%n: %v");
}

Log::Sink null_sink() {
    return [](LogLevel, std::string_view) {};
}

} // namespace rump::host
