// See cpus.h.
#include "p2k/cpus.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>
#include <unistd.h>

#include <charconv>
#include <fstream>
#include <span>
#include <string>
#include <string_view>

namespace rump::p2k {

/// /sys/devices/system/cpu/possible: "0-7".
unsigned possible_cpus() {
    std::ifstream file("/sys/devices/system/cpu/possible");
    std::string text;
    std::getline(file, text);
    unsigned last = 0;
    const size_t at = text.find_last_of("-,");
    const char* begin = text.data() + (at == std::string::npos ? 0 : at + 1);
    if (std::from_chars(begin, text.data() + text.size(), last).ec != std::errc()) return 0;
    return last + 1;
}

std::vector<unsigned> allowed_cpus() {
    std::vector<unsigned> cpus;
    cpu_set_t set;
    if (::sched_getaffinity(0, sizeof set, &set) != 0) return cpus;
    for (unsigned cpu = 0; cpu < CPU_SETSIZE; ++cpu)
        if (CPU_ISSET(cpu, &set)) cpus.push_back(cpu);
    return cpus;
}

bool bind_to(const std::vector<unsigned>& cpus) {
    cpu_set_t set;
    CPU_ZERO(&set);
    for (unsigned cpu : cpus)
        if (cpu < CPU_SETSIZE) CPU_SET(cpu, &set);
    return ::sched_setaffinity(0, sizeof set, &set) == 0;
}

namespace {

std::string_view read_line(const char* path, std::span<char> text) {
    const int fd = ::open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return {};
    const ssize_t size = ::read(fd, text.data(), text.size());
    ::close(fd);
    return {text.data(), size > 0 ? static_cast<size_t>(size) : 0};
}

/// The number behind the first `blanks` blanks.
std::optional<unsigned> number_behind(std::string_view text, int blanks) {
    for (; blanks > 0; --blanks) {
        const size_t blank = text.find(' ');
        if (blank == text.npos) return std::nullopt;
        text.remove_prefix(blank + 1);
    }
    unsigned number = 0;
    if (std::from_chars(text.data(), text.data() + text.size(), number).ec != std::errc())
        return std::nullopt;
    return number;
}

} // namespace

/// /proc/loadavg: "0.20 0.18 0.12 1/80 11206", the number before the slash.
std::optional<unsigned> running_threads() {
    char text[128];
    return number_behind(read_line("/proc/loadavg", text), 3);
}

/// /proc/ID/stat, field 39. The second field, a name in parentheses, may contain anything.
std::optional<unsigned> cpu_of(uint32_t id) {
    char path[32];
    *fmt::format_to_n(path, sizeof path - 1, "/proc/{}/stat", id).out = '\0';
    char text[1024];
    const std::string_view line = read_line(path, text);
    const size_t name_end = line.rfind(')');
    if (name_end == line.npos) return std::nullopt;
    return number_behind(line.substr(name_end), 39 - 2);
}

} // namespace rump::p2k
