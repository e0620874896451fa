// The attribute bits of DOS as an extended attribute: "user.dos.attrib", a hexadecimal number of
// the bits read-only 0x1, hidden 0x2, system 0x4, directory 0x10 and archive 0x20. Every file has
// it; it is listed with -o showattr only, so that copying tools do not carry it where it means
// nothing.
#include "kernel/fs/exfatfs/vnops.h"

#include <fmt/format.h>

#include <charconv>
#include <cstring>

namespace rump::exfatfs {

namespace {

constexpr std::string_view attribute_name = "user.dos.attrib";
constexpr uint16_t settable =
    disk::attr_read_only | disk::attr_hidden | disk::attr_system | disk::attr_archive;

/// "0x21", or "33".
std::optional<uint32_t> parse_bits(std::string_view text) {
    while (!text.empty() && (text.back() == '\n' || text.back() == '\0')) text.remove_suffix(1);
    int base = 10;
    if (text.starts_with("0x") || text.starts_with("0X")) {
        text.remove_prefix(2);
        base = 16;
    }
    uint32_t bits = 0;
    auto parsed = std::from_chars(text.data(), text.data() + text.size(), bits, base);
    if (parsed.ec != std::errc() || parsed.ptr != text.data() + text.size()) return std::nullopt;
    return bits;
}

} // namespace

Result<size_t> ExfatVnode::getxattr(std::string_view name, std::span<std::byte> out) {
    ASSERT(lock.held());
    if (name != attribute_name) return Errno::nodata;
    std::string text = fmt::format("{:#x}", node_->head().file.attributes.get());
    if (out.empty()) return text.size();
    if (out.size() < text.size()) return Errno::range;
    std::memcpy(out.data(), text.data(), text.size());
    return text.size();
}

Result<void> ExfatVnode::setxattr(std::string_view name, std::span<const std::byte> value,
                                  XattrSet how) {
    ASSERT(lock.held_exclusive());
    if (name != attribute_name) return Errno::opnotsupp;
    if (how == XattrSet::create) return Errno::exist;
    auto bits = parse_bits({reinterpret_cast<const char*>(value.data()), value.size()});
    auto fixed = static_cast<uint16_t>(node_->head().file.attributes & ~settable);
    if (!bits || (*bits & ~uint32_t{settable | disk::attr_directory}) || node_->is_root() ||
        (*bits & disk::attr_directory && !is_dir()))
        return Errno::inval;
    auto tx = TRY(mount().begin());
    node_->change([&](disk::FileEntry& entry) {
        entry.attributes = static_cast<uint16_t>(fixed | (*bits & settable));
    });
    tx.done();
    return {};
}

Result<void> ExfatVnode::removexattr(std::string_view name) {
    return name == attribute_name ? Errno::opnotsupp : Errno::nodata;
}

Result<void> ExfatVnode::listxattr(XattrSink sink) {
    ASSERT(lock.held());
    if (volume().options.list_attributes) sink(attribute_name);
    return {};
}

} // namespace rump::exfatfs
