// Options by name: of a mount (-o a,b=c), of newfs, of check. A file system declares what it takes;
// the host (daemon, ukfs) parses, refuses unknown names and bad values, and hands over an
// OptionSet.
#pragma once

#include "hostshim/result.h"

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace rump {

struct OptionSpec {
    enum class Kind : uint8_t { flag, text, number, size, octal };
    std::string_view name;
    Kind kind;
    std::string_view argument; // for --help: "BYTES"; the value that a flag may have
    std::string_view help;
};

/// "512", "64k", "10M", "1G", "2T" (powers of 1024). EINVAL, ERANGE.
Result<uint64_t> parse_size(std::string_view text);

class OptionSet {
public:
    /// Checks `value` against the specs. Failure EINVAL says which option and why.
    FailureOr<void> set(std::span<const OptionSpec> specs, std::string_view name,
                        std::optional<std::string_view> value);
    bool has(std::string_view name) const { return values_.find(name) != values_.end(); }
    std::string text(std::string_view name, std::string_view otherwise = {}) const;
    /// number, size and octal options; they were checked by set().
    uint64_t number(std::string_view name, uint64_t otherwise) const;

private:
    std::map<std::string, std::string, std::less<>> values_;
    std::map<std::string, uint64_t, std::less<>> numbers_;
};

} // namespace rump
