// Parsing of option values.
#include "kernel/sys/options.h"

#include <fmt/core.h>

#include <charconv>

namespace rump {

namespace {

/// All of `text` as a number; ERANGE when it does not fit.
Result<uint64_t> parse_number(std::string_view text, int base) {
    uint64_t value = 0;
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
    if (error == std::errc::result_out_of_range) return Errno::range;
    if (error != std::errc() || end != text.data() + text.size()) return Errno::inval;
    return value;
}

/// "0x1f" is hexadecimal, everything else decimal.
Result<uint64_t> parse_decimal_or_hex(std::string_view text) {
    if (text.starts_with("0x") || text.starts_with("0X")) return parse_number(text.substr(2), 16);
    return parse_number(text, 10);
}

std::string_view kind_name(OptionSpec::Kind kind) {
    switch (kind) {
    case OptionSpec::Kind::flag:
        return "no value";
    case OptionSpec::Kind::text:
        return "text";
    case OptionSpec::Kind::number:
        return "a number";
    case OptionSpec::Kind::size:
        return "a size (512, 64k, 10M, 1G)";
    case OptionSpec::Kind::octal:
        return "an octal number";
    }
    return "a value";
}

Result<uint64_t> parse_value(OptionSpec::Kind kind, std::string_view text) {
    switch (kind) {
    case OptionSpec::Kind::number:
        return parse_decimal_or_hex(text);
    case OptionSpec::Kind::size:
        return parse_size(text);
    case OptionSpec::Kind::octal:
        return parse_number(text, 8);
    case OptionSpec::Kind::flag:
    case OptionSpec::Kind::text:
        break;
    }
    return uint64_t{0};
}

} // namespace

Result<uint64_t> parse_size(std::string_view text) {
    if (text.empty()) return Errno::inval;
    unsigned shift = 0;
    switch (text.back()) {
    case 'k':
    case 'K':
        shift = 10;
        break;
    case 'm':
    case 'M':
        shift = 20;
        break;
    case 'g':
    case 'G':
        shift = 30;
        break;
    case 't':
    case 'T':
        shift = 40;
        break;
    default:
        break;
    }
    if (shift) text.remove_suffix(1);
    uint64_t value = TRY(parse_number(text, 10));
    if (value > UINT64_MAX >> shift) return Errno::range;
    return value << shift;
}

FailureOr<void> OptionSet::set(std::span<const OptionSpec> specs, std::string_view name,
                               std::optional<std::string_view> value) {
    const OptionSpec* spec = nullptr;
    for (const OptionSpec& s : specs)
        if (s.name == name) spec = &s;
    if (!spec) return Failure(Errno::inval, fmt::format("unknown option \"{}\"", name));
    const bool flag = spec->kind == OptionSpec::Kind::flag;
    if (flag && value && (value->empty() || *value != spec->argument))
        return Failure(Errno::inval,
                       fmt::format("option \"{}\" takes no value{}{}", name,
                                   spec->argument.empty() ? "" : " but ", spec->argument));
    if (!flag && (!value || value->empty()))
        return Failure(Errno::inval,
                       fmt::format("option \"{}\" needs {}: {}={}", name, kind_name(spec->kind),
                                   name, spec->argument.empty() ? "VALUE" : spec->argument));
    auto number = parse_value(spec->kind, value.value_or(""));
    if (!number)
        return Failure(Errno::inval,
                       fmt::format("option \"{}\": \"{}\" is {}{}", name, *value,
                                   number.error() == Errno::range ? "too large for " : "not ",
                                   kind_name(spec->kind)));
    values_.insert_or_assign(std::string(name), std::string(value.value_or("")));
    numbers_.insert_or_assign(std::string(name), *number);
    return {};
}

std::string OptionSet::text(std::string_view name, std::string_view otherwise) const {
    auto found = values_.find(name);
    return found != values_.end() ? found->second : std::string(otherwise);
}

uint64_t OptionSet::number(std::string_view name, uint64_t otherwise) const {
    auto found = numbers_.find(name);
    return found != numbers_.end() ? found->second : otherwise;
}

} // namespace rump
