// Code pages by name, and conversion by their tables.
#include "kernel/fs/msdosfs/codepage.h"

#include "kernel/vfs/utf16.h"

namespace rump::msdosfs {

std::optional<CodePage> CodePage::find(std::string_view name) {
    if (name == "utf8" || name == "utf-8" || name == "65001") return CodePage(nullptr);
    if (name.starts_with("cp")) name.remove_prefix(2);
    for (const CodePageTable& table : code_page_tables)
        if (table.name == name) return CodePage(&table);
    return std::nullopt;
}

std::string CodePage::names() {
    std::string all;
    for (const CodePageTable& table : code_page_tables) all += std::string(table.name) + " ";
    return all + "utf8";
}

size_t CodePage::decode(std::string_view bytes, std::span<char16_t> out) const {
    if (!table_)
        if (auto size = vfs::utf8_to_utf16(bytes, out)) return *size;
    size_t size = 0;
    for (char c : bytes) {
        auto byte = static_cast<uint8_t>(c);
        if (byte < 0x80)
            out[size++] = static_cast<char16_t>(byte);
        else if (table_)
            out[size++] = table_->high[byte - 0x80u];
        else
            out[size++] = static_cast<char16_t>(0xf000 + byte);
    }
    return size;
}

std::optional<uint8_t> CodePage::encode(char16_t unit) const {
    if (unit < 0x80) return static_cast<uint8_t>(unit);
    if (!table_) return std::nullopt;
    for (size_t i = 0; i < table_->high.size(); i++)
        if (table_->high[i] == unit) return static_cast<uint8_t>(0x80 + i);
    return std::nullopt;
}

} // namespace rump::msdosfs
