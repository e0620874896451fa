// Code pages of short names: which character each byte of a name stands for.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace rump::msdosfs {

/// The upper half of a single-byte code page; the lower half is ASCII.
struct CodePageTable {
    std::string_view name; // "437"
    std::array<char16_t, 128> high;
};

extern const std::array<CodePageTable, 27> code_page_tables;

/// One code page, or UTF-8 in place of one (what some firmware writes).
class CodePage {
public:
    static constexpr std::string_view standard = "437";
    /// "437", "cp437", "utf8"; none: not known.
    static std::optional<CodePage> find(std::string_view name);
    /// "437 720 737 … utf8", for messages.
    static std::string names();

    std::string_view name() const { return table_ ? table_->name : "utf8"; }
    /// The characters of `bytes` (at most 11), into `out`, which has room for as many: their
    /// number. A byte without a meaning becomes U+F000 and its value.
    size_t decode(std::string_view bytes, std::span<char16_t> out) const;
    /// The byte that stands for `unit`, if one does. Of UTF-8 only ASCII has single bytes.
    std::optional<uint8_t> encode(char16_t unit) const;

private:
    explicit CodePage(const CodePageTable* table) : table_(table) {}
    const CodePageTable* table_; // null: UTF-8
};

} // namespace rump::msdosfs
